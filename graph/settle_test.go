package graph

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/onnx"
)

// normalised is Conv with bias, BatchNormalization, Relu, a depthwise Conv,
// BatchNormalization and the sum with the Relu. With keep nothing is folded.
func normalised(t *testing.T, keep bool) *onnx.Model {
	f := newFusing("normalised", keep)
	first := f.Op("Conv", "first", []string{"image",
		f.Initializer(onnx.NewFloats("w", []int{4, 3, 3, 3}, ramp(108, -0.5, 0.07))),
		f.Initializer(onnx.NewFloats("bias", []int{4}, ramp(4, -0.2, 0.1)))}, onnx.IntsAttr("pads", 1, 1, 1, 1))
	relu := f.Op("Relu", "relu", []string{f.norm("norm", first)})
	deep := f.Op("Conv", "deep", []string{relu, f.Initializer(onnx.NewFloats("deep.w", []int{4, 1, 3, 3}, ramp(36, -0.5, 0.07)))},
		onnx.IntsAttr("pads", 1, 1, 1, 1), onnx.IntAttr("group", 4))
	sum := f.Op("Add", "sum", []string{f.norm("second", deep), relu})
	return f.model(t, f.Op("Relu", "last", []string{sum}), "first", "norm", "deep", "second", "sum")
}

func infer(t *testing.T, net *Network, output string, batch int) []float32 {
	t.Helper()
	shape := []int{batch, 3, 6, 5}
	plan, err := net.Plan(Spec{Inputs: map[string][]int{"image": shape}})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.SetInput("image", ramp(kernel.Len(shape), -1, 0.2)); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	y, _, err := plan.Output(output)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// agree compares two outputs; folding rounds the filter instead of the result,
// a few units in the last place of numbers around 10.
func agree(t *testing.T, when string, got, want []float32) {
	t.Helper()
	for i, v := range want {
		if !(math.Abs(float64(got[i]-v)) <= 1e-5) {
			t.Fatalf("%s: element %d is %v folded, %v by itself", when, i, got[i], v)
		}
	}
}

// TestFolding compares inference with and without folded normalisation, and
// follows the parameters: after SetValue, and after a training run, which moves
// the stored statistics.
func TestFolding(t *testing.T) {
	nets := [2]*Network{}
	for i, keep := range []bool{false, true} {
		var err error
		if nets[i], err = NewNetwork(normalised(t, keep), native.New(1)); err != nil {
			t.Fatal(err)
		}
	}
	both := func() (folded, plain []float32) {
		return infer(t, nets[0], "last", 2), infer(t, nets[1], "last", 2)
	}
	folded, plain := both()
	agree(t, "at first", folded, plain)

	plan, err := nets[0].Plan(Spec{Inputs: map[string][]int{"image": {2, 3, 6, 5}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.before) == 0 {
		t.Error("nothing is settled before the run")
	}
	packed := 0
	for _, s := range plan.steps {
		switch d := s.desc.(type) {
		case kernel.Conv:
			packed += min(d.Packed, 1)
		case kernel.AddN:
		default:
			t.Errorf("a run computes %T beside convolutions and the sum", s.desc)
		}
	}
	if packed != 1 {
		t.Errorf("%d convolutions read packed filters, want the one that is not depthwise", packed)
	}

	before := folded
	for _, net := range nets {
		p := net.Parameter("norm.scale")
		if err := net.SetValue(p, []float32{2, -1, 0.5, 3}); err != nil {
			t.Fatal(err)
		}
	}
	folded, plain = both()
	agree(t, "after SetValue", folded, plain)
	if folded[0] == before[0] && folded[1] == before[1] {
		t.Error("SetValue changes nothing")
	}

	before = folded
	for _, net := range nets {
		train, err := net.Plan(Spec{Inputs: map[string][]int{"image": {2, 3, 6, 5}}, Mode: Train, Cotangents: []string{"last"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := train.SetInput("image", ramp(180, -1, 0.2)); err != nil {
			t.Fatal(err)
		}
		if err := train.SetInput(CotangentInput("last"), make([]float32, 240)); err != nil {
			t.Fatal(err)
		}
		if err := train.RunAll(); err != nil {
			t.Fatal(err)
		}
	}
	folded, plain = both()
	agree(t, "after a training run", folded, plain)
	if folded[0] == before[0] && folded[1] == before[1] {
		t.Error("new statistics change nothing")
	}
	// Another shape reads the same folded parameters.
	buffers := len(nets[0].settled)
	infer(t, nets[0], "last", 1)
	if len(nets[0].settled) != buffers {
		t.Errorf("a second plan takes %d more buffers for the same filters", len(nets[0].settled)-buffers)
	}
}

// TestFoldingKeepsNaN checks that a NaN in the statistics reaches the output.
func TestFoldingKeepsNaN(t *testing.T) {
	net, err := NewNetwork(normalised(t, false), native.New(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := net.SetValue(net.Parameter("norm.mean"), []float32{0, float32(math.NaN()), 0, 0}); err != nil {
		t.Fatal(err)
	}
	nan := 0
	for _, v := range infer(t, net, "last", 1) {
		if v != v {
			nan++
		}
	}
	if nan != 30 {
		t.Errorf("%d outputs are NaN, want the 30 of one channel", nan)
	}
}
