package graph

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// A graph with a value that no memory holds is refused by the node's name,
// before tables of its size are made.
func TestValueLargerThanMemory(t *testing.T) {
	b := onnx.NewBuilder("padded", 13)
	x := b.Input("x", pb.TensorProto_FLOAT, 1, 3, 16, 24)
	pads := b.Initializer(onnx.NewInts("pads", []int{8}, []int64{0, 0, 0, 0, 0, 0, 0, 1 << 25}))
	b.Output(b.Op("Pad", "wide", []string{x, pads}), pb.TensorProto_FLOAT, nil, nil, nil, nil)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	dev := native.New(1)
	defer dev.Close()
	n, err := NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	n.SetMemoryLimit(1 << 30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = n.Plan(Spec{Inputs: map[string][]int{"x": {1, 3, 16, 24}}})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), `"wide" (Pad)`) {
		t.Errorf("%v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes allocated to refuse it", used)
	}
}

// What a checkpoint says of its training would keep the memory of its file.
func TestNetworkLetsGoOfTraining(t *testing.T) {
	b := onnx.NewBuilder("plain", 13)
	b.Output(b.Op("Relu", "relu", []string{b.Input("x", pb.TensorProto_FLOAT, 1, 3)}), pb.TensorProto_FLOAT, nil, nil)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.TrainingInfo = []*pb.TrainingInfoProto{{Algorithm: &pb.GraphProto{Initializer: []*pb.TensorProto{onnx.NewFloats("state", []int{1}, []float32{1})}}}}
	dev := native.New(1)
	defer dev.Close()
	n, err := NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Structure().GetTrainingInfo()) > 0 || len(m.GetTrainingInfo()) != 1 {
		t.Errorf("%v is left of %v", n.Structure().GetTrainingInfo(), m.GetTrainingInfo())
	}
}

func TestFloatBytes(t *testing.T) {
	for _, test := range []struct {
		shape []int
		want  uint64
	}{
		{nil, 4}, {[]int{2, 3}, 24}, {[]int{5, 0}, 0}, {[]int{1 << 31, 1 << 31, 1 << 31}, math.MaxUint64},
	} {
		if got := floatBytes(test.shape); got != test.want {
			t.Errorf("%v takes %d bytes, want %d", test.shape, got, test.want)
		}
	}
}
