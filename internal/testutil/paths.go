// Package testutil finds what tests need from outside the repository, and
// skips with a clear word where it is absent.
package testutil

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Root returns the repository's top folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// SharedDir returns the folder of reference material beside the repository;
// GRAFT_SHARED overrides it. elem is joined to it.
func SharedDir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := os.Getenv("GRAFT_SHARED")
	if dir == "" {
		dir = filepath.Join(Root(), "..", "shared")
	}
	// Walks do not follow a link that they start from.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return existing(t, "reference material (set GRAFT_SHARED)", filepath.Join(append([]string{dir}, elem...)...))
}

// OnnxTestData returns the folder of the ONNX standard's node tests;
// GRAFT_ONNX_TESTDATA overrides Debian's place (package libonnx-testdata).
func OnnxTestData(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("GRAFT_ONNX_TESTDATA")
	if dir == "" {
		dir = "/usr/share/libonnx-testdata/data/node"
	}
	return existing(t, "ONNX node tests (Debian package libonnx-testdata, or set GRAFT_ONNX_TESTDATA)", dir)
}

// OnnxRuntime returns the path of libonnxruntime, from GRAFT_ONNXRUNTIME.
func OnnxRuntime(t testing.TB) string {
	t.Helper()
	path := os.Getenv("GRAFT_ONNXRUNTIME")
	if path == "" {
		t.Skip("skipped: ONNX Runtime is not here; set GRAFT_ONNXRUNTIME to libonnxruntime.so.1 (npm package onnxruntime-node)")
	}
	return existing(t, "ONNX Runtime (GRAFT_ONNXRUNTIME)", path)
}

func existing(t testing.TB, what, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("skipped: %s not found at %s", what, path)
	}
	return path
}
