package onnx

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/onnx/pb"
)

func bodyNode(op string, in, out []string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	return &pb.NodeProto{OpType: op, Input: in, Output: out, Attribute: attrs}
}

func fn(name string, in, out []string, nodes ...*pb.NodeProto) *pb.FunctionProto {
	return &pb.FunctionProto{Domain: "f", Name: name, Input: in, Output: out, Node: nodes,
		OpsetImport: []*pb.OperatorSetIdProto{{Version: 13}, {Domain: "f", Version: 1}}}
}

// caller is a model that calls functions of domain f on x (2).
func caller(functions []*pb.FunctionProto, nodes ...*pb.NodeProto) *Model {
	vector := func(name string) *pb.ValueInfoProto {
		return declare(name, Info{DType: pb.TensorProto_FLOAT, Dims: []Dim{{Size: 2}}, Known: true})
	}
	return &Model{ModelProto: &pb.ModelProto{IrVersion: 8, Functions: functions,
		OpsetImport: []*pb.OperatorSetIdProto{{Version: 13}, {Domain: "f", Version: 1}},
		Graph:       &pb.GraphProto{Name: "g", Node: nodes, Input: []*pb.ValueInfoProto{vector("x")}, Output: []*pb.ValueInfoProto{vector("y")}}}}
}

func callNode(name string, in, out []string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	return &pb.NodeProto{Domain: "f", OpType: name, Name: "call_" + name + out[0], Input: in, Output: out, Attribute: attrs}
}

// Nested calls, the same function twice, attributes with and without a value
// at the call, an output that is an input: the result computes the same.
func TestInlineComputesTheSame(t *testing.T) {
	scale := fn("Scale", []string{"v"}, []string{"w"},
		bodyNode("Constant", nil, []string{"t"}, RefAttr("value_float", pb.AttributeProto_FLOAT, "by")),
		bodyNode("Mul", []string{"v", "t"}, []string{"w"}))
	scale.Attribute = []string{"by"}
	twice := fn("Twice", []string{"v"}, []string{"w", "same"},
		&pb.NodeProto{Domain: "f", OpType: "Scale", Input: []string{"v"}, Output: []string{"t"}, Attribute: []*pb.AttributeProto{RefAttr("by", pb.AttributeProto_FLOAT, "by")}},
		&pb.NodeProto{Domain: "f", OpType: "Scale", Input: []string{"t"}, Output: []string{"w"}, Attribute: []*pb.AttributeProto{FloatAttr("by", 10)}},
		bodyNode("Identity", []string{"v"}, []string{"same"}))
	twice.AttributeProto = []*pb.AttributeProto{FloatAttr("by", 3)}
	m := caller([]*pb.FunctionProto{scale, twice},
		callNode("Twice", []string{"x"}, []string{"a", "b"}),
		callNode("Twice", []string{"a"}, []string{"c", "unused"}, FloatAttr("by", 0.5)),
		bodyNode("Add", []string{"c", "b"}, []string{"y"}))
	flat, err := Inline(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range flat.Graph.Node {
		if n.GetDomain() != "" {
			t.Errorf("%s is left", OpName(n))
		}
	}
	if len(flat.Functions) != 0 || len(m.Functions) != 2 || len(m.Graph.Node) != 3 {
		t.Error("functions are left, or the original has changed")
	}
	for _, model := range []*Model{m, flat} {
		y := runORT(t, model, map[string]ort.Tensor{"x": ort.New([]float32{1, -2}, 2)})["y"]
		if got := fmt.Sprint(y.Data); got != "[151 -302]" { // x*3*10*0.5*10 + x
			t.Errorf("got %s", got)
		}
	}
}

func TestInlineRenamesSubgraphs(t *testing.T) {
	branch := func(op string) *pb.GraphProto {
		return &pb.GraphProto{Name: op, Node: []*pb.NodeProto{bodyNode(op, []string{"t"}, []string{"r"})},
			Output: []*pb.ValueInfoProto{declare("r", Info{DType: pb.TensorProto_FLOAT})}}
	}
	choose := fn("Choose", []string{"v"}, []string{"w"},
		bodyNode("Neg", []string{"v"}, []string{"t"}),
		bodyNode("Constant", nil, []string{"yes"}, TensorAttr("value", &pb.TensorProto{DataType: int32(pb.TensorProto_BOOL), RawData: []byte{1}})),
		bodyNode("If", []string{"yes"}, []string{"w"}, GraphAttr("then_branch", branch("Abs")), GraphAttr("else_branch", branch("Neg"))))
	m := caller([]*pb.FunctionProto{choose},
		callNode("Choose", []string{"x"}, []string{"t"}),
		callNode("Choose", []string{"t"}, []string{"y"}))
	flat, err := Inline(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	y := runORT(t, flat, map[string]ort.Tensor{"x": ort.New([]float32{1, -2}, 2)})["y"]
	if got := fmt.Sprint(y.Data); got != "[1 2]" {
		t.Errorf("got %s", got)
	}
}

func TestInlineRefuses(t *testing.T) {
	self := fn("Self", []string{"v"}, []string{"w"}, callNode("Other", []string{"v"}, []string{"w"}))
	other := fn("Other", []string{"v"}, []string{"w"}, callNode("Self", []string{"v"}, []string{"w"}))
	needs := fn("Needs", []string{"v"}, []string{"w"}, bodyNode("Identity", []string{"v"}, []string{"w"}))
	needs.Attribute = []string{"size"}
	older := fn("Older", []string{"v"}, []string{"w"}, bodyNode("Squeeze", []string{"v"}, []string{"w"}))
	older.OpsetImport[0].Version = 11
	bomb := []*pb.FunctionProto{fn("B0", []string{"v"}, []string{"w"}, bodyNode("Neg", []string{"v"}, []string{"w"}))}
	for i := 1; i < 40; i++ {
		callee := fmt.Sprintf("B%d", i-1)
		bomb = append(bomb, fn(fmt.Sprintf("B%d", i), []string{"v"}, []string{"w"},
			callNode(callee, []string{"v"}, []string{"t"}), callNode(callee, []string{"t"}, []string{"w"})))
	}
	for name, c := range map[string]struct {
		m    *Model
		is   error
		says string
	}{
		"recursion": {caller([]*pb.FunctionProto{self, other}, callNode("Self", []string{"x"}, []string{"y"})), ErrInvalid, "calls itself"},
		"attribute": {caller([]*pb.FunctionProto{needs}, callNode("Needs", []string{"x"}, []string{"y"})), ErrInvalid, `"size" is missing`},
		"inputs":    {caller([]*pb.FunctionProto{needs}, callNode("Needs", []string{"x", "x"}, []string{"y"})), ErrInvalid, "2 inputs"},
		"opset":     {caller([]*pb.FunctionProto{older}, callNode("Older", []string{"x"}, []string{"y"})), ErrUnsupported, "opset 11"},
		"growth":    {caller(bomb, callNode("B39", []string{"x"}, []string{"y"})), ErrTooLarge, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			c.m.Path = "file.onnx"
			_, err := Inline(c.m, nil)
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, c.is) || !strings.Contains(e.Error(), c.says) || e.Node == "" || e.File != "file.onnx" {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
