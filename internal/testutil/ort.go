package testutil

import (
	"testing"

	"github.com/graft-onnx/graft/export/ort"
)

// ORTSessionBytes loads a serialised model in ONNX Runtime, two threads, no
// rewriting of the graph, and closes it when the test ends; name stands for
// the file in errors. It skips the test where the library is absent.
func ORTSessionBytes(t testing.TB, model []byte, name string) *ort.Session {
	t.Helper()
	rt, err := ort.Open(OnnxRuntime(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := rt.SessionBytes(model, name, ort.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// RunORTBytes runs a serialised model once in ONNX Runtime and returns the
// named outputs, all of them where none is named. It skips the test where the
// library is absent and fails it on any error.
func RunORTBytes(t testing.TB, model []byte, name string, inputs map[string]ort.Tensor, outputs ...string) map[string]ort.Tensor {
	t.Helper()
	got, err := ORTSessionBytes(t, model, name).Run(inputs, outputs...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
