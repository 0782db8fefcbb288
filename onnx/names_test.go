package onnx

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/onnx/pb"
)

func TestNames(t *testing.T) {
	branch := &pb.GraphProto{
		Input:       []*pb.ValueInfoProto{{Name: "inner_input"}},
		Initializer: []*pb.TensorProto{{Name: "inner_weight"}},
		Node:        []*pb.NodeProto{{Name: "inner_node", OpType: "Relu", Output: []string{"inner"}}},
	}
	other := &pb.GraphProto{Node: []*pb.NodeProto{{OpType: "Relu", Output: []string{"listed"}}}}
	choice := &pb.NodeProto{Name: "node", OpType: "If", Input: []string{"read"}, Output: []string{"y", ""}, Attribute: []*pb.AttributeProto{
		{Name: "then_branch", G: branch}, {Name: "more", Graphs: []*pb.GraphProto{other}},
	}}
	g := &pb.GraphProto{
		Input:             []*pb.ValueInfoProto{{Name: "x"}},
		Initializer:       []*pb.TensorProto{{Name: "w"}},
		SparseInitializer: []*pb.SparseTensorProto{{Values: &pb.TensorProto{Name: "sparse"}}},
		Node:              []*pb.NodeProto{choice},
	}
	text := func(n Names) string { return strings.Join(slices.Sorted(maps.Keys(n)), " ") }
	if got, want := text(ValueNames(g)), "inner inner_input inner_weight listed sparse w x y"; got != want {
		t.Errorf("values %s, want %s", got, want)
	}
	taken := AllNames(g)
	if got, want := text(taken), "inner inner_input inner_node inner_weight listed node sparse w x y"; got != want {
		t.Errorf("names %s, want %s", got, want)
	}
	for _, want := range []string{"y_2", "y_3", "y_4"} {
		if got := taken.Fresh("y"); got != want || !taken[want] {
			t.Errorf("fresh name %s, want %s", got, want)
		}
	}
	if got := taken.Fresh("z"); got != "z" || !taken["z"] {
		t.Errorf("fresh name %s, want z", got)
	}
	if got := Subgraphs(choice); len(got) != 2 || got[0] != branch || got[1] != other {
		t.Errorf("subgraphs %v", got)
	}
}
