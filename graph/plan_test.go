package graph_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// residual is a small network with what makes buffer reuse hard: a value read
// three times, an operand used twice by one node (Add(x, x)), a reshape that
// shares its operand's bytes, and a weight used by two nodes.
func residual(t *testing.T) *onnx.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	weights := func(name string, dims ...int) *pb.TensorProto {
		data := make([]float32, kernel.Len(dims))
		for i := range data {
			data[i] = float32(rng.NormFloat64()) * 0.4
		}
		return onnx.NewFloats(name, dims, data)
	}
	b := onnx.NewBuilder("residual", 13)
	image := b.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	stem := b.Op("Conv", "stem", []string{image, b.Initializer(weights("encoder.stem.weight", 4, 3, 3, 3)), b.Initializer(weights("encoder.stem.bias", 4))},
		onnx.IntsAttr("pads", 1, 1, 1, 1))
	shared := b.Initializer(weights("encoder.shared.weight", 4, 4, 3, 3))
	pads := onnx.IntsAttr("pads", 1, 1, 1, 1)
	relu := b.Op("Relu", "relu", []string{stem})
	one := b.Op("Conv", "one", []string{relu, shared}, pads)
	two := b.Op("Conv", "two", []string{b.Op("Sigmoid", "sigmoid", []string{one}), shared}, pads)
	sum := b.Op("Add", "sum", []string{relu, two})
	twice := b.Op("Add", "twice", []string{sum, sum})
	mixed := b.Op("Mul", "mixed", []string{twice, relu})
	logits := b.Op("Conv", "logits", []string{mixed, b.Initializer(weights("decoder.weight", 3, 4, 1, 1))})
	b.Node("LogSoftmax", []string{logits}, []string{"logprob"}, onnx.IntAttr("axis", 1))
	b.Output("logprob", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func trainPlan(t *testing.T, net *graph.Network, shape []int) *graph.Plan {
	t.Helper()
	plan, err := net.Plan(graph.Spec{
		Inputs: map[string][]int{"image": shape}, Mode: graph.Train, InputGradients: true,
		Loss: &graph.Loss{Ignore: -1, Outputs: []graph.LossOutput{{Name: "logprob", Weight: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// lossOf runs the plan on the data and returns the loss.
func lossOf(t *testing.T, plan *graph.Plan, image []float32, labels []int32) float64 {
	t.Helper()
	if err := plan.SetInput("image", image); err != nil {
		t.Fatal(err)
	}
	if err := plan.SetLabels("logprob", labels); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	v, err := plan.Loss()
	if err != nil {
		t.Fatal(err)
	}
	return v.Total
}

func sample(shape []int, classes int) ([]float32, []int32) {
	rng := rand.New(rand.NewPCG(5, 6))
	image := make([]float32, kernel.Len(shape))
	for i := range image {
		image[i] = float32(rng.NormFloat64())
	}
	labels := make([]int32, shape[0]*shape[2]*shape[3])
	for i := range labels {
		labels[i] = int32(rng.IntN(classes+1)) - 1
	}
	return image, labels
}

// TestPlanGradientsAgainstFiniteDifferences checks the whole road, from file
// to gradient buffers, along random directions in the space of each tensor.
func TestPlanGradientsAgainstFiniteDifferences(t *testing.T) {
	devices(t, func(t *testing.T, dev kernel.Device) {
		net, err := graph.NewNetwork(residual(t), dev)
		if err != nil {
			t.Fatal(err)
		}
		shape := []int{2, 3, 9, 7}
		plan := trainPlan(t, net, shape)
		image, labels := sample(shape, 3)
		lossOf(t, plan, image, labels)
		rng := rand.New(rand.NewPCG(7, 8))
		for _, p := range net.Parameters() {
			grad, err := net.Gradient(p)
			if err != nil {
				t.Fatal(err)
			}
			grad = append([]float32(nil), grad...)
			value, err := net.Value(p)
			if err != nil {
				t.Fatal(err)
			}
			// A direction correlated with the gradient keeps the difference
			// well above float32 rounding.
			direction := make([]float32, len(value))
			norm, slope := 0.0, 0.0
			for i := range direction {
				direction[i] = grad[i] * float32(0.5+rng.Float64())
				norm += float64(direction[i]) * float64(direction[i])
			}
			const h = 2e-3
			moved := func(sign float64) float64 {
				v := append([]float32(nil), value...)
				for i := range v {
					v[i] += float32(sign * h * float64(direction[i]) / math.Sqrt(norm))
				}
				if err := net.SetValue(p, v); err != nil {
					t.Fatal(err)
				}
				return lossOf(t, plan, image, labels)
			}
			for i := range direction {
				slope += float64(grad[i]) * float64(direction[i]) / math.Sqrt(norm)
			}
			difference := (moved(1) - moved(-1)) / (2 * h)
			if err := net.SetValue(p, value); err != nil {
				t.Fatal(err)
			}
			if d := math.Abs(difference-slope) / math.Abs(slope); !(d < 2e-3) {
				t.Errorf("%s: slope %.6g, finite difference %.6g: relative difference %.2g", p.Name, slope, difference, d)
			}
			lossOf(t, plan, image, labels)
		}
	})
}

func TestPlansShareParametersAndRepeat(t *testing.T) {
	devices(t, func(t *testing.T, dev kernel.Device) {
		net, err := graph.NewNetwork(residual(t), dev)
		if err != nil {
			t.Fatal(err)
		}
		small, large := []int{1, 3, 6, 6}, []int{2, 3, 12, 10}
		p, q := trainPlan(t, net, small), trainPlan(t, net, large)
		image, labels := sample(small, 3)
		imageL, labelsL := sample(large, 3)
		a, b := lossOf(t, p, image, labels), lossOf(t, q, imageL, labelsL)
		for range 3 { // in turn, over the one arena
			if x := lossOf(t, p, image, labels); x != a {
				t.Errorf("small plan: loss %v, first %v", x, a)
			}
			if x := lossOf(t, q, imageL, labelsL); x != b {
				t.Errorf("large plan: loss %v, first %v", x, b)
			}
		}
		// The small plan went with the arena that the large one outgrew.
		if again := trainPlan(t, net, large); again != q {
			t.Error("the plan was not cached")
		}
	})
}

func TestPlanRefusesWrongShapes(t *testing.T) {
	net, err := graph.NewNetwork(residual(t), native.New(1))
	if err != nil {
		t.Fatal(err)
	}
	plan := trainPlan(t, net, []int{1, 3, 6, 6})
	if err := plan.SetInput("image", make([]float32, 5)); !errors.Is(err, graph.ErrShape) {
		t.Errorf("short input: %v", err)
	}
	if err := plan.SetInput("picture", nil); err == nil {
		t.Error("an unknown input was accepted")
	}
	if _, err := net.Plan(graph.Spec{Inputs: map[string][]int{"image": {1, 4, 6, 6}}}); err == nil {
		t.Error("four channels were accepted for three")
	}
	if _, err := net.Plan(graph.Spec{Inputs: map[string][]int{"image": {5, 3, 20000, 20000}}}); !errors.Is(err, graph.ErrMemory) {
		t.Errorf("a plan of terabytes: %v", err)
	}
}
