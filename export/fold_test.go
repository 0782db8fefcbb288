package export_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// net builds small graphs of convolutions and normalisations.
type net struct {
	*onnx.Builder
	r *rand.Rand
}

func newNet() *net {
	n := &net{Builder: onnx.NewBuilder("net", 15), r: rand.New(rand.NewPCG(11, 2))}
	n.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	return n
}

func (n *net) values(size int, low, high float64) []float32 {
	out := make([]float32, size)
	for i := range out {
		out[i] = float32(low + (high-low)*n.r.Float64())
	}
	return out
}

func (n *net) weight(name string, dims ...int) string {
	size := 1
	for _, d := range dims {
		size *= d
	}
	return n.Initializer(onnx.NewFloats(name, dims, n.values(size, -1, 1)))
}

// norm adds a BatchNormalization of four channels whose parameters are
// name.scale, .shift, .mean, .variance.
func (n *net) norm(name, x string, attrs ...*pb.AttributeProto) string {
	return n.Op("BatchNormalization", name, n.normInputs(name, x), attrs...)
}

func (n *net) normInputs(name, x string) []string {
	in := []string{x}
	for _, p := range []struct {
		part      string
		low, high float64
	}{{"scale", -2, 2}, {"shift", -1, 1}, {"mean", -3, 3}, {"variance", 0.01, 4}} {
		in = append(in, n.Initializer(onnx.NewFloats(name+"."+p.part, []int{4}, n.values(4, p.low, p.high))))
	}
	return in
}

func (n *net) model(t *testing.T, y string) *onnx.Model {
	t.Helper()
	n.Output(y, pb.TensorProto_FLOAT, "N", 4, "H", "W")
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Path = "net.onnx"
	return m
}

// TestFoldBN folds graphs of every kind and compares what ONNX Runtime computes
// before and after.
func TestFoldBN(t *testing.T) {
	tests := []struct {
		name       string
		build      func(*net) string
		folded     int
		normalised int // BatchNormalizations that stay
	}{
		{"plain", func(n *net) string {
			return n.norm("bn", n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)}))
		}, 1, 0},
		{"bias", func(n *net) string {
			return n.norm("bn", n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 3, 3), n.weight("c.bias", 4)}, onnx.IntsAttr("pads", 1, 1, 1, 1)))
		}, 1, 0},
		{"epsilon", func(n *net) string {
			return n.norm("bn", n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)}), onnx.FloatAttr("epsilon", 0.5))
		}, 1, 0},
		{"grouped", func(n *net) string {
			x := n.Op("Conv", "a", []string{"image", n.weight("a.weight", 4, 3, 1, 1)})
			return n.norm("bn", n.Op("Conv", "b", []string{x, n.weight("b.weight", 4, 1, 3, 3)}, onnx.IntAttr("group", 4), onnx.IntsAttr("pads", 1, 1, 1, 1)))
		}, 1, 0},
		{"shared weight", func(n *net) string {
			w := n.weight("c.weight", 4, 3, 1, 1)
			a := n.norm("bn1", n.Op("Conv", "a", []string{"image", w}))
			b := n.norm("bn2", n.Op("Conv", "b", []string{"image", w}))
			return n.Op("Mul", "y", []string{a, b})
		}, 2, 0},
		{"shared bias and statistics", func(n *net) string {
			bias := n.weight("bias", 4)
			a := n.Op("Conv", "a", []string{"image", n.weight("a.weight", 4, 3, 1, 1), bias})
			b := n.Op("Conv", "b", []string{"image", n.weight("b.weight", 4, 3, 1, 1), bias})
			in := n.normInputs("bn", a)
			a = n.Op("BatchNormalization", "bn1", in)
			b = n.Op("BatchNormalization", "bn2", append([]string{b}, in[1:]...))
			return n.Op("Mul", "y", []string{a, b})
		}, 2, 0},
		{"name beside the weight taken", func(n *net) string {
			taken := n.Initializer(onnx.NewFloats("c.bias", []int{1, 4, 1, 1}, n.values(4, -1, 1)))
			x := n.norm("bn", n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)}))
			return n.Op("Add", "y", []string{x, taken})
		}, 1, 0},
		{"weight in a Constant", func(n *net) string {
			w := n.Op("Constant", "w", nil, onnx.TensorAttr("value", onnx.NewFloats("", []int{4, 3, 1, 1}, n.values(12, -1, 1))))
			return n.norm("bn", n.Op("Conv", "c", []string{"image", w}))
		}, 1, 0},
		{"weight through Identity", func(n *net) string {
			w := n.Op("Identity", "w", []string{n.weight("stored", 4, 3, 1, 1)})
			return n.norm("bn", n.Op("Conv", "c", []string{"image", w}))
		}, 1, 0},
		{"Dropout between", func(n *net) string {
			x := n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)})
			return n.norm("bn", n.Op("Dropout", "d", []string{x}))
		}, 1, 0},
		{"read twice", func(n *net) string {
			x := n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)})
			return n.Op("Add", "y", []string{n.norm("bn", x), x})
		}, 0, 1},
		{"not behind a convolution", func(n *net) string {
			x := n.Op("Relu", "r", []string{n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)})})
			return n.norm("bn", x)
		}, 0, 1},
		{"twice in a row", func(n *net) string {
			x := n.norm("bn1", n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)}))
			return n.norm("bn2", x)
		}, 2, 0},
		{"twice in a row with bias", func(n *net) string {
			x := n.norm("bn1", n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1), n.weight("c.bias", 4)}))
			return n.norm("bn2", x)
		}, 2, 0},
		{"computed weight", func(n *net) string {
			w := n.Op("Mul", "w", []string{n.weight("a", 4, 3, 1, 1), n.weight("b", 4, 3, 1, 1)})
			return n.norm("bn", n.Op("Conv", "c", []string{"image", w}))
		}, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNet()
			m := n.model(t, tt.build(n))
			opts := export.Options{Head: export.Logits, FoldBN: true}
			out, err := export.Inference(m, opts)
			if err != nil {
				t.Fatal(err)
			}
			d, _, err := export.ReadDeployment(out)
			if err != nil {
				t.Fatal(err)
			}
			if d.FoldedBN != tt.folded || count(out, "BatchNormalization") != tt.normalised {
				t.Errorf("%d folded and %d left, want %d and %d", d.FoldedBN, count(out, "BatchNormalization"), tt.folded, tt.normalised)
			}
			image := noise(5, 2, 3, 7, 9)
			want, got := runModel(t, m, image), runModel(t, out, image)
			diff, largest := difference(t, got.Data.([]float32), float64s(want.Data.([]float32)))
			if diff > 2e-6*largest {
				t.Errorf("outputs differ by %.2e of the largest; more than 2e-6", diff/largest)
			}
		})
	}
}

