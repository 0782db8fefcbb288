package onnx

import (
	"errors"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/onnx/pb"
)

const float32Type = pb.TensorProto_FLOAT

// smallBuilder is a convolution, a function call and a sum.
func smallBuilder(opset int64) *Builder {
	b := NewBuilder("small", opset)
	b.Function(twiceFunction(opset))
	x := b.Input("x", float32Type, "N", 3, "H", "W")
	w := b.Initializer(NewFloats("w", []int{2, 3, 1, 1}, []float32{1, 2, 3, 4, 5, 6}))
	y := b.Op("Conv", "y", []string{x, w}, IntsAttr("kernel_shape", 1, 1))
	z := b.Call("graft.test", "Twice", []string{y}, []string{"z"})[0]
	b.Output(b.Op("Add", "sum", []string{z, y}), float32Type, "N", 2, "H", "W")
	return b
}

func twiceFunction(opset int64) *pb.FunctionProto {
	return &pb.FunctionProto{
		Name: "Twice", Domain: "graft.test", Input: []string{"a"}, Output: []string{"b"},
		OpsetImport: []*pb.OperatorSetIdProto{{Version: opset}},
		Node:        []*pb.NodeProto{{OpType: "Add", Input: []string{"a", "a"}, Output: []string{"b"}}},
	}
}

