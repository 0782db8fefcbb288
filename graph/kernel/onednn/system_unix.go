//go:build (linux || darwin) && (amd64 || arm64) && !static

package onednn

import (
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// setProcessEnv sets a variable in the environment that C code reads, which
// os.Setenv does not touch in a program without cgo. It never replaces a
// value: what the person running the program set wins.
func setProcessEnv(name, value string) {
	setenv := dl.Symbol(dl.Program, "setenv")
	if setenv == 0 {
		return
	}
	dl.Call(setenv, uintptr(unsafe.Pointer(dl.CString(name))), uintptr(unsafe.Pointer(dl.CString(value))), 0)
}

var pthreadSelf = dl.Symbol(dl.Program, "pthread_self")

// osThread identifies the OS thread of the caller. It is never 0 where a
// thread can be told from another.
func osThread() uintptr {
	if pthreadSelf == 0 {
		return 0
	}
	return dl.Call(pthreadSelf)
}
