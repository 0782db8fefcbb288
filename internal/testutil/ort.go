package testutil

import (
	"testing"

	"github.com/graft-onnx/graft/export/ort"
)

// ORTSession loads a model file in ONNX Runtime, two threads, no rewriting of
// the graph, and closes it when the test ends. It skips the test where the
// library is absent.
func ORTSession(t testing.TB, modelPath string) *ort.Session {
	t.Helper()
	s, err := openORT(t).Session(modelPath, ort.Options{Threads: 2})
	return closing(t, s, err)
}

// ORTSessionBytes is ORTSession for a model held in memory; name stands for
// the file in errors.
func ORTSessionBytes(t testing.TB, model []byte, name string) *ort.Session {
	t.Helper()
	s, err := openORT(t).SessionBytes(model, name, ort.Options{Threads: 2})
	return closing(t, s, err)
}

// RunORT runs a model file once in ONNX Runtime and returns the named outputs,
// all of them where none is named. It skips the test where the library is
// absent and fails it on any error.
func RunORT(t testing.TB, modelPath string, inputs map[string]ort.Tensor, outputs ...string) map[string]ort.Tensor {
	t.Helper()
	return run(t, ORTSession(t, modelPath), inputs, outputs)
}

// RunORTBytes is RunORT for a model held in memory.
func RunORTBytes(t testing.TB, model []byte, name string, inputs map[string]ort.Tensor, outputs ...string) map[string]ort.Tensor {
	t.Helper()
	return run(t, ORTSessionBytes(t, model, name), inputs, outputs)
}

func openORT(t testing.TB) *ort.Runtime {
	t.Helper()
	rt, err := ort.Open(OnnxRuntime(t))
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func closing(t testing.TB, s *ort.Session, err error) *ort.Session {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func run(t testing.TB, s *ort.Session, inputs map[string]ort.Tensor, outputs []string) map[string]ort.Tensor {
	t.Helper()
	got, err := s.Run(inputs, outputs...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
