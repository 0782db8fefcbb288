package native

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

// nll sums in a few shares, whose partial sums are three float64 each.
func nll(p *program, d kernel.NLL) {
	pixels := d.N * d.H * d.W
	parts := p.parts(pixels*(d.C+1), grain)
	at := p.reserve(6 * parts)
	p.stage(parts, func(part int) {
		lo, hi := span(pixels, part, parts, 1)
		x, label := p.f[0], p.i[1]
		sum := p.float64s(at+6*part, 3)
		clear(sum)
		for i := lo; i < hi; i++ {
			if label[i] == d.Ignore {
				continue
			}
			k := int(label[i])
			if k < 0 || k >= d.C {
				return // reported below
			}
			row := x[i*d.C : (i+1)*d.C]
			sum[0] -= float64(row[k])
			sum[2]++
			// The first of the largest is the answer.
			if row[k] == p.isa.largest(row) && !slices.Contains(row[:k], row[k]) {
				sum[1]++
			}
		}
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
