package graph

import (
	"slices"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// activated is Conv, BatchNormalization, Relu, Conv with bias, Clip. With
// keep, the operands of the activations are outputs too and cannot be fused.
func activated(t *testing.T, keep bool) *onnx.Model {
	t.Helper()
	ramp := func(n int, from, step float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = from + step*float32(i*i%17)
		}
		return v
	}
	b := onnx.NewBuilder("activated", 13)
	image := b.Input("image", pb.TensorProto_FLOAT, 2, 3, 6, 5)
	conv := b.Op("Conv", "conv", []string{image, b.Initializer(onnx.NewFloats("w", []int{4, 3, 1, 1}, ramp(12, -0.5, 0.07)))})
	channel := func(name string, from, step float32) string {
		return b.Initializer(onnx.NewFloats(name, []int{4}, ramp(4, from, step)))
	}
	norm := b.Op("BatchNormalization", "norm", []string{conv, channel("scale", 0.5, 0.1), channel("shift", -0.1, 0.05), channel("mean", 0, 0.1), channel("variance", 1, 0.1)})
	relu := b.Op("Relu", "relu", []string{norm})
	second := b.Op("Conv", "second", []string{relu, b.Initializer(onnx.NewFloats("w2", []int{4, 4, 1, 1}, ramp(16, -0.4, 0.06))), channel("bias", -0.2, 0.1)})
	low := b.Initializer(onnx.NewFloats("low", []int{}, []float32{-0.05}))
	high := b.Initializer(onnx.NewFloats("high", []int{}, []float32{0.3}))
	b.Op("Clip", "clip", []string{second, low, high})
	outputs := []string{"clip"}
	if keep {
		outputs = append(outputs, "norm", "second")
	}
	for _, name := range outputs {
		b.Output(name, pb.TensorProto_FLOAT, 2, 4, 6, 5)
	}
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFusedActivations compares every gradient and output with and without
// fusion: the same bits, two kernels less.
func TestFusedActivations(t *testing.T) {
	type result struct {
		output      []float32
		gradients   map[string][]float32
		activations int
	}
	run := func(keep bool) (r result) {
		net, err := NewNetwork(activated(t, keep), native.New(1))
		if err != nil {
			t.Fatal(err)
		}
		shape := []int{2, 3, 6, 5}
		plan, err := net.Plan(Spec{Inputs: map[string][]int{"image": shape}, Mode: Train, Cotangents: []string{"clip"}})
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
		if err := plan.SetInput(CotangentInput("clip"), cotangent); err != nil {
			t.Fatal(err)
		}
		if err := plan.RunAll(); err != nil {
			t.Fatal(err)
		}
		if r.output, _, err = plan.Output("clip"); err != nil {
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
			if d, ok := s.desc.(kernel.Unary); ok && (d.Op == kernel.Relu || d.Op == kernel.Clamp) {
				r.activations++
			}
		}
		return r
	}
	fused, plain := run(false), run(true)
	if fused.activations != 0 || plain.activations != 2 {
		t.Errorf("%d activations of their own with fusion, want 0; %d without, want 2", fused.activations, plain.activations)
	}
	if !slices.Equal(fused.output, plain.output) {
		t.Error("outputs differ")
	}
	if len(fused.gradients) != 5 {
		t.Errorf("%d gradients, want those of w, scale, shift, w2 and bias", len(fused.gradients))
	}
	for name, g := range fused.gradients {
		if !slices.Equal(g, plain.gradients[name]) {
			t.Errorf("gradients of %s differ", name)
		}
	}
}
