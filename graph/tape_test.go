package graph

import (
	"math"
	"math/rand/v2"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/op"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// TestPlanAgainstTapeMachine runs one expression graph, gradient included, on
// Gorgonia's own machine and as a Plan.
func TestPlanAgainstTapeMachine(t *testing.T) {
	dev := native.New(1)
	op.Oracle = dev
	t.Cleanup(func() { op.Oracle = nil })
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	b := onnx.NewBuilder("tape", 13)
	image := b.Input("image", pb.TensorProto_FLOAT, 1, 2, 5, 6)
	w := b.Initializer(onnx.NewFloats("w", []int{3, 2, 3, 3}, random(54)))
	conv := b.Op("Conv", "conv", []string{image, w}, onnx.IntsAttr("pads", 1, 1, 1, 1))
	gate := b.Op("Sigmoid", "gate", []string{conv})
	b.Op("LogSoftmax", "logprob", []string{b.Op("Mul", "product", []string{conv, gate})}, onnx.IntAttr("axis", 1))
	b.Output("logprob", pb.TensorProto_FLOAT, 1, 3, 5, 6)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	net, err := NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Inputs: map[string][]int{"image": {1, 2, 5, 6}}, Mode: Train,
		Loss: &Loss{Ignore: -1, Outputs: []LossOutput{{"logprob", 1}}},
	}
	e, err := net.build(spec)
	if err != nil {
		t.Fatal(err)
	}
	pixels, labels := random(60), make([]int32, 30)
	for i := range labels {
		labels[i] = int32(i%4) - 1
	}
	for _, l := range e.leaves {
		var v gorgonia.Value
		shape := l.node.Shape()
		switch {
		case l.param != nil:
			data, err := net.Value(l.param)
			if err != nil {
				t.Fatal(err)
			}
			v = tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
		case l.input == "image":
			v = tensor.New(tensor.WithShape(shape...), tensor.WithBacking(pixels))
		case l.input != "":
			v = tensor.New(tensor.WithShape(shape...), tensor.WithBacking(labels))
		default:
			v = tensor.New(tensor.WithShape(shape...), tensor.WithBacking(l.data))
		}
		if err := gorgonia.Let(l.node, v); err != nil {
			t.Fatal(err)
		}
	}
	var total, grad gorgonia.Value
	gorgonia.Read(e.total, &total)
	gorgonia.Read(e.gradients["w"], &grad)
	machine := gorgonia.NewTapeMachine(e.graph)
	defer machine.Close()
	if err := machine.RunAll(); err != nil {
		t.Fatal(err)
	}

	plan, err := net.Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.SetInput("image", pixels); err != nil {
		t.Fatal(err)
	}
	if err := plan.SetLabels("logprob", labels); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	loss, err := plan.Loss()
	if err != nil {
		t.Fatal(err)
	}
	if tape := float64(total.Data().([]float32)[0]); math.Abs(tape-loss.Total) > 1e-6 || loss.Total <= 0 {
		t.Errorf("loss %v on Gorgonia's machine, %v in the plan", tape, loss.Total)
	}
	planGrad, err := net.Gradient(net.Parameter("w"))
	if err != nil {
		t.Fatal(err)
	}
	tapeGrad := grad.Data().([]float32)
	if len(tapeGrad) != kernel.Len(net.Parameter("w").Shape) {
		t.Fatalf("gradient has %d elements", len(tapeGrad))
	}
	for i := range tapeGrad {
		if math.Abs(float64(tapeGrad[i]-planGrad[i])) > 1e-6 {
			t.Fatalf("gradient differs at %d: %v on Gorgonia's machine, %v in the plan", i, tapeGrad[i], planGrad[i])
		}
	}
}
