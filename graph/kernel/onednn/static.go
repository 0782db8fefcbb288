//go:build !((linux || darwin || windows) && (amd64 || arm64)) || static

package onednn

import "errors"

// dynamic says whether this build can load shared libraries.
const dynamic = false

var errStatic = errors.New("this build of graft cannot load shared libraries")

func openLibrary(string) (uintptr, error) { return 0, errStatic }
func findSymbol(uintptr, string) uintptr  { return 0 }
func setProcessEnv(string, string)        {}
func osThread() uintptr                   { return 0 }
func call(uintptr, ...uintptr) uintptr    { return uintptr(statusUnimplemented) }
