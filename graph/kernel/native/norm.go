package native

import (
	"math"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

// float64s views scratch memory as n float64.
func (p *program) float64s(at, n int) []float64 {
	s := p.s[at : at+2*n]
	return unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(s))), n)
}

// rowSums runs add over all rows of (rows, c) in parallel, every share into
// its own two sums a channel (float64), and then calls done with the totals.
func rowSums(p *program, rows, c int, add func(lo, hi int, s, q []float64), done func(c int, s, q float64)) {
	if c == 0 {
		return
	}
	parts := p.parts(rows*c, grain)
	at := p.reserve(4 * c * parts)
	p.stage(parts, func(part int) {
		sums := p.float64s(at+4*c*part, 2*c)
		clear(sums)
		if lo, hi := span(rows, part, parts, 1); lo < hi {
			add(lo, hi, sums[:c], sums[c:])
		}
	})
	p.stage(1, func(int) {
		total := p.float64s(at, 2*c)
		for part := 1; part < parts; part++ {
			for i, v := range p.float64s(at+4*c*part, 2*c) {
				total[i] += v
			}
		}
		for i := range c {
			done(i, total[i], total[c+i])
		}
	})
}

func batchNormStats(p *program, d kernel.BatchNormStats) {
	rows := d.N * d.H * d.W
	n := math.Max(float64(rows), 1)
	rowSums(p, rows, d.C,
		func(lo, hi int, s, q []float64) {
			x := p.f[0]
			shift := x[:d.C] // takes the mean out of the squares
			for r := lo; r < hi; r++ {
				p.isa.moments(s, q, x[r*d.C:(r+1)*d.C], shift)
			}
		},
		func(c int, s, q float64) {
			stats := p.f[1]
			mean := s / n
			variance := max(q/n-mean*mean, 0)
			if rows > 0 {
				mean += float64(p.f[0][c])
			}
			stats[c] = float32(mean)
			stats[d.C+c] = float32(variance)
			stats[2*d.C+c] = float32(1 / math.Sqrt(variance+float64(d.Eps)))
		})
}

func batchNormFrozen(p *program, d kernel.BatchNormFrozen) {
	p.split(d.C, grain, func(lo, hi int) {
		mean, variance, stats := p.f[0], p.f[1], p.f[2]
		for c := lo; c < hi; c++ {
			stats[c] = mean[c]
			stats[d.C+c] = variance[c]
			stats[2*d.C+c] = float32(1 / math.Sqrt(float64(variance[c])+float64(d.Eps)))
		}
	})
}

func batchNorm(p *program, d kernel.BatchNorm) {
	rows := d.N * d.H * d.W
	factor := p.reserve(d.C)
	p.stage(1, func(int) { p.isa.mul(p.s[factor:factor+d.C], p.f[1], p.f[3][2*d.C:]) })
	lo, hi := clipBounds(d.Act)
	p.split(rows, grain/max(d.C, 1)+1, func(from, to int) {
		x, y := p.f[0], p.f[4]
		bias, mean, a := p.f[2], p.f[3][:d.C], p.s[factor:factor+d.C]
		for r := from; r < to; r++ {
			p.isa.norm(y[r*d.C:(r+1)*d.C], x[r*d.C:], mean, a, bias, lo, hi)
		}
	})
}

// clipBounds returns the bounds of a fused activation, infinite if it is off.
func clipBounds(c kernel.Clip) (lo, hi float32) {
	if c.On {
		return c.Lo, c.Hi
	}
	return float32(math.Inf(-1)), float32(math.Inf(1))
}

func batchNormReduce(p *program, d kernel.BatchNormReduce) {
	rowSums(p, d.N*d.H*d.W, d.C,
		func(lo, hi int, s, q []float64) {
			x, dy, mean := p.f[0], p.f[1], p.f[2][:d.C]
			for r := lo; r < hi; r++ {
				p.isa.dots(s, q, dy[r*d.C:(r+1)*d.C], x[r*d.C:], mean)
			}
		},
		func(c int, s, q float64) {
			stats, grads := p.f[2], p.f[3]
			grads[c] = float32(q * float64(stats[2*d.C+c]))
			grads[d.C+c] = float32(s)
		})
}

func batchNormBackward(p *program, d kernel.BatchNormBackward) {
	c := d.C
	at := p.reserve(3 * c)
	p.stage(1, func(int) {
		scale, stats, grads := p.f[2], p.f[3], p.f[4]
		k, m, q := p.s[at:at+c], p.s[at+c:at+2*c], p.s[at+2*c:at+3*c]
		n := float64(max(d.Count, 1))
		for i := range c {
			inv := float64(stats[2*c+i])
			f := float64(scale[i]) * inv
			k[i] = float32(f)
			m[i] = float32(f * inv * float64(grads[i]) / n)
			q[i] = float32(f * float64(grads[c+i]) / n)
		}
	})
	p.split(d.N*d.H*d.W, grain/max(c, 1)+1, func(lo, hi int) {
		x, dy, dx, mean := p.f[0], p.f[1], p.f[5], p.f[3][:c]
		k, m, q := p.s[at:at+c], p.s[at+c:at+2*c], p.s[at+2*c:at+3*c]
		for r := lo; r < hi; r++ {
			if d.Frozen {
				p.isa.mul(dx[r*c:(r+1)*c], dy[r*c:(r+1)*c], k)
				continue
			}
			p.isa.normBack(dx[r*c:(r+1)*c], dy[r*c:], x[r*c:], mean, k, m, q)
		}
	})
}

func batchNormRunning(p *program, d kernel.BatchNormRunning) {
	unbias := float64(d.Count) / float64(max(d.Count-1, 1))
	keep, take := float64(d.Momentum), 1-float64(d.Momentum)
	p.split(d.C, grain, func(lo, hi int) {
		stats, mean, variance := p.f[0], p.f[1], p.f[2]
		for c := lo; c < hi; c++ {
			mean[c] = float32(keep*float64(mean[c]) + take*float64(stats[c]))
			variance[c] = float32(keep*float64(variance[c]) + take*unbias*float64(stats[d.C+c]))
		}
	})
}
