//go:build (linux || darwin) && (amd64 || arm64) && !static

package onednn

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// openLibrary loads a shared library and leaves it loaded.
func openLibrary(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
}

// findSymbol returns the address of an exported function, 0 if there is none.
func findSymbol(library uintptr, name string) uintptr {
	address, err := purego.Dlsym(library, name)
	if err != nil {
		return 0
	}
	return address
}

// setProcessEnv sets a variable in the environment that C code reads, which
// os.Setenv does not touch in a program without cgo. It never replaces a
// value: what the person running the program set wins.
func setProcessEnv(name, value string) {
	setenv := findSymbol(purego.RTLD_DEFAULT, "setenv")
	if setenv == 0 {
		return
	}
	n, v := cString(name), cString(value)
	call(setenv, uintptr(unsafe.Pointer(&n[0])), uintptr(unsafe.Pointer(&v[0])), 0)
}

var pthreadSelf = findSymbol(purego.RTLD_DEFAULT, "pthread_self")

// osThread identifies the OS thread of the caller. It is never 0 where a
// thread can be told from another.
func osThread() uintptr {
	if pthreadSelf == 0 {
		return 0
	}
	return call(pthreadSelf)
}
