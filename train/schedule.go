package train

import "math"

// Poly is the reference's learning-rate schedule:
// lr(i) = base * (1 - i/max)^power, in float64.
func Poly(base float64, iteration, maxIterations int, power float64) float64 {
	if iteration >= maxIterations {
		return 0
	}
	return base * math.Pow(1-float64(iteration)/float64(maxIterations), power)
}
