//go:build (linux || darwin) && (amd64 || arm64) && !static

package dl

import "github.com/ebitengine/purego"

// Open opens a shared library and leaves it open. Others that it loads in turn
// find its symbols.
func Open(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
}

// OpenPrivate is Open with symbols that only Symbol finds, so that libraries of
// different versions do not mix.
func OpenPrivate(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

// Program stands for all that the program has open, in Symbol.
const Program = uintptr(purego.RTLD_DEFAULT)

// Symbol returns the address of an exported function or variable, 0 if there is
// none.
func Symbol(library uintptr, name string) uintptr {
	address, err := purego.Dlsym(library, name)
	if err != nil {
		return 0
	}
	return address
}
