//go:build windows && (amd64 || arm64) && !static

package onednn

import (
	"os"

	"golang.org/x/sys/windows"
)

// setProcessEnv sets a variable for libraries loaded later. It never replaces
// a value: what the person running the program set wins.
func setProcessEnv(name, value string) {
	if _, ok := os.LookupEnv(name); !ok {
		os.Setenv(name, value)
	}
}

// osThread identifies the OS thread of the caller.
func osThread() uintptr { return uintptr(windows.GetCurrentThreadId()) }