// TestTrainingModeBN exports a BatchNormalization of training mode: the file
// uses stored statistics.
func TestTrainingModeBN(t *testing.T) {
	build := func(read bool, attrs ...*pb.AttributeProto) *onnx.Model {
		n := newNet()
		x := n.Op("Relu", "r", []string{n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)})})
		outputs := []string{"y"}
		if len(attrs) > 0 {
			outputs = append(outputs, "y.mean", "y.variance")
		}
		y := n.Node("BatchNormalization", n.normInputs("bn", x), outputs, attrs...)[0]
		if read {
			y = n.Op("Add", "z", []string{y, "y.mean"})
		}
		return n.model(t, y)
	}
	export1 := func(m *onnx.Model) (*onnx.Model, error) {
		return export.Inference(m, export.Options{Head: export.Logits, FoldBN: true})
	}
	out, err := export1(build(false, onnx.IntAttr("training_mode", 1)))
	if err != nil {
		t.Fatal(err)
	}
	image := noise(5, 2, 3, 7, 9)
	want, got := runModel(t, build(false), image), runModel(t, out, image)
	if diff, _ := difference(t, got.Data.([]float32), float64s(want.Data.([]float32))); diff != 0 {
		t.Errorf("outputs differ by %.2e", diff)
	}
	_, err = export1(build(true, onnx.IntAttr("training_mode", 1)))
	var e *onnx.Error
	if !errors.As(err, &e) || e.Op != "BatchNormalization" || !strings.Contains(err.Error(), `"y.mean"`) {
		t.Errorf("batch statistics that are read: %v", err)
	}
}

// TestOutputNameIsFreed exports graphs in which another value has the name of
// the head's output.
func TestOutputNameIsFreed(t *testing.T) {
	for _, head := range export.Heads() {
		t.Run(string(head), func(t *testing.T) {
			taken := head.OutputName()
			n := newNet()
			x := n.Op("Conv", taken, []string{"image", n.weight("c.weight", 4, 3, 1, 1)})
			y := n.Op("Relu", "y", []string{x})
			m := n.model(t, y)
			out, err := export.Inference(m, export.Options{Head: head, Upsample: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := out.GetGraph().GetOutput()[0].GetName(); got != taken {
				t.Errorf("output is called %q, want %q", got, taken)
			}
			runModel(t, out, noise(5, 2, 3, 7, 9), taken)
		})
	}
}

// TestFunctions exports a network that calls graft's functions.
func TestFunctions(t *testing.T) {
	build := func(dropout bool) *onnx.Model {
		n := newNet()
		pool := onnx.AdaptiveAveragePoolFunction()
		n.Function(pool)
		x := n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 1, 1)})
		if dropout {
			f := onnx.ChannelDropoutFunction()
			n.Function(f)
			x = n.Call(f.GetDomain(), f.GetName(), []string{x}, []string{"d"}, onnx.FloatAttr("ratio", 0.5))[0]
		}
		p := n.Call(pool.GetDomain(), pool.GetName(), []string{x}, []string{"p"}, onnx.IntsAttr("output_size", 1, 1))[0]
		return n.model(t, n.Op("Add", "y", []string{p, x}))
	}
	image := noise(5, 2, 3, 7, 9)
	want := runModel(t, build(false), image)
	for _, keep := range []bool{false, true} {
		out, err := export.Inference(build(true), export.Options{Head: export.Logits, KeepFunctions: keep})
		if err != nil {
			t.Fatal(err)
		}
		functions := 0
		if keep {
			functions = 1
		}
		if got := len(out.GetFunctions()); got != functions {
			t.Errorf("keep %v: %d functions, want %d", keep, got, functions)
		}
		if got := len(out.GetOpsetImport()); got != 1+functions {
			t.Errorf("keep %v: %d operator sets, want %d", keep, got, 1+functions)
		}
		if count(out, "Dropout")+count(out, "ChannelDropout") > 0 {
			t.Errorf("keep %v: dropout is left", keep)
		}
		got := runModel(t, out, image)
		if diff, largest := difference(t, got.Data.([]float32), float64s(want.Data.([]float32))); diff > 1e-6*largest {
			t.Errorf("keep %v: outputs differ by %.2e", keep, diff)
		}
	}
}
