package graph_test

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
)

// TestLossTerms holds a list of losses on two outputs against the plans of each
// loss alone: value, gradient and the counts of pixels.
func TestLossTerms(t *testing.T) {
	devices(t, func(t *testing.T, dev kernel.Device) {
		net, err := graph.NewNetwork(residual(t), dev)
		if err != nil {
			t.Fatal(err)
		}
		shape := []int{2, 3, 9, 7}
		image, labels := sample(shape, 3)
		run := func(terms []graph.LossTerm, outputs ...graph.LossOutput) (graph.LossValue, []float32) {
			t.Helper()
			plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{"image": shape}, Mode: graph.Train,
				Loss: &graph.Loss{Ignore: -1, Outputs: outputs, Terms: terms}})
			if err != nil {
				t.Fatal(err)
			}
			lossOf(t, plan, image, labels)
			v, err := plan.Loss()
			if err != nil {
				t.Fatal(err)
			}
			g, err := net.Gradient(net.Parameter("encoder.stem.weight"))
			if err != nil {
				t.Fatal(err)
			}
			return v, append([]float32(nil), g...)
		}
		plain, _ := run(nil, graph.LossOutput{Name: "logprob", Weight: 1})
		terms := []graph.LossTerm{
			{0.5, kernel.Dice{Smooth: 1}}, {1, kernel.CrossEntropy{}}, {2, kernel.CrossEntropy{Weights: []float32{1, 2, 0.5}, Smoothing: 0.1}},
			{0.25, kernel.Lovasz{}}, {1, kernel.OHEM{Threshold: 0.3, MinKept: 20}}, {0.75, kernel.Focal{Gamma: 2}},
		}
		const scale = 0.5 // of the output
		want, gradient := 0.0, []float64{}
		for i, term := range terms {
			v, g := run([]graph.LossTerm{{1, term.Loss}}, graph.LossOutput{Name: "logprob", Weight: 1})
			want += scale * float64(term.Weight) * v.Total
			if i == 0 {
				gradient = make([]float64, len(g))
			}
			for k := range g {
				gradient[k] += scale * float64(term.Weight) * float64(g[k])
			}
		}
		got, g := run(terms, graph.LossOutput{Name: "logprob", Weight: scale})
		if math.Abs(got.Total-want) > 1e-6*want {
			t.Errorf("loss %v, want %v", got.Total, want)
		}
		if got.Correct != plain.Correct || got.Labelled != plain.Labelled || got.Labelled == 0 {
			t.Errorf("%d of %d pixels correct, want %d of %d", got.Correct, got.Labelled, plain.Correct, plain.Labelled)
		}
		worst, largest := 0.0, 0.0
		for k := range g {
			worst, largest = max(worst, math.Abs(float64(g[k])-gradient[k])), max(largest, math.Abs(gradient[k]))
		}
		if !(worst <= 1e-5*largest) {
			t.Errorf("gradients differ by %v, the largest is %v", worst, largest)
		}
	})
}