// smallModel is what smallBuilder makes.
func smallModel(t testing.TB) *Model {
	t.Helper()
	m, err := smallBuilder(15).Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBuilderPicksTheIRVersion(t *testing.T) {
	for opset, want := range map[int64]int64{
		7: 4, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 26: 13,
	} {
		b := NewBuilder("g", opset)
		b.Output(b.Op("Relu", "y", []string{b.Input("x", float32Type, 1)}), float32Type, 1)
		m, err := b.Model()
		if err != nil {
			t.Fatal(err)
		}
		if m.IrVersion != want {
			t.Errorf("opset %d: IR version %d, want %d", opset, m.IrVersion, want)
		}
		if m, err = smallBuilder(opset).Model(); err != nil {
			t.Fatal(err)
		}
		if m.IrVersion != max(want, 8) {
			t.Errorf("opset %d with a function: IR version %d, want %d", opset, m.IrVersion, max(want, 8))
		}
	}
}

func TestBuilderModel(t *testing.T) {
	m := smallModel(t)
	if m.Opset("") != 15 || m.Opset("ai.onnx") != 15 || m.Opset("graft.test") != 1 || m.Opset("other") != 0 {
		t.Errorf("operator sets %v", m.OpsetImport)
	}
	if in := m.Inputs(); len(in) != 1 || in[0].GetName() != "x" {
		t.Errorf("inputs %v", in)
	}
	if m.Initializer("w") == nil || m.Function("graft.test", "Twice") == nil {
		t.Error("initializer or function is lost")
	}
	dims := m.Graph.Input[0].GetType().GetTensorType().GetShape().GetDim()
	if len(dims) != 4 || dims[0].GetDimParam() != "N" || dims[1].GetDimValue() != 3 {
		t.Errorf("dimensions %v", dims)
	}
	c := m.Clone()
	c.Graph.Node[0].OpType = "Changed"
	c.Initializer("w").RawData[0]++
	if m.Graph.Node[0].OpType != "Conv" || m.Initializer("w").RawData[0] != 0 {
		t.Error("changing a clone changes the model")
	}
}

func TestBuilderNames(t *testing.T) {
	b := NewBuilder("g", 15)
	x := b.Input("Relu_1", float32Type, 1)
	first := b.Op("Relu", "", []string{x})
	second := b.Op("Relu", "", []string{first})
	if first == x || second == first || second == x {
		t.Errorf("made-up names %q, %q", first, second)
	}
	b.Import("com.microsoft", 1)
	b.Import("com.microsoft", 2)
	gelu := b.Call("com.microsoft", "Gelu", []string{second}, []string{"y"})[0]
	b.Output(gelu, float32Type, 1)
	b.Metadata("k", "v")
	b.Function(twiceFunction(15))
	b.Function(twiceFunction(15))
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := m.Metadata("k"); !ok || v != "v" || m.Opset("com.microsoft") != 1 || len(m.Functions) != 1 {
		t.Errorf("%q, %v, %d functions", v, m.OpsetImport, len(m.Functions))
	}
}

// All mistakes come back from Model, however many there are.
func TestBuilderCollectsMistakes(t *testing.T) {
	b := NewBuilder("", 15)
	b.Input("x", float32Type, 1.5, -2)
	b.Input("x", float32Type)
	b.Op("Relu", "y", []string{"nowhere"})
	b.Call("foreign", "Op", []string{"x"}, []string{"z"})
	b.Initializer(nil)
	_, err := b.Model()
	if !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"no name", "float64", "negative", "twice", "nowhere", "foreign.Op", "nil"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	// What only the whole graph shows comes from Check.
	b = NewBuilder("g", 15)
	b.Input("x", float32Type, 1)
	b.Op("Conv", "y", []string{"x"})
	b.Output("missing", float32Type)
	if _, err = b.Model(); err == nil || !strings.Contains(err.Error(), "missing") || !strings.Contains(err.Error(), "1 inputs") {
		t.Errorf("%v", err)
	}
}

func TestAttributes(t *testing.T) {
	value := NewFloats("v", nil, []float32{1})
	n := &pb.NodeProto{Attribute: []*pb.AttributeProto{
		IntAttr("i", 0), IntsAttr("is", 1, 2), FloatAttr("f", 0), FloatsAttr("fs", 1.5), StringAttr("s", ""),
		StringsAttr("ss", "a", "b"), TensorAttr("t", value), GraphAttr("g", &pb.GraphProto{Name: "body"}),
	}}
	for _, a := range n.Attribute {
		if err := attributeValue(a, nil); err != nil {
			t.Errorf("%s %v", a.GetName(), err)
		}
	}
	if AttrInt(n, "i", 9) != 0 || AttrInt(n, "none", 9) != 9 || AttrFloat(n, "f", 2) != 0 || AttrFloat(n, "none", 2) != 2 {
		t.Error("numbers")
	}
	if AttrString(n, "s", "default") != "" || AttrString(n, "none", "default") != "default" {
		t.Error("strings")
	}
	if got := AttrInts(n, "is", nil); len(got) != 2 || got[1] != 2 || AttrInts(n, "none", []int64{4})[0] != 4 {
		t.Error("lists of integers")
	}
	if AttrFloats(n, "fs", nil)[0] != 1.5 || AttrTensor(n, "t") != value || AttrTensor(n, "none") != nil || AttrGraph(n, "g").GetName() != "body" {
		t.Error("tensors, graphs")
	}
	SetAttr(n, IntAttr("i", 3))
	SetAttr(n, IntAttr("new", 4))
	DeleteAttr(n, "fs")
	DeleteAttr(n, "none")
	if AttrInt(n, "i", 0) != 3 || AttrInt(n, "new", 0) != 4 || Attr(n, "fs") != nil || len(n.Attribute) != 8 {
		t.Error("changing attributes")
	}
}

func TestMetadata(t *testing.T) {
	m := smallModel(t)
	if _, ok := m.Metadata("k"); ok {
		t.Error("a key that was never set")
	}
	m.SetMetadata("k", "1")
	m.SetMetadata("other", "x")
	m.SetMetadata("k", "2")
	if v, ok := m.Metadata("k"); !ok || v != "2" || len(m.MetadataProps) != 2 {
		t.Errorf("%q, %v", v, m.MetadataProps)
	}
	m.DeleteMetadata("k")
	if _, ok := m.Metadata("k"); ok || len(m.MetadataProps) != 1 {
		t.Error("a deleted key")
	}
}
