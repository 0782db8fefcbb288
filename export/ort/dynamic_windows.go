//go:build windows && (amd64 || arm64) && !static

package ort

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// openLibrary loads a DLL and returns the address of its entry point. A full
// path also makes the DLL's own folder known for what it needs in turn.
func openLibrary(name string) (uintptr, error) {
	handle, err := windows.LoadLibraryEx(name, 0, 0)
	if err != nil {
		return 0, err
	}
	return windows.GetProcAddress(handle, "OrtGetApiBase")
}

// pathArgument returns a file name in the form the library takes: UTF-16.
func pathArgument(path string) (unsafe.Pointer, error) {
	p, err := windows.UTF16PtrFromString(path)
	return unsafe.Pointer(p), err
}
