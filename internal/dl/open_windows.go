//go:build windows && (amd64 || arm64) && !static

package dl

import "golang.org/x/sys/windows"

// Open opens a shared library and leaves it open.
func Open(path string) (uintptr, error) {
	h, err := windows.LoadLibrary(path)
	return uintptr(h), err
}

// OpenPrivate is Open: symbols are always found by Symbol alone.
func OpenPrivate(path string) (uintptr, error) { return Open(path) }

// Symbol returns the address of an exported function or variable, 0 if there is
// none.
func Symbol(library uintptr, name string) uintptr {
	address, err := windows.GetProcAddress(windows.Handle(library), name)
	if err != nil {
		return 0
	}
	return address
}
