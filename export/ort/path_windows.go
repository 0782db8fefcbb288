package ort

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// pathArgument returns a file name in the form the library takes: UTF-16.
func pathArgument(path string) (unsafe.Pointer, error) {
	p, err := windows.UTF16PtrFromString(path)
	return unsafe.Pointer(p), err
}
