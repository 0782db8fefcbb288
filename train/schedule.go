package train

import (
	"math"

	"github.com/graft-onnx/graft/train/config"
)

// Poly is the reference's learning-rate schedule:
// lr(i) = base * (1 - i/max)^power, in float64.
func Poly(base float64, iteration, maxIterations int, power float64) float64 {
	if iteration >= maxIterations {
		return 0
	}
	return base * math.Pow(1-float64(iteration)/float64(maxIterations), power)
}

// Cosine falls from base at iteration 0 to least at maxIterations along half a
// period: least + (base-least) * (1 + cos(pi i/max)) / 2.
func Cosine(base float64, iteration, maxIterations int, least float64) float64 {
	return least + (base-least)*(1+math.Cos(math.Pi*float64(min(iteration, maxIterations))/float64(maxIterations)))/2
}

// Steps is base times gamma for every milestone, an iteration, that is reached.
func Steps(base float64, iteration int, milestones []int, gamma float64) float64 {
	reached := 0
	for _, m := range milestones {
		if iteration >= m {
			reached++
		}
	}
	return base * math.Pow(gamma, float64(reached))
}

// WarmUp is the factor that rises in equal steps from start at iteration 0 to 1
// at iteration length.
func WarmUp(iteration, length int, start float64) float64 {
	if iteration >= length {
		return 1
	}
	return start + (1-start)*float64(iteration)/float64(length)
}

// learningRate is what a configuration says for an iteration: its schedule,
// which begins at iteration 0, times its warm-up.
func learningRate(c *config.Config, base float64, iteration int) float64 {
	t, rate := &c.Train, base
	switch t.Schedule {
	case "cosine":
		rate = Cosine(base, iteration, c.MaxIters(), t.LrMin)
	case "step":
		iterations := make([]int, len(t.Milestones))
		for i, epoch := range t.Milestones {
			iterations[i] = epoch * t.EpochIters
		}
		rate = Steps(base, iteration, iterations, t.LrGamma)
	case "constant":
	default:
		rate = Poly(base, iteration, c.MaxIters(), t.LrPow)
	}
	return rate * WarmUp(iteration, t.WarmupIters, t.WarmupFactor)
}
