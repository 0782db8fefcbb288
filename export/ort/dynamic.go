//go:build (linux || darwin || windows) && (amd64 || arm64) && !static

package ort

import "github.com/ebitengine/purego"

// invoke calls a function of the library. Pointers among the arguments must be
// converted to uintptr in the call itself, which keeps what they point to
// alive and in place until it returns.
//
//go:uintptrescapes
func invoke(fn uintptr, args ...uintptr) uintptr {
	result, _, _ := purego.SyscallN(fn, args...)
	return result
}
