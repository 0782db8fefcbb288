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

// Loops over channels take rows of few channels several at a time: at least
// superRow elements, and where that keeps it short whole blocks of columns, as
// many as the kernels for columns take at a time.
const (
	superRow    = 256
	columnBlock = 4 * sumWidth
)

// together returns how many rows of c channels make a super-row.
func together(c int) int {
	rows, whole := ceilDiv(superRow, max(c, 1)), columnBlock
	for whole > 1 && whole*c%columnBlock == 0 && whole/2*c%columnBlock == 0 {
		whole /= 2
	}
	if aligned := ceilDiv(rows, whole) * whole; aligned*c <= 4*superRow {
		return aligned
	}
	return rows
}

// replicate repeats the first c elements to fill x.
func replicate(x []float32, c int) {
	for at := c; at < len(x); at += c {
		copy(x[at:], x[:c])
	}
}

// columnBytes is how many bytes of each stream the column sums take at a time:
// enough to pay for a call, few enough that this call's and what is fetched for
// the next share the first-level cache.
const columnBytes = 8 << 10

// settleRows is how many rows are added in float32 before their sum goes to
// float64. A sum of n terms in float32 is off by n/2^24 of the terms'
// magnitudes at most, here 4e-6, and as roundings have no preferred direction
// by about the root of that many units in the last place; sums in float64 add
// nothing to speak of.
const settleRows = 64

// columns is a stretch of some rows of n columns for the column sums.
type columns struct {
	stretch
	n, rows int
}

// rowSums runs add over all super-rows of (rows, c) in parallel, every share
// into its own two sums a column, and then calls done with the totals of every
// channel. add sums some rows in float32, which are then settled. prepare fills
// the c first values of each of len(prepare) vectors, which add is given at the
// super-row's length.
func rowSums(p *program, rows, c, vectors int, prepare func(v [][]float32), add func(at columns, s, q []float32, v [][]float32), done func(c int, s, q float64)) {
	if c == 0 {
		return
	}
	group := together(c)
	width := group * c
	padded := ceilDiv(width, sumWidth) * sumWidth
	parts := p.sumParts(rows*c, grain, rows)
	plain, size := p.allHalf(rows*c), 4
	if plain {
		size = 2
	}
	several := min(max(columnBytes/(size*width), 4), settleRows)
	stream := p.stream(rows*c, parts, several*width, plain)
	at := p.reserve(6 * padded * parts)
	shared := p.reserve(vectors * padded)
	views, first := make([][]float32, vectors), make([][]float32, vectors)
	p.stage(1, func(int) {
		for i := range views {
			views[i] = p.s[shared+i*padded : shared+(i+1)*padded]
			first[i] = views[i][:c]
		}
		prepare(first)
		for _, v := range views {
			replicate(v, c)
		}
	})
	p.stage(parts, func(part int) {
		totals := p.float64s(at+6*padded*part, 2*padded)
		sums := p.s[at+6*padded*part+4*padded:][:2*padded]
		clear(totals)
		clear(sums)
		from, to := span(rows, part, parts, 1)
		lo, unsettled := from*c, 0
		more := func(n, rows int) {
			if unsettled += rows; unsettled > settleRows {
				p.isa.settle(totals, sums)
				unsettled = rows
			}
			hi := lo + n*rows
			add(columns{stream.open(part, lo, hi), n, rows}, sums[:padded], sums[padded:], views)
			stream.close(part, lo, hi)
			lo = hi
		}
		for left := (to - from) / group; left > 0; left -= several {
			more(width, min(left, several))
		}
		if n := to*c - lo; n > 0 {
			more(n, 1)
		}
		p.isa.settle(totals, sums)
	})
	p.stage(1, func(int) {
		for i := range c {
			s, q := 0.0, 0.0
			for part := range parts {
				sums := p.float64s(at+6*padded*part, 2*padded)
				for k := i; k < width; k += c {
					s += sums[k]
					q += sums[padded+k]
				}
			}
			done(i, s, q)
		}
	})
}

