package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// differs names the cases that cannot be compared, with the reason.
var differs = map[string]string{
	"Pad-19[3 4][4][1 5 2 0]map[mode:wrap]": "ONNX Runtime wraps once at most",

	"Resize[2 3 5 6][][4][1 1 0.6 1.7]map[coordinate_transformation_mode:align_corners mode:linear]": fractional,
	"Resize[2 3 5 6][][4][1 1 0.6 1.7]map[coordinate_transformation_mode:align_corners mode:cubic]":  fractional,

	"Resize[2 3 5 6][][4][1 1 2 0.7]map[exclude_outside:1 mode:nearest]":                            refused,
	"Resize[2 3 5 6][][4][1 1 2 0.7]map[exclude_outside:1 mode:linear]":                             refused,
	"Resize-18[2 3 5 6][][2][0.4 0.7]map[antialias:1 axes:[2 3] mode:nearest]":                      refused,
	"ConvTranspose[1 2 3 3][2 2 2 3][2]map[dilations:[1 3] output_padding:[0 2] strides:[2 2]]":     refused,
	"Resize[2 3 7][][][3][2 6 4]map[mode:cubic]":                                                    refused,
	"Resize-18[2 3 5 6][][][2][9 9]map[axes:[2 3] keep_aspect_ratio_policy:not_larger mode:linear]": "shape inference knows the policy stretch only",
}

const (
	fractional = "the standard's node tests divide by the output length before rounding, ONNX Runtime by the rounded one"
	refused    = "ONNX Runtime refuses the combination"
)

// model writes a case as a file; it returns the names of the leaves.
func (c gradientCase) model() (*onnx.Model, error) {
	opset := c.opset
	if opset == 0 {
		opset = 17
	}
	b := onnx.NewBuilder("case", int64(opset))
	var names []string
	for i, in := range c.inputs {
		name := fmt.Sprintf("input%d", i)
		dims := make([]any, len(in.shape))
		for k, d := range in.shape {
			dims[k] = d
		}
		switch {
		case !in.present():
			name = ""
		case in.kind == index:
			b.Initializer(onnx.NewInts(name, in.shape, in.ints))
		case in.kind == floats:
			b.Initializer(onnx.NewFloats(name, in.shape, in.list))
		default:
			b.Input(name, pb.TensorProto_FLOAT, dims...)
		}
		names = append(names, name)
	}
	var outputs []string
	for i := range max(c.outputs, 1) {
		outputs = append(outputs, fmt.Sprintf("output%d", i))
	}
	var attrs []*pb.AttributeProto
	for name, v := range c.attrs {
		switch v := v.(type) {
		case int64:
			attrs = append(attrs, onnx.IntAttr(name, v))
		case float32:
			attrs = append(attrs, onnx.FloatAttr(name, v))
		case string:
			attrs = append(attrs, onnx.StringAttr(name, v))
		case []int64:
			attrs = append(attrs, onnx.IntsAttr(name, v...))
		case []float32:
			attrs = append(attrs, onnx.FloatsAttr(name, v...))
		}
	}
	if own, ok := strings.CutPrefix(c.op, "graft."); ok {
		switch own {
		case "AdaptiveAveragePool":
			b.Function(onnx.AdaptiveAveragePoolFunction())
		case "ChannelDropout":
			b.Function(onnx.ChannelDropoutFunction())
		}
		b.Call("graft", own, names, outputs, attrs...)
	} else {
		b.Node(c.op, names, outputs, attrs...)
	}
	for _, o := range outputs {
		b.Output(o, pb.TensorProto_FLOAT)
	}
	m, err := b.Model()
	if err != nil {
		return nil, err
	}
	for _, o := range m.GetGraph().GetOutput() {
		o.GetType().GetTensorType().Shape = nil // what it is, inference says
	}
	return m, nil
}

// TestONNXRuntime compares the operators of the gradient cases, in evaluation,
// with ONNX Runtime: to 1e-5 of the value and 5e-6, since it computes the
// positions of Resize in float32.
func TestONNXRuntime(t *testing.T) {
	rt, err := ort.Open(testutil.OnnxRuntime(t))
	if err != nil {
		t.Fatal(err)
	}
	dev := native.New(2)
	compared := 0
	for _, c := range gradientCases() {
		if c.train || (c.opset > 0 && c.opset < 7) {
			continue // ONNX Runtime has neither
		}
		t.Run(c.name(), func(t *testing.T) {
			if why := differs[c.name()]; why != "" {
				t.Skip(why)
			}
			m, err := c.model()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "case.onnx")
			if err := m.Save(path); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(3, 4))
			feeds := map[string]ort.Tensor{}
			spec := graph.Spec{Inputs: map[string][]int{}}
			data := map[string][]float32{}
			for i, in := range c.inputs {
				if in.leaf() {
					name := fmt.Sprintf("input%d", i)
					data[name] = in.draw(r).data
					feeds[name] = ort.New(data[name], in.shape...)
					spec.Inputs[name] = in.shape
				}
			}
			s, err := rt.Session(path, ort.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want, err := s.Run(feeds)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := makePlan(m, dev, spec)
			if err != nil {
				t.Fatal(err)
			}
			for name, d := range data {
				if err := plan.SetInput(name, d); err != nil {
					t.Fatal(err)
				}
			}
			if err := plan.RunAll(); err != nil {
				t.Fatal(err)
			}
			compared++
			for name, w := range want {
				got, shape, err := plan.Output(name)
				if err != nil {
					t.Fatal(err)
				}
				values := w.Data.([]float32)
				if fmt.Sprint(shape) != fmt.Sprint(w.Shape) || len(values) != len(got) {
					t.Fatalf("%s has shape %v, ONNX Runtime's %v", name, shape, w.Shape)
				}
				for i := range values {
					if d := math.Abs(float64(got[i] - values[i])); !(d <= 5e-6+1e-5*math.Abs(float64(values[i]))) {
						t.Fatalf("%s: element %d is %g, ONNX Runtime gives %g", name, i, got[i], values[i])
					}
				}
			}
		})
	}
	t.Logf("%d cases compared with ONNX Runtime %s", compared, rt.Version())
}
