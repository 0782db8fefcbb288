//go:build (linux || darwin) && (amd64 || arm64) && !static

package ort

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// openLibrary loads a shared library and returns the address of its entry
// point. Its other symbols stay private, so that two libraries of different
// versions do not mix.
func openLibrary(name string) (uintptr, error) {
	handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, err
	}
	return purego.Dlsym(handle, "OrtGetApiBase")
}

// pathArgument returns a file name in the form the library takes.
func pathArgument(path string) (unsafe.Pointer, error) { return unsafe.Pointer(cString(path)), nil }
