//go:build !((linux || darwin || windows) && (amd64 || arm64)) || static

package dl

import "errors"

// Possible says whether this build can open shared libraries.
const Possible = false

var errStatic = errors.New("this build cannot load libraries when it runs (it is static, or for a system without that)")

// Open fails.
func Open(string) (uintptr, error) { return 0, errStatic }

// OpenPrivate fails.
func OpenPrivate(string) (uintptr, error) { return 0, errStatic }

// Symbol finds nothing.
func Symbol(uintptr, string) uintptr { return 0 }

// Call is never reached: there are no functions without a library.
func Call(uintptr, ...uintptr) uintptr { panic("dl: called without a library") }
