// Package dl opens shared libraries and calls their functions, without cgo: on
// Linux and macOS through purego, on Windows through the system's loader. Builds
// with the tag static, and those for other systems, open none.
package dl

import "unsafe"

// CString returns a string as C wants it.
func CString(s string) *byte { return &append([]byte(s), 0)[0] }

// GoString copies a C string.
func GoString(p uintptr) string {
	if p == 0 {
		return ""
	}
	start := *(**byte)(unsafe.Pointer(&p))
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(start), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(start, n))
}
