package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/onnx/pb"
)

func build(t *testing.T, opset int64, f func(b *Builder)) *Model {
	t.Helper()
	b := NewBuilder("g", opset)
	f(b)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ops(m *Model) string {
	var list []string
	for _, n := range m.Graph.Node {
		list = append(list, OpName(n))
	}
	return strings.Join(list, " ")
}

func TestSpecializeKeepsParameters(t *testing.T) {
	m := build(t, 13, func(b *Builder) {
		b.Input("x", float32Type, "N", 4)
		b.Initializer(NewFloats("w", []int{3, 4}, make([]float32, 12)))
		b.Initializer(NewFloats("factor", nil, []float32{2}))
		b.Op("Identity", "same", []string{"w"})
		b.Op("Mul", "scaled", []string{"same", "factor"}) // of a parameter: a node
		b.Op("Transpose", "wt", []string{"scaled"})
		b.Op("MatMul", "p", []string{"x", "wt"})
		b.Op("Shape", "ws", []string{"w"}) // an integer: folded
		b.Op("Reshape", "r", []string{"p", b.Initializer(NewInts("target", []int{2}, []int64{-1, 3}))})
		b.Op("Mul", "six", []string{"factor", b.Initializer(NewFloats("three", nil, []float32{3}))}) // scalars: folded
		b.Op("Mul", "y", []string{"r", "six"})
		b.Op("Relu", "unused", []string{"y"})
		b.Output("y", float32Type, "N", 3)
		b.Output("ws", pb.TensorProto_INT64, 2)
	})
	small, shapes, err := Specialize(m, map[string][]int{"x": {5, 4}})
	if err != nil {
		t.Fatal(err)
	}
	if got := ops(small); got != "Mul Transpose MatMul Reshape Mul" {
		t.Errorf("nodes %s", got)
	}
	if in := small.Graph.Node[0].Input; in[0] != "w" {
		t.Errorf("the Identity is not resolved: %v", in)
	}
	for name, want := range map[string]string{"x": "[5 4]", "w": "[3 4]", "wt": "[4 3]", "y": "[5 3]", "six": "[]", "ws": "[2]"} {
		if got := fmt.Sprint(shapes[name]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if v, err := Floats(small.Initializer("six")); err != nil || v[0] != 6 {
		t.Errorf("six is %v, %v", v, err)
	}
	if v, err := Ints(small.Initializer("ws")); err != nil || !slices.Equal(v, []int64{3, 4}) {
		t.Errorf("ws is %v, %v", v, err)
	}
	if small.Initializer("unused") != nil || small.Initializer("same") != nil || shapes["unused"] != nil {
		t.Error("what no output needs is left")
	}
	if err := Check(small); err != nil {
		t.Error(err)
	}
}

// Scales that come from a parameter are settings all the same.
func TestSpecializeFoldsSettings(t *testing.T) {
	m := build(t, 13, func(b *Builder) {
		b.Input("x", float32Type, 1, 1, 4, 4)
		b.Initializer(NewFloats("half", []int{4}, []float32{.5, .5, 1, 1}))
		b.Op("Mul", "scales", []string{"half", b.Initializer(NewFloats("two", nil, []float32{2}))})
		b.Op("Resize", "y", []string{"x", "", "scales"})
		b.Output("y", float32Type, nil, nil, nil, nil)
	})
	small, shapes, err := Specialize(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ops(small); got != "Resize" || fmt.Sprint(shapes["y"]) != "[1 1 8 8]" && fmt.Sprint(shapes["y"]) != "[1 1 4 4]" {
		t.Fatalf("nodes %s, shape %v", got, shapes["y"])
	}
	if v, err := Floats(small.Initializer(small.Graph.Node[0].Input[2])); err != nil || !slices.Equal(v, []float32{1, 1, 2, 2}) {
		t.Errorf("scales %v, %v", v, err)
	}
}

func TestSpecializeWritesWindowsOut(t *testing.T) {
	for _, c := range []struct {
		op, auto string
		size     int
		stride   int64
		pads     []int64
		out      string
	}{
		{"Conv", "SAME_UPPER", 8, 2, []int64{0, 0, 1, 1}, "[1 1 4 4]"},
		{"Conv", "SAME_LOWER", 8, 2, []int64{1, 1, 0, 0}, "[1 1 4 4]"},
		{"Conv", "SAME_UPPER", 7, 2, []int64{1, 1, 1, 1}, "[1 1 4 4]"},
		{"Conv", "VALID", 8, 2, []int64{0, 0, 0, 0}, "[1 1 3 3]"},
		{"MaxPool", "SAME_UPPER", 8, 2, []int64{0, 0, 1, 1}, "[1 1 4 4]"},
		{"AveragePool", "SAME_LOWER", 5, 1, []int64{1, 1, 1, 1}, "[1 1 5 5]"},
		{"ConvTranspose", "SAME_UPPER", 4, 2, []int64{0, 0, 1, 1}, "[1 1 8 8]"},
	} {
		t.Run(fmt.Sprint(c.op, c.auto, c.size), func(t *testing.T) {
			m := build(t, 13, func(b *Builder) {
				in := []string{b.Input("x", float32Type, 1, 1, c.size, c.size)}
				attrs := []*pb.AttributeProto{StringAttr("auto_pad", c.auto), IntsAttr("strides", c.stride, c.stride)}
				if strings.HasPrefix(c.op, "Conv") {
					in = append(in, b.Initializer(NewFloats("w", []int{1, 1, 3, 3}, make([]float32, 9))))
				} else {
					attrs = append(attrs, IntsAttr("kernel_shape", 3, 3))
				}
				b.Output(b.Op(c.op, "y", in, attrs...), float32Type, nil, nil, nil, nil)
			})
			small, shapes, err := Specialize(m, nil)
			if err != nil {
				t.Fatal(err)
			}
			n := small.Graph.Node[0]
			if got := AttrInts(n, "pads", nil); !slices.Equal(got, c.pads) || Attr(n, "auto_pad") != nil {
				t.Errorf("pads %v, want %v", got, c.pads)
			}
			if got := AttrInts(n, "kernel_shape", nil); !slices.Equal(got, []int64{3, 3}) {
				t.Errorf("kernel_shape %v", got)
			}
			if got := fmt.Sprint(shapes["y"]); got != c.out {
				t.Errorf("shape %s, want %s", got, c.out)
			}
			if Attr(m.Graph.Node[0], "auto_pad") == nil {
				t.Error("the original has changed")
			}
		})
	}
}

func TestSpecializeListsEverythingUnsupported(t *testing.T) {
	m := caller(nil, callNode("First", []string{"x"}, []string{"a"}),
		&pb.NodeProto{OpType: "Relu", Input: []string{"a"}, Output: []string{"b"}},
		callNode("Second", []string{"b"}, []string{"c"}), callNode("First", []string{"c"}, []string{"y"}))
	m.Path = "file.onnx"
	_, _, err := Specialize(m, nil)
	var missing *UnsupportedError
	if !errors.As(err, &missing) || !errors.Is(err, ErrUnsupported) || len(missing.Nodes) != 3 {
		t.Fatalf("got %v", err)
	}
	if want := `file.onnx: operators not supported: f.First (node "call_Firsta", "call_Firsty"); f.Second (node "call_Secondc"); ` + "`graft inspect FILE` lists what a file needs"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	infos, err := Infer(m)
	if !errors.As(err, &missing) || infos["b"].Known || !infos["y"].Known {
		t.Errorf("Infer: %v, %v", infos, err)
	}
}

func TestShapeErrorsNameTheNode(t *testing.T) {
	for name, c := range map[string]struct {
		build func(b *Builder)
		says  string
	}{
		"conv channels": {func(b *Builder) {
			b.Op("Conv", "y", []string{"x", b.Initializer(NewFloats("w", []int{4, 2, 3, 3}, make([]float32, 72)))})
		}, "for 3 channels"},
		"small input": {func(b *Builder) {
			b.Op("Conv", "y", []string{"x", b.Initializer(NewFloats("w", []int{1, 3, 9, 9}, make([]float32, 243)))})
		}, "a window of 9 over an axis of length 8"},
		"broadcast": {func(b *Builder) {
			b.Op("Add", "y", []string{"x", b.Initializer(NewFloats("v", []int{5}, make([]float32, 5)))})
		}, "do not broadcast"},
		"reshape": {func(b *Builder) {
			b.Op("Reshape", "y", []string{"x", b.Initializer(NewInts("s", []int{2}, []int64{5, -1}))})
		}, "cannot become"},
		"axis": {func(b *Builder) { b.Op("Concat", "y", []string{"x", "x"}, IntAttr("axis", 7)) }, "axis 7"},
		"too large": {func(b *Builder) {
			b.Op("Expand", "y", []string{"x", b.Initializer(NewInts("s", []int{4}, []int64{1, 3, 8, 1 << 50}))})
		}, "too large"},
		"more than there is": {func(b *Builder) {
			b.Node("TopK", []string{"x", b.Initializer(NewInts("k", []int{1}, []int64{9}))}, []string{"y", "i"})
		}, "k is 9"},
		"range": {func(b *Builder) {
			i := func(name string, v int64) string { return b.Initializer(NewInts(name, nil, []int64{v})) }
			b.Op("Range", "y", []string{i("a", 0), i("b", 1<<60), i("c", 1)})
		}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			m := build(t, 13, func(b *Builder) {
				b.Input("x", float32Type, 1, 3, 8, 8)
				c.build(b)
				b.Output("y", float32Type)
			})
			m.Path = "file.onnx"
			_, _, err := Specialize(m, nil)
			var e *Error
			if !errors.As(err, &e) || e.File != "file.onnx" || e.Node != "y" || e.Op == "" || !strings.Contains(e.Msg, c.says) {
				t.Errorf("got %v, want node y and %q", err, c.says)
			}
		})
	}
}

func TestSpecializeWantsShapes(t *testing.T) {
	m := load(t, "torchvision", "resnet18", "evalfold_dyn_op13.onnx")
	for says, sizes := range map[string]map[string][]int{
		"give it concrete dimensions": nil,
		"no input \"image\"":          {"image": {1, 3, 64, 64}, "input": {1, 3, 64, 64}},
		"has rank 4":                  {"input": {3, 64, 64}},
		"impossible shape":            {"input": {1, 3, -64, 64}},
	} {
		if _, _, err := Specialize(m, sizes); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: got %v, want %q", sizes, err, says)
		}
	}
}
