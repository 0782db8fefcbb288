//go:build windows && (amd64 || arm64) && !static

package onednn

import (
	"os"

	"golang.org/x/sys/windows"
)

// openLibrary loads a shared library and leaves it loaded.
func openLibrary(path string) (uintptr, error) {
	h, err := windows.LoadLibrary(path)
	return uintptr(h), err
}

// findSymbol returns the address of an exported function, 0 if there is none.
func findSymbol(library uintptr, name string) uintptr {
	address, err := windows.GetProcAddress(windows.Handle(library), name)
	if err != nil {
		return 0
	}
	return address
}

// setProcessEnv sets a variable for libraries loaded later. It never replaces
// a value: what the person running the program set wins.
func setProcessEnv(name, value string) {
	if _, ok := os.LookupEnv(name); !ok {
		os.Setenv(name, value)
	}
}

// osThread identifies the OS thread of the caller.
func osThread() uintptr { return uintptr(windows.GetCurrentThreadId()) }
