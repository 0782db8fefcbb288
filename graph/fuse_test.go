package graph

import (
	"fmt"
	"slices"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// ramp returns n numbers that repeat after a while.
func ramp(n int, from, step float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = from + step*float32(i*i%17)
	}
	return v
}

// fusing builds models with operators that are fused. With keep, what lies
// between those operators is an output too, which leaves them alone.
type fusing struct {
	*onnx.Builder
	keep bool
}

func newFusing(name string, keep bool) fusing {
	f := fusing{onnx.NewBuilder(name, 13), keep}
	f.Input("image", pb.TensorProto_FLOAT, 2, 3, 6, 5)
	return f
}

func (f fusing) conv(name, x string, in int) string {
	return f.Op("Conv", name, []string{x, f.Initializer(onnx.NewFloats(name+".w", []int{4, in, 1, 1}, ramp(4*in, -0.5, 0.07)))})
}

func (f fusing) norm(name, x string) string {
	in := []string{x}
	for i, p := range []string{"scale", "shift", "mean", "variance"} {
		in = append(in, f.Initializer(onnx.NewFloats(name+"."+p, []int{4}, ramp(4, []float32{0.5, -0.1, 0, 1}[i], 0.07))))
	}
	return f.Op("BatchNormalization", name, in)
}

// model ends the model; between lists what fusion hides.
func (f fusing) model(t *testing.T, output string, between ...string) *onnx.Model {
	t.Helper()
	outputs := []string{output}
	if f.keep {
		outputs = append(outputs, between...)
	}
	for _, name := range outputs {
		f.Output(name, pb.TensorProto_FLOAT, 2, 4, 6, 5)
	}
	m, err := f.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// activated is Conv, BatchNormalization, Relu, Conv with bias, Clip.
func activated(t *testing.T, keep bool) *onnx.Model {
	f := newFusing("activated", keep)
	relu := f.Op("Relu", "relu", []string{f.norm("norm", f.conv("conv", "image", 3))})
	second := f.Op("Conv", "second", []string{relu,
		f.Initializer(onnx.NewFloats("w2", []int{4, 4, 1, 1}, ramp(16, -0.4, 0.06))),
		f.Initializer(onnx.NewFloats("bias", []int{4}, ramp(4, -0.2, 0.1)))})
	low := f.Initializer(onnx.NewFloats("low", []int{}, []float32{-0.05}))
	high := f.Initializer(onnx.NewFloats("high", []int{}, []float32{0.3}))
	clip := f.Op("Clip", "clip", []string{second, low, high})
	return f.model(t, clip, "norm", "second")
}

// residual is a block whose shortcut has a convolution, one whose shortcut is
// its input, and one that adds without activation.
func residual(t *testing.T, keep bool) *onnx.Model {
	f := newFusing("residual", keep)
	long := f.norm("long", f.conv("conv1", "image", 3))
	short := f.norm("short", f.conv("conv2", "image", 3))
	first := f.Op("Relu", "first", []string{f.Op("Add", "sum1", []string{long, short})})
	inner := f.norm("inner", f.conv("conv3", first, 4))
	second := f.Op("Relu", "second", []string{f.Op("Add", "sum2", []string{first, inner})})
	last := f.Op("Add", "last", []string{f.norm("outer", f.conv("conv4", second, 4)), second})
	return f.model(t, last, "long", "short", "sum1", "inner", "sum2", "outer")
}

// joined resizes and joins maps, one of them as it is and one twice.
func joined(t *testing.T, keep bool) *onnx.Model {
	f := newFusing("joined", keep)
	first := f.conv("conv1", "image", 3)
	sizes := f.Initializer(onnx.NewInts("sizes", []int{4}, []int64{2, 4, 6, 5}))
	resize := func(name, x, mode string) string {
		return f.Op("Resize", name, []string{x, "", "", sizes}, onnx.StringAttr("mode", mode))
	}
	pool := func(name, x string, rows, cols int64) string {
		return f.Op("AveragePool", name, []string{x}, onnx.IntsAttr("kernel_shape", rows, cols), onnx.IntsAttr("strides", rows, cols))
	}
	half := resize("half", pool("pool1", f.conv("conv2", "image", 3), 2, 2), "linear")
	all := resize("all", pool("pool2", first, 6, 5), "nearest")
	twice := resize("twice", pool("pool3", first, 3, 1), "linear")
	join := f.Op("Concat", "join", []string{twice, half, first, all, twice}, onnx.IntAttr("axis", 1))
	return f.model(t, f.conv("last", join, 20), "half", "all")
}

// fusedRun is what a training step of such a model computes.
type fusedRun struct {
	output    []float32
	gradients map[string][]float32
	separate  int // activations, sums and resizing of their own
	masks     int // gradients of activations of their own
}

func runFused(t *testing.T, m *onnx.Model, output string, fixBN bool) (r fusedRun) {
	t.Helper()
	net, err := NewNetwork(m, native.New(1))
	if err != nil {
		t.Fatal(err)
	}
	shape := []int{2, 3, 6, 5}
	plan, err := net.Plan(Spec{Inputs: map[string][]int{"image": shape}, Mode: Train, FixBN: fixBN, Cotangents: []string{output}})
	if err != nil {
		t.Fatal(err)
	}
	image, cotangent := make([]float32, kernel.Len(shape)), make([]float32, 2*4*6*5)
	for i := range image {
		image[i] = float32(i*7%23)/11 - 1
	}
	for i := range cotangent {
		cotangent[i] = float32(i*5%13)/7 - 1
	}
	if err := plan.SetInput("image", image); err != nil {
		t.Fatal(err)
	}
	if err := plan.SetInput(CotangentInput(output), cotangent); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	if r.output, _, err = plan.Output(output); err != nil {
		t.Fatal(err)
	}
	r.gradients = map[string][]float32{}
	for _, p := range net.Parameters() {
		if p.Grad == nil {
			continue
		}
		if r.gradients[p.Name], err = net.Gradient(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range plan.steps {
		switch d := s.desc.(type) {
		case kernel.Unary:
			if d.Op == kernel.Relu || d.Op == kernel.Clamp {
				r.separate++
			}
		case kernel.UnaryBackward:
			r.masks++
		case kernel.Binary:
			if d.Op == kernel.Add {
				r.separate++
			}
		case kernel.Resample:
			if d.From.Of == 0 && d.To.Of == 0 {
				r.separate++
			}
		}
	}
	return r
}

// TestFusion compares every gradient and the output with and without fusion:
// the same bits from fewer kernels.
func TestFusion(t *testing.T) {
	for _, c := range []struct {
		name, output                      string
		model                             func(t *testing.T, keep bool) *onnx.Model
		fused, separate, masks, gradients int
	}{
		{"activated", "clip", activated, 0, 2, 1, 5}, // that of a convolution
		{"residual", "last", residual, 0, 5, 0, 12},
		{"joined", "last", joined, 2, 6, 0, 3}, // what is joined twice stays
	} {
		for _, fixBN := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s fixBN=%v", c.name, fixBN), func(t *testing.T) {
				fused, plain := runFused(t, c.model(t, false), c.output, fixBN), runFused(t, c.model(t, true), c.output, fixBN)
				if fused.separate != c.fused || plain.separate != c.separate {
					t.Errorf("%d steps of their own with fusion, want %d; %d without, want %d", fused.separate, c.fused, plain.separate, c.separate)
				}
				if fused.masks != c.masks {
					t.Errorf("%d gradients of activations are steps of their own, want %d", fused.masks, c.masks)
				}
				if !slices.Equal(fused.output, plain.output) {
					t.Error("outputs differ")
				}
				if len(fused.gradients) != c.gradients {
					t.Errorf("%d gradients, want %d", len(fused.gradients), c.gradients)
				}
				for name, g := range fused.gradients {
					if !slices.Equal(g, plain.gradients[name]) {
						t.Errorf("gradients of %s differ", name)
					}
				}
			})
		}
	}
}
