package native

import (
	"testing"

	"github.com/graft-onnx/graft/graph/kernel/kerneltest"
)

func TestKernels(t *testing.T) {
	dev := New(0)
	defer dev.Close()
	t.Log(dev)
	kerneltest.Run(t, dev)
}

func BenchmarkKernels(b *testing.B) {
	dev := New(0)
	defer dev.Close()
	kerneltest.Bench(b, dev)
}
