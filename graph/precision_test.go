package graph_test

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
)

// distance is the length of a-b relative to that of b.
func distance(a, b []float32) float64 {
	var d, n float64
	for i, v := range b {
		d += float64(a[i]-v) * float64(a[i]-v)
		n += float64(v) * float64(v)
	}
	return math.Sqrt(d / n)
}

// TestMixedPrecision compares a step with bfloat16 activations with the same in
// float32. A rounding is off by 2^-9 in the mean square at most; about twenty
// follow each other between an input and its gradient here.
func TestMixedPrecision(t *testing.T) {
	const bound = 20.0 / 512
	devices(t, func(t *testing.T, dev kernel.Device) {
		net, err := graph.NewNetwork(residual(t), dev)
		if err != nil {
			t.Fatal(err)
		}
		shape := []int{2, 3, 30, 26}
		image, labels := sample(shape, 3)
		type result struct {
			loss  float64
			grads map[string][]float32
			arena int
		}
		step := func(precision graph.Precision) result {
			plan, err := net.Plan(graph.Spec{
				Inputs: map[string][]int{"image": shape}, Mode: graph.Train, InputGradients: true, Precision: precision,
				Loss: &graph.Loss{Ignore: -1, Outputs: []graph.LossOutput{{Name: "logprob", Weight: 1}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			r := result{loss: lossOf(t, plan, image, labels), grads: map[string][]float32{}, arena: plan.ArenaSize()}
			for _, p := range net.Parameters() {
				if r.grads[p.Name], err = net.Gradient(p); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"logprob", graph.InputGradient("image")} {
				if r.grads[name], _, err = plan.Output(name); err != nil {
					t.Fatal(err)
				}
			}
			return r
		}
		want, got := step(graph.Float32), step(graph.BFloat16)
		if d := math.Abs(got.loss - want.loss); d > bound*want.loss || d == 0 {
			t.Errorf("loss %v, in float32 %v", got.loss, want.loss)
		}
		for name, w := range want.grads {
			if d := distance(got.grads[name], w); !(d <= bound) || d == 0 && len(w) > 10 {
				t.Errorf("%s differs by %.4f", name, d)
			}
		}
		t.Logf("arena %d bytes, in float32 %d", got.arena, want.arena)
	})
}

// TestGradientOfScoresPrecision checks by the bytes that it moves that the gradient
// of the loss by the scores is stored as bfloat16, from log-probabilities that are
// not.
func TestGradientOfScoresPrecision(t *testing.T) {
	shape := []int{2, 3, 30, 26}
	const scores, labels, sums = 2 * 3 * 30 * 26, 2 * 30 * 26, 3 + 3
	for precision, size := range map[graph.Precision]int{graph.Float32: 4, graph.BFloat16: 2} {
		devices(t, func(t *testing.T, dev kernel.Device) {
			net, err := graph.NewNetwork(residual(t), dev)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{"image": shape}, Mode: graph.Train, Precision: precision,
				Loss: &graph.Loss{Ignore: -1, Outputs: []graph.LossOutput{{Name: "logprob", Weight: 1}}}})
			if err != nil {
				t.Fatal(err)
			}
			prof := graph.NewProfiler()
			net.SetProfiler(prof)
			image, label := sample(shape, 3)
			lossOf(t, plan, image, label)
			var bytes []float64
			for _, r := range prof.Profile().Kinds {
				if r.Kind == "LogSoftmax + NLLLoss.dx" {
					bytes = append(bytes, r.Bytes)
				}
			}
			if want := float64(4*(scores+labels+sums) + size*scores); len(bytes) != 1 || bytes[0] != want {
				t.Errorf("the gradient moves %v bytes, want %v", bytes, want)
			}
		})
	}
}
