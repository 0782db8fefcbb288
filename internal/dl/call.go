//go:build (linux || darwin || windows) && (amd64 || arm64) && !static

package dl

import "github.com/ebitengine/purego"

// Possible says whether this build can open shared libraries.
const Possible = true

// Call calls a C function whose arguments are integers and pointers. Pointers
// to Go memory are written uintptr(unsafe.Pointer(&x)) in the call itself,
// which keeps x alive and in place until the function returns.
//
//go:uintptrescapes
func Call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}
