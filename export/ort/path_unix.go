//go:build !windows

package ort

import (
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// pathArgument returns a file name in the form the library takes.
func pathArgument(path string) (unsafe.Pointer, error) { return unsafe.Pointer(dl.CString(path)), nil }
