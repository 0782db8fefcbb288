//go:build !((linux || darwin || windows) && (amd64 || arm64)) || static

package ort

import (
	"errors"
	"unsafe"
)

// errStatic is why a static build, or one for another system, opens no
// library.
var errStatic = errors.New("this build cannot load libraries when it runs (it is static, or for a system without that)")

func openLibrary(string) (uintptr, error) { return 0, errStatic }

func pathArgument(string) (unsafe.Pointer, error) { return nil, errStatic }

// invoke is never reached: there is no Runtime without a library.
func invoke(uintptr, ...uintptr) uintptr { return 0 }
