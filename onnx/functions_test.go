package onnx

import (
	"fmt"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/onnx/pb"
)

// callModel calls a function of graft on an image of any size.
func callModel(t *testing.T, f *pb.FunctionProto, attr *pb.AttributeProto) *Model {
	t.Helper()
	b := NewBuilder("call", functionOpset)
	b.Function(f)
	x := b.Input("x", pb.TensorProto_FLOAT, "N", "C", "H", "W")
	b.Call(FunctionDomain, f.GetName(), []string{x}, []string{"y"}, attr)
	b.Output("y", pb.TensorProto_FLOAT, nil, nil, nil, nil)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// adaptivePool is the definition, computed in float64.
func adaptivePool(x []float32, planes, h, w, oh, ow int) []float32 {
	var out []float32
	for p := range planes {
		for i := range oh {
			for j := range ow {
				top, bottom := i*h/oh, ((i+1)*h+oh-1)/oh
				left, right := j*w/ow, ((j+1)*w+ow-1)/ow
				sum := 0.0
				for y := top; y < bottom; y++ {
					for z := left; z < right; z++ {
						sum += float64(x[(p*h+y)*w+z])
					}
				}
				out = append(out, float32(sum/float64((bottom-top)*(right-left))))
			}
		}
	}
	return out
}

func TestAdaptiveAveragePoolInRuntime(t *testing.T) {
	for _, cells := range [][2]int64{{1, 1}, {2, 2}, {3, 3}, {6, 6}, {2, 5}, {13, 5}} {
		m := callModel(t, AdaptiveAveragePoolFunction(), IntsAttr("output_size", cells[:]...))
		flat, err := Inline(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(flat.Functions) != 0 {
			t.Error("a function is left after inlining")
		}
		for _, size := range [][2]int{{30, 40}, {7, 9}, {13, 5}, {3, 2}} {
			t.Run(fmt.Sprintf("%v of %v", cells, size), func(t *testing.T) {
				h, w := size[0], size[1]
				x := noise(2*3*h*w, uint32(h))
				want := adaptivePool(x, 6, h, w, int(cells[0]), int(cells[1]))
				for name, model := range map[string]*Model{"function": m, "inlined": flat} {
					out := runORT(t, model, map[string]ort.Tensor{"x": ort.New(x, 2, 3, h, w)})["y"]
					// Sums of up to 1,200 float32 numbers in another order.
					if d := differ(out.Data.([]float32), want); d > 2e-6 {
						t.Errorf("%s: differs by %g", name, d)
					}
				}
			})
		}
	}
}

func TestChannelDropoutIsIdentityInInference(t *testing.T) {
	m := callModel(t, ChannelDropoutFunction(), FloatAttr("ratio", 0.4))
	flat, err := Inline(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := noise(2*5*3*4, 1)
	for _, model := range []*Model{m, flat} {
		out := runORT(t, model, map[string]ort.Tensor{"x": ort.New(x, 2, 5, 3, 4)})["y"]
		if d := differ(out.Data.([]float32), x); d != 0 {
			t.Errorf("differs by %g", d)
		}
	}
}

// Half precision reaches every constant of the body through CastLike.
func TestFunctionsInferInHalfPrecision(t *testing.T) {
	for _, f := range []*pb.FunctionProto{AdaptiveAveragePoolFunction(), ChannelDropoutFunction()} {
		b := NewBuilder("call", functionOpset)
		b.Function(f)
		b.Input("x", pb.TensorProto_FLOAT16, 1, 4, 8, 8)
		b.Call(FunctionDomain, f.GetName(), []string{"x"}, []string{"y"}, IntsAttr("output_size", 2, 3), FloatAttr("ratio", 0.1))
		b.Output("y", pb.TensorProto_FLOAT16, nil, nil, nil, nil)
		m, err := b.Model()
		if err != nil {
			t.Fatal(err)
		}
		flat, err := Inline(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		infos, err := Infer(flat)
		if err != nil {
			t.Fatal(err)
		}
		if y := infos["y"]; y.DType != pb.TensorProto_FLOAT16 || !y.Known || len(y.Dims) != 4 {
			t.Errorf("%s: inlined result is %v", f.GetName(), y)
		}
	}
}

func TestInlinedPoolHasConcreteMatrices(t *testing.T) {
	m := callModel(t, AdaptiveAveragePoolFunction(), IntsAttr("output_size", 3, 2))
	flat, err := Inline(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	small, shapes, err := Specialize(flat, map[string][]int{"x": {1, 4, 7, 9}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(small.Graph.Node); n != 2 {
		t.Errorf("%d nodes are left, want the two products", n)
	}
	if got := fmt.Sprint(shapes["y"]); got != "[1 4 3 2]" {
		t.Errorf("shape %s", got)
	}
	x := noise(4*7*9, 3)
	out := runORT(t, small, map[string]ort.Tensor{"x": ort.New(x, 1, 4, 7, 9)})["y"]
	if d := differ(out.Data.([]float32), adaptivePool(x, 4, 7, 9, 3, 2)); d > 2e-6 {
		t.Errorf("differs by %g", d)
	}
}

func TestKernelFunctionsStayWhole(t *testing.T) {
	m := callModel(t, AdaptiveAveragePoolFunction(), IntsAttr("output_size", 3, 2))
	small, shapes, err := Specialize(m, map[string][]int{"x": {1, 4, 7, 9}})
	if err != nil {
		t.Fatal(err)
	}
	if len(small.Graph.Node) != 1 || OpName(small.Graph.Node[0]) != "graft.AdaptiveAveragePool" || len(small.Functions) != 1 {
		t.Errorf("the call did not survive: %v", small.Graph.Node)
	}
	if got := fmt.Sprint(shapes["y"]); got != "[1 4 3 2]" {
		t.Errorf("shape %s", got)
	}
}