func batchNormStats(p *program, d kernel.BatchNormStats) {
	rows := d.N * d.H * d.W
	n := math.Max(float64(rows), 1)
	var shift []float32
	rowSums(p, rows, d.C, 1,
		func(v [][]float32) {
			// The mean of a few rows, which takes most of the mean out of the
			// squares: of sums in float32 these lose the more the larger it is.
			shift = v[0]
			clear(shift)
			few, row := min(rows, 16), p.f[1][:d.C]
			for i := range few {
				p.read(row, 0, i*rows/few*d.C)
				p.isa.axpy(shift, row, 1/float32(few))
			}
		},
		func(at columns, s, q []float32, v [][]float32) {
			if x := at.half[0]; x != nil {
				p.isa.half.moments(s, q, x, v[0], at.n, at.rows)
			} else {
				p.isa.moments(s, q, at.full[0], v[0], at.n, at.rows)
			}
		},
		func(c int, s, q float64) {
			stats := p.f[1]
			mean := s / n
			variance := max(q/n-mean*mean, 0)
			mean += float64(shift[c])
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

// perRow runs body over stretches of the arguments of shape (rows, c), which
// begin with a row. prepare fills the c first values of each of n vectors,
// which body is given at a super-row's length.
func perRow(p *program, rows, c, n int, prepare func(v [][]float32), body func(a stretch, v [][]float32)) {
	if rows*c == 0 {
		return
	}
	width := together(c) * c
	at := p.reserve(n * width)
	parts := p.chunks(rows, grain/c+1)
	plain := p.allHalf(rows * c)
	stream := p.stream(rows*c, parts, width, plain)
	views, first := make([][]float32, n), make([][]float32, n)
	p.stage(1, func(int) {
		for i := range views {
			views[i] = p.s[at+i*width : at+(i+1)*width]
			first[i] = views[i][:c]
		}
		prepare(first)
		for _, v := range views {
			replicate(v, c)
		}
	})
	do := func(_ int, a stretch) { body(a, views) }
	p.stage(parts, func(part int) {
		from, to := span(rows, part, parts, 1)
		stream.walk(part, from*c, to*c, width, do)
	})
}

func batchNorm(p *program, d kernel.BatchNorm) {
	lo, hi := clipBounds(d.Act)
	out := len(p.args) - 1
	perRow(p, d.N*d.H*d.W, d.C, 3,
		func(v [][]float32) {
			scale, bias, stats := p.f[1], p.f[2], p.f[3]
			copy(v[0], stats)
			p.isa.mul(v[1], scale, stats[2*d.C:])
			copy(v[2], bias)
		},
		func(a stretch, v [][]float32) {
			switch y, x := a.full[out], a.full[0]; {
			case a.half[0] != nil && d.Residual:
				p.isa.half.normAdd(a.half[out], a.half[0], v[0], v[1], v[2], a.half[4], lo, hi)
			case a.half[0] != nil:
				p.isa.half.norm(a.half[out], a.half[0], v[0], v[1], v[2], lo, hi)
			case d.Residual:
				p.isa.normAdd(y, x, v[0], v[1], v[2], a.full[4], lo, hi)
			default:
				p.isa.norm(y, x, v[0], v[1], v[2], lo, hi)
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

// The kernels below compute the normalised value again, to see where the
// activation lets the gradient through: with the same steps as norm, so that
// both agree to the bit.

func batchNormReduce(p *program, d kernel.BatchNormReduce) {
	lo, hi := d.Act.Lo, d.Act.Hi
	again := d.Act.On && !d.Residual
	vectors, stat := 1, len(d.Args())-2
	switch {
	case d.Residual:
		stat--
	case again:
		vectors = 3
	}
	rowSums(p, d.N*d.H*d.W, d.C, vectors,
		func(v [][]float32) {
			stats := p.f[stat]
			copy(v[0], stats)
			if again {
				p.isa.mul(v[1], p.f[2], stats[2*d.C:])
				copy(v[2], p.f[3])
			}
		},
		func(at columns, s, q []float32, v [][]float32) {
			x, dy := at.full[0], at.full[1]
			switch {
			case at.half[0] != nil && d.Residual:
				p.isa.half.dotsThrough(s, q, at.half[1], at.half[0], at.half[2], at.half[5], v[0], at.n, at.rows, lo, hi)
			case d.Residual:
				p.isa.dotsThrough(s, q, dy, x, at.full[2], at.full[5], v[0], at.n, at.rows, lo, hi)
			case at.half[0] != nil && again:
				p.isa.half.dotsClip(s, q, at.half[1], at.half[0], v[0], v[1], v[2], at.n, at.rows, lo, hi)
			case at.half[0] != nil:
				p.isa.half.dots(s, q, at.half[1], at.half[0], v[0], at.n, at.rows)
			case again:
				p.isa.dotsClip(s, q, dy, x, v[0], v[1], v[2], at.n, at.rows, lo, hi)
			default:
				p.isa.dots(s, q, dy, x, v[0], at.n, at.rows)
			}
		},
		func(c int, s, q float64) {
			stats, grads := p.f[stat], p.f[stat+1]
			grads[c] = float32(q * float64(stats[2*d.C+c]))
			grads[d.C+c] = float32(s)
		})
}

func batchNormBackward(p *program, d kernel.BatchNormBackward) {
	n := float64(max(d.Count, 1))
	lo, hi := d.Act.Lo, d.Act.Hi
	last := len(p.args) - 1
	perRow(p, d.N*d.H*d.W, d.C, 5,
		func(v [][]float32) {
			scale, stats, grads := p.f[2], p.f[last-2], p.f[last-1]
			copy(v[0], stats)
			p.isa.mul(v[1], scale, stats[2*d.C:])
			for i := range d.C {
				f := 0.0
				inv := float64(stats[2*d.C+i])
				if !d.Frozen {
					f = float64(scale[i]) * inv / n
				}
				v[2][i] = float32(f * inv * float64(grads[i]))
				v[3][i] = float32(f * float64(grads[d.C+i]))
			}
			clear(v[4])
			if d.Act.On {
				copy(v[4], p.f[3])
			}
		},
		func(a stretch, v [][]float32) {
			dx, dy, x := a.full[last], a.full[1], a.full[0]
			switch {
			case a.half[0] != nil && d.Act.On:
				p.isa.half.normBackClip(a.half[last], a.half[1], a.half[0], v[0], v[1], v[2], v[3], v[4], lo, hi)
			case a.half[0] != nil: // with Frozen the vectors of the statistics are zero
				p.isa.half.normBack(a.half[last], a.half[1], a.half[0], v[0], v[1], v[2], v[3])
			case d.Act.On:
				p.isa.normBackClip(dx, dy, x, v[0], v[1], v[2], v[3], v[4], lo, hi)
			case d.Frozen:
				for lo := 0; lo < len(dx); lo += len(v[1]) {
					p.isa.mul(dx[lo:min(lo+len(v[1]), len(dx))], dy[lo:], v[1])
				}
			default:
				p.isa.normBack(dx, dy, x, v[0], v[1], v[2], v[3])
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
