package native

import (
	"fmt"
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// A loss is compiled to the count of pixels and its value, its gradient to the
// sums that it needs and the gradient.

func loss(p *program, d kernel.Loss) error {
	countPixels(p, d.Size())
	switch k := d.(type) {
	case kernel.CrossEntropy:
		crossEntropy(p, k)
	case kernel.OHEM:
		ohem(p, k)
	case kernel.Dice:
		dice(p, k)
	case kernel.Focal:
		focal(p, k)
	case kernel.Lovasz:
		lovasz(p, k)
	default:
		return fmt.Errorf("native: %T: %w", d, kernel.ErrUnsupported)
	}
	return nil
}

func lossBackward(p *program, d kernel.LossBackward) error {
	px := d.Loss.Size()
	p.stage(1, func(int) { p.err = checkLabels(p.i[1], kernel.NLL(px)) })
	switch k := d.Loss.(type) {
	case kernel.CrossEntropy:
		crossEntropyBackward(p, k)
	case kernel.OHEM:
		ohemBackward(p, k)
	case kernel.Dice:
		diceBackward(p, k)
	case kernel.Focal:
		focalBackward(p, k)
	case kernel.Lovasz:
		lovaszBackward(p, k)
	default:
		return fmt.Errorf("native: %T: %w", d.Loss, kernel.ErrUnsupported)
	}
	return nil
}

// checkLoss tells what is wrong with the settings of a loss, "" for nothing.
func checkLoss(d kernel.Loss) string {
	perClass := func(v []float32) string {
		if n := d.Size().C; len(v) != 0 && len(v) != n {
			return fmt.Sprintf("%d weights for %d classes", len(v), n)
		}
		return ""
	}
	switch k := d.(type) {
	case kernel.CrossEntropy:
		if !(k.Smoothing >= 0 && k.Smoothing <= 1) {
			return fmt.Sprintf("smoothing %v is outside [0,1]", k.Smoothing)
		}
		return perClass(k.Weights)
	case kernel.Focal:
		if !(k.Gamma >= 0) {
			return fmt.Sprintf("gamma %v is below 0", k.Gamma)
		}
		return perClass(k.Alpha)
	case kernel.Dice:
		if !(k.Smooth >= 0) {
			return fmt.Sprintf("smooth %v is below 0", k.Smooth)
		}
	case kernel.OHEM:
		if k.MinKept < 0 {
			return fmt.Sprintf("%d pixels to keep", k.MinKept)
		}
	}
	return ""
}

// countPixels fills out[1] and out[2]. The stages after it may rely on labels
// that are classes, or Ignore.
func countPixels(p *program, d kernel.Pixels) {
	p.stage(1, func(int) { p.err = checkLabels(p.i[1], kernel.NLL(d)) })
	p.sums(d, 2, func(i int, sum []float64) {
		row, k := p.f[0][i*d.C:(i+1)*d.C], int(p.i[1][i])
		best := 0
		for j, v := range row {
			if v > row[best] {
				best = j
			}
		}
		if best == k {
			sum[0]++
		}
		sum[1]++
	}, func(sum []float64) { p.f[2][1], p.f[2][2] = float32(sum[0]), float32(sum[1]) })
}

// sums lets add visit the labelled pixels, in shares that have n sums of their
// own, and hands their totals to done.
func (p *program) sums(d kernel.Pixels, n int, add func(pixel int, sum []float64), done func(sum []float64)) {
	pixels := d.Labels()
	parts := p.parts(pixels*(d.C+1), grain)
	stride := 2*n + 30 // apart by a cache line at least
	at := p.reserve(parts * stride)
	p.stage(parts, func(part int) {
		lo, hi := span(pixels, part, parts, 1)
		sum, label := p.float64s(at+part*stride, n), p.i[1]
		clear(sum)
		for i := lo; i < hi; i++ {
			if label[i] != d.Ignore {
				add(i, sum)
			}
		}
	})
	p.stage(1, func(int) {
		total := p.float64s(at, n)
		for part := 1; part < parts; part++ {
			for i, v := range p.float64s(at+part*stride, n) {
				total[i] += v
			}
		}
		done(total)
	})
}

// gradients lets one fill in the gradient of the labelled pixels, which is zero
// before, as it is everywhere else.
func (p *program) gradients(d kernel.Pixels, one func(pixel int, logprob, dx []float32, label int)) {
	p.split(d.Labels(), grain/max(d.C, 1)+1, func(lo, hi int) {
		x, label, dx := p.f[0], p.i[1], p.f[3]
		clear(dx[lo*d.C : hi*d.C])
		for i := lo; i < hi; i++ {
			if label[i] != d.Ignore {
				one(i, x[i*d.C:(i+1)*d.C], dx[i*d.C:(i+1)*d.C], int(label[i]))
			}
		}
	})
}

// mean is a total over its count, 0 for nothing.
func mean(total, count float64) float64 {
	if count == 0 {
		return 0
	}
	return total / count
}

// orOne is the weight of a class, 1 without weights.
func orOne(weights []float32, class int) float64 {
	if len(weights) == 0 {
		return 1
	}
	return float64(weights[class])
}

func crossEntropy(p *program, d kernel.CrossEntropy) {
	smoothing := float64(d.Smoothing)
	p.sums(d.Pixels, 2, func(i int, sum []float64) {
		row, k := p.f[0][i*d.C:(i+1)*d.C], int(p.i[1][i])
		w := orOne(d.Weights, k)
		sum[0] -= (1 - smoothing) * w * float64(row[k])
		sum[1] += w
		if smoothing == 0 {
			return
		}
		all := 0.0
		for c, v := range row {
			all += orOne(d.Weights, c) * float64(v)
		}
		sum[0] -= smoothing / float64(d.C) * all
	}, func(sum []float64) { p.f[2][0] = float32(mean(sum[0], sum[1])) })
}

func crossEntropyBackward(p *program, d kernel.CrossEntropy) {
	scale, smoothing := 0.0, float64(d.Smoothing)
	p.sums(d.Pixels, 1, func(i int, sum []float64) { sum[0] += orOne(d.Weights, int(p.i[1][i])) },
		func(sum []float64) { scale = mean(-float64(p.f[2][0]), sum[0]) })
	p.gradients(d.Pixels, func(_ int, _, dx []float32, k int) {
		if smoothing > 0 {
			even := scale * smoothing / float64(d.C)
			for c := range dx {
				dx[c] = float32(even * orOne(d.Weights, c))
			}
		}
		dx[k] += float32(scale * (1 - smoothing) * orOne(d.Weights, k))
	})
}

func focal(p *program, d kernel.Focal) {
	gamma := float64(d.Gamma)
	p.sums(d.Pixels, 2, func(i int, sum []float64) {
		k := int(p.i[1][i])
		l := float64(p.f[0][i*d.C+k])
		sum[0] -= orOne(d.Alpha, k) * math.Pow(missing(l), gamma) * l
		sum[1]++
	}, func(sum []float64) { p.f[2][0] = float32(mean(sum[0], sum[1])) })
}

// missing is 1 - e to the l, which lies in 0..1; l may be a rounding above 0.
func missing(l float64) float64 { return max(0, -math.Expm1(l)) }

func focalBackward(p *program, d kernel.Focal) {
	scale, gamma := 0.0, float64(d.Gamma)
	p.sums(d.Pixels, 1, func(_ int, sum []float64) { sum[0]++ },
		func(sum []float64) { scale = mean(float64(p.f[2][0]), sum[0]) })
	p.gradients(d.Pixels, func(_ int, x, dx []float32, k int) {
		l := float64(x[k])
		q := missing(l)
		g := -math.Pow(q, gamma)
		if q > 0 && gamma > 0 { // the term tends to 0 with q
			g += gamma * math.Pow(q, gamma-1) * math.Exp(l) * l
		}
		dx[k] = float32(scale * orOne(d.Alpha, k) * g)
	})
}

// diceSums adds up I, P and T, C numbers each.
func diceSums(p *program, d kernel.Dice, done func(i, pr, t []float64)) {
	c := d.C
	p.sums(d.Pixels, 3*c, func(i int, sum []float64) {
		k := int(p.i[1][i])
		for j, v := range p.f[0][i*c : (i+1)*c] {
			sum[c+j] += math.Exp(float64(v))
		}
		sum[k] += math.Exp(float64(p.f[0][i*c+k]))
		sum[2*c+k]++
	}, func(sum []float64) { done(sum[:c], sum[c:2*c], sum[2*c:]) })
}

func dice(p *program, d kernel.Dice) {
	smooth := float64(d.Smooth)
	diceSums(p, d, func(i, pr, t []float64) {
		total, classes := 0.0, 0.0
		for c, n := range t {
			if n > 0 {
				total += 1 - (2*i[c]+smooth)/(pr[c]+n+smooth)
				classes++
			}
		}
		p.f[2][0] = float32(mean(total, classes))
	})
}

func diceBackward(p *program, d kernel.Dice) {
	c, smooth := d.C, float64(d.Smooth)
	// The derivative by a class's probability, off and on its own pixels.
	at := p.reserve(4 * c)
	diceSums(p, d, func(i, pr, t []float64) {
		slope := p.float64s(at, 2*c)
		classes := 0.0
		for _, n := range t {
			if n > 0 {
				classes++
			}
		}
		for k, n := range t {
			slope[k], slope[c+k] = 0, 0
			if n > 0 {
				below := pr[k] + n + smooth
				scale := float64(p.f[2][0]) / classes
				slope[k] = scale * (2*i[k] + smooth) / (below * below)
				slope[c+k] = slope[k] - scale*2/below
			}
		}
	})
	p.gradients(d.Pixels, func(_ int, x, dx []float32, label int) {
		slope := p.float64s(at, 2*c)
		for k, v := range x {
			if s := slope[k]; s != 0 { // the class occurs
				if k == label {
					s = slope[c+k]
				}
				dx[k] = float32(s * math.Exp(float64(v)))
			}
		}
	})
}
