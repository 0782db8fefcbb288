package train

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Agreement over a whole run whose learning rates are so small that rounding
// has no time to grow.
const (
	calmLossTolerance   = 1e-5 // relative, every loss
	calmUpdateTolerance = 1e-3 // of the norm of a tensor's total update
)

// TestCalmTraces trains as the stored traces were, but with the learning rates
// of record.Calm, and compares with PyTorch in double precision: what a wrong
// gradient, momentum, decay or schedule would change shows here undisturbed.
func TestCalmTraces(t *testing.T) {
	references(t, func(t *testing.T, ref *reference, dev kernel.Device) {
		calm := ref.Calm
		config := ref.Config
		config.LrEncoder, config.LrDecoder, config.WeightDecay = calm.Config.LrEncoder, calm.Config.LrDecoder, calm.Config.WeightDecay
		exact := calm.Variants[len(calm.Variants)-1]
		if exact.Name != "float64" {
			t.Fatalf("the last variant is %q, want float64", exact.Name)
		}
		relative := func(loss float64, i int) float64 { return math.Abs(loss-exact.Losses[i]) / exact.Losses[i] }
		apart := spread(calm.Variants, func(v variant, i int) float64 { return relative(v.Losses[i], i) })

		s := ref.start(t, ref.model(t), dev, config)
		before := s.values()
		used := 0.0
		for i, want := range exact.Losses {
			got := s.run(i)
			tolerance := max(calmLossTolerance, spreadFactor*apart[i])
			d := relative(got.Total, i)
			used = max(used, d/tolerance)
			if !(d <= tolerance) {
				t.Errorf("iteration %d: loss %.7f, want %.7f: relative difference %.2g > %.2g", i, got.Total, want, d, tolerance)
			}
			s.step(i)
		}
		t.Logf("losses: at most %.0f %% of the tolerance", 100*used)

		updates := s.values().minus(before)
		if len(updates) != len(calm.Updates) {
			t.Errorf("%d tensors, want %d", len(updates), len(calm.Updates))
		}
		for name, want := range calm.Updates {
			wantNorm, wantAlternating, apart := want[0], want[1], want[2]
			tolerance := max(calmUpdateTolerance, spreadFactor*apart) * wantNorm
			got := updates[name]
			if d := math.Abs(norm(got) - wantNorm); !(d <= tolerance) {
				t.Errorf("update of %s: norm %.6g, want %.6g within %.2g", name, norm(got), wantNorm, tolerance)
			}
			if a := alternating(got); !(math.Abs(a-wantAlternating) <= tolerance) {
				t.Errorf("update of %s: alternating sum %.6g, want %.6g within %.2g", name, a, wantAlternating, tolerance)
			}
		}
	})
}

// alternating is the sum with alternating signs over the square root of the
// length: of a difference, at most its norm.
func alternating(v []float32) float64 {
	sum := 0.0
	for i, x := range v {
		sum += float64(x) * float64(1-2*(i%2))
	}
	return sum / math.Sqrt(float64(len(v)))
}
