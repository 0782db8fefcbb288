package graph

import (
	"slices"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel/native"
)

// TestOutputs compares an output that the device puts in order with the order
// that the host makes of the same memory.
func TestOutputs(t *testing.T) {
	net, err := NewNetwork(normalised(t, false), native.New(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range []int{2, 1, 3} {
		got := infer(t, net, "last", batch)
		plan, err := net.Plan(Spec{Inputs: map[string][]int{"image": {batch, 3, 6, 5}}})
		if err != nil {
			t.Fatal(err)
		}
		s := plan.outputs["last"]
		want, err := load(net.dev, s.buffer(net.arena), s.shape)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("batch of %d: other numbers than the host's", batch)
		}
	}
}
