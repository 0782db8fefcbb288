package native

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

// nllSum is what a negative log-likelihood sums over pixels. The assembly fills
// it by position.
type nllSum struct{ loss, correct, labelled float64 }

// nll sums in a few shares, each of which keeps an nllSum in scratch.
func nll(p *program, d kernel.NLL) {
	pixels := d.N * d.H * d.W
	parts := p.parts(pixels*(d.C+1), grain)
	at := p.reserve(6 * parts)
	p.stage(parts, func(part int) {
		lo, hi := span(pixels, part, parts, 1)
		sum := p.isa.nll(p.f[0][lo*d.C:hi*d.C], p.i[1][lo:hi], d.C, d.Ignore)
		copy(p.float64s(at+6*part, 3), []float64{sum.loss, sum.correct, sum.labelled})
	})
	p.stage(1, func(int) {
		if p.err = checkLabels(p.i[1], d); p.err != nil {
			return
		}
		total := p.float64s(at, 3)
		for part := 1; part < parts; part++ {
			for i, v := range p.float64s(at+6*part, 3) {
				total[i] += v
			}
		}
		out := p.f[2]
		out[0], out[1], out[2] = 0, float32(total[1]), float32(total[2])
		if total[2] > 0 {
			out[0] = float32(total[0] / total[2])
		}
	})
}

// vecNLL sums over rows of c log-probabilities, one for each label.
func vecNLL(x []float32, label []int32, c int, ignore int32) (sum nllSum) {
	for i, l := range label {
		if l == ignore || l < 0 || int(l) >= c {
			continue
		}
		row, k := x[i*c:(i+1)*c], int(l)
		sum.loss -= float64(row[k])
		sum.labelled++
		// The first of the largest is the answer; NaN is none.
		beaten := row[k] != row[k] || slices.ContainsFunc(row[:k], func(v float32) bool { return v >= row[k] }) ||
			slices.ContainsFunc(row[k:], func(v float32) bool { return v > row[k] })
		if !beaten {
			sum.correct++
		}
	}
	return sum
}

// checkLabels names the first label that is neither a class nor Ignore.
func checkLabels(label []int32, d kernel.NLL) error {
	for i, v := range label {
		if v != d.Ignore && (v < 0 || int(v) >= d.C) {
			x, y, n := i%d.W, i/d.W%d.H, i/(d.W*d.H)
			return fmt.Errorf("label %d at picture %d of the batch, row %d, column %d is outside the %d classes (0 to %d, or %d for unlabelled)",
				v, n, y, x, d.C, d.C-1, d.Ignore)
		}
	}
	return nil
}

func nllBackward(p *program, d kernel.NLLBackward) {
	pixels := d.N * d.H * d.W
	p.stage(1, func(int) { p.err = checkLabels(p.i[0], d.NLL) })
	p.split(pixels, grain/max(d.C, 1)+1, func(lo, hi int) {
		label, out, dout, dx := p.i[0], p.f[1], p.f[2], p.f[3]
		clear(dx[lo*d.C : hi*d.C])
		if out[2] == 0 {
			return
		}
		g := -dout[0] / out[2]
		for i := lo; i < hi; i++ {
			if label[i] != d.Ignore {
				dx[i*d.C+int(label[i])] = g
			}
		}
	})
}

// logSoftmaxNLLBackward takes runs of labelled pixels: what the labels take off,
// then the probabilities, while the run is in the nearest cache.
func logSoftmaxNLLBackward(p *program, d kernel.LogSoftmaxNLLBackward) {
	p.stage(1, func(int) { p.err = checkLabels(p.i[1], d.NLL) })
	longest := max(streamed/max(d.C, 1), 1)
	p.rows(d.N*d.H*d.W, d.C, grain/8, func(at int, f [][]float32) {
		y, dx, label := f[0], f[4], p.i[1][at:]
		out, dout := p.f[2], p.f[3]
		g := dout[0] / out[2] // of no use without a labelled pixel
		pixels := len(dx) / d.C
		for lo, hi := 0, 0; lo < pixels; lo = hi {
			labelled := label[lo] != d.Ignore
			for hi = lo + 1; hi < min(lo+longest, pixels) && (label[hi] != d.Ignore) == labelled; {
				hi++
			}
			run := dx[lo*d.C : hi*d.C]
			clear(run)
			if !labelled {
				continue
			}
			for i, k := range label[lo:hi] {
				run[i*d.C+int(k)] = -g
			}
			p.isa.expAxpy(run, y[lo*d.C:hi*d.C], g)
		}
	})
}
