package train

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/train/config"
)

// TestSchedules compares with what PyTorch 2.6 gives at base 0.1 over 20
// iterations: PolynomialLR(power 0.9), CosineAnnealingLR(eta_min 0.001),
// MultiStepLR([10, 15], 0.2), LinearLR(0.25, total_iters 8), and ChainedScheduler
// of LinearLR and MultiStepLR([5, 15], 0.2).
func TestSchedules(t *testing.T) {
	const tolerance = 1e-14 // PyTorch multiplies from iteration to iteration
	at := []int{0, 1, 2, 5, 9, 10, 14, 15, 19}
	for name, c := range map[string]struct {
		set  func(t *config.Train)
		want []float64
	}{
		"poly": {func(*config.Train) {}, []float64{
			0.1, 0.09548853816214997, 0.09095325760829621, 0.07718895067235705, 0.058388379291998034,
			0.053588673126814666, 0.033838346190164986, 0.028717458874925876, 0.006746414238367823}},
		"cosine": {func(t *config.Train) { t.Schedule, t.LrMin = "cosine", 0.001 }, []float64{
			0.1, 0.09939057285945932, 0.09757729755661011, 0.0855017856687341, 0.05824350601949144,
			0.0505, 0.02140463001152259, 0.015498214331265903, 0.001609427140540686}},
		"step": {func(t *config.Train) { t.Schedule, t.Milestones, t.LrGamma = "step", []int{2, 3}, 0.2 }, []float64{
			0.1, 0.1, 0.1, 0.1, 0.1, 0.020000000000000004, 0.020000000000000004, 0.004000000000000001, 0.004000000000000001}},
		"constant with warm-up": {func(t *config.Train) { t.Schedule, t.WarmupIters, t.WarmupFactor = "constant", 8, 0.25 }, []float64{
			0.025, 0.034375, 0.043750000000000004, 0.071875, 0.09999999999999999, 0.09999999999999999,
			0.09999999999999999, 0.09999999999999999, 0.09999999999999999}},
		"step with warm-up": {func(t *config.Train) {
			t.Schedule, t.Milestones, t.LrGamma, t.WarmupIters, t.WarmupFactor = "step", []int{1, 3}, 0.2, 8, 0.25
		}, []float64{
			0.025, 0.034375, 0.043750000000000004, 0.014374999999999999, 0.019999999999999997, 0.019999999999999997,
			0.019999999999999997, 0.003999999999999999, 0.003999999999999999}},
	} {
		cfg := config.Default()
		cfg.Train.NumEpoch, cfg.Train.EpochIters, cfg.Train.LrEncoder, cfg.Train.LrPow = 4, 5, 0.1, 0.9
		c.set(&cfg.Train)
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		for k, i := range at {
			if got := learningRate(cfg, cfg.Train.LrEncoder, i); math.Abs(got-c.want[k]) > tolerance {
				t.Errorf("%s: iteration %d: %v, want %v", name, i, got, c.want[k])
			}
		}
	}
}
