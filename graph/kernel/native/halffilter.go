package native

import "github.com/graft-onnx/graft/graph/kernel"

// halfConvBackwardFilter compiles the gradient by the filter on bfloat16, or
// reports that it cannot. The sum runs over pairs of pixels of an output row.
func (d *Device) halfConvBackwardFilter(p *program, c kernel.ConvBackwardFilter) bool {
	if p.args[2].DType != kernel.Float32 {
		return false
	}
	if c.Depthwise() {
		both := p.isHalf(0) && p.isHalf(1)
		if both {
			d.depthwiseFilter(p, c.Geometry, true)
		}
		return both
	}
	if d.isa.half.amx {
		d.tileFilter(p, c)
		return true
	}
	f := newFilterGrad(c.Geometry, d.isa)
	f.run = d.isa.half.run
	h := &halfFilter{filterGrad: f, isa: d.isa, last: f.OW - 1, step: max(1, f.panels) * d.isa.nr}
	if !f.merged {
		h.step = d.isa.nr
		f.taps = f.KW
	}
	f.OW = ceilDiv(f.OW, 2)
	f.cols = ceilDiv(f.cols, 2)
	f.shift = f.cols * h.step
	f.pitch, f.bStep = f.taps*f.shift, h.step
	f.blocks = f.N * ceilDiv(f.OH, f.rows) * ceilDiv(f.OW, f.cols)
	x := p.halfElements(0)
	dy := h.tiles(p)
	f.load = func(buf []float32, n, i0, i1, j0, j1, first, c int) {
		if f.merged {
			first, c = 0, f.columns
		}
		h.load(buf, x(), n, i0, i1, j0, j1, first, c)
	}
	d.filterGrad(p, c, f, dy)
	return true
}

// halfFilter packs the source of a filterGrad that counts pairs of pixels: for
// every filter row and tap a row of step words for every pair.
type halfFilter struct {
	*filterGrad
	isa  *isa
	last int // output pixel of a row
	step int
}

// pairsAtATime is how many pairs of pixels are packed for one tile after the
// other: few enough for their lines to stay in the cache for all.
const pairsAtATime = 32

// tiles packs argument 1, dy, tile by tile, with a zero beside the last pixel of
// an odd row.
func (h *halfFilter) tiles(p *program) operand {
	h.tiled = true
	dy := p.halfElements(1)
	rows, pairs := h.N*h.OH, h.OW
	at, below := p.reserve(rows*pairs*h.O), p.reserve(h.isa.mr)
	chunks := ceilDiv(pairs, pairsAtATime)
	p.stage(1, func(int) { clear(p.s[below : below+h.isa.mr]) })
	p.split(rows*chunks, grain/(pairsAtATime*h.O)+1, func(lo, hi int) {
		for q := lo; q < hi; q++ {
			row := q / chunks
			j0, j1 := cut(pairs, pairsAtATime, q%chunks)
			src := dy()[row*(h.last+1)*h.O:]
			for t := range h.Groups * h.filterGrad.tiles {
				lo, hi := cut(h.og, h.isa.mr, t%h.filterGrad.tiles)
				n, o := hi-lo, t/h.filterGrad.tiles*h.og+lo
				to := p.s[at+o*rows*pairs+(row*pairs+j0)*n:]
				whole := min(j1, (h.last+1)/2) - j0
				h.isa.half.pairRows(to, src[2*j0*h.O+o:], whole, n, 2*h.O, h.O, n)
				if j0+whole < j1 {
					h.isa.half.pair(to[whole*n:(whole+1)*n], src[h.last*h.O+o:], halves(p.s[below:]))
				}
			}
		}
	})
	return func() []float32 { return p.s[at : at+rows*pairs*h.O] }
}

// load packs the pairs j0 to j1-1 of the output rows i0 to i1-1: c elements from
// first on of the pixel that each tap sees. Of merged taps these reach into the
// following pixels.
func (h *halfFilter) load(buf []float32, x []uint16, n, i0, i1, j0, j1, first, c int) {
	for i := i0; i < i1; i++ {
		for t, off := range h.h.offset {
			row := i*h.StrideH + off
			for u := range h.taps {
				to := buf[((i-i0)*h.KH+t)*h.pitch+u*h.shift:]
				to = to[:(j1-j0)*h.step]
				if row < 0 || row >= h.H {
					clear(to)
					continue
				}
				h.pairs(to, x[(n*h.H+row)*h.W*h.C:][:h.W*h.C], u, j0, j1, first, c)
			}
		}
	}
}

// pairs packs one source row for one tap.
func (h *halfFilter) pairs(to []float32, row []uint16, tap, j0, j1, first, c int) {
	// Pairs whose pixels lie inside with all that is read of them.
	at := func(pixel int) int { return pixel*h.StrideW + h.w.offset[tap] }
	reach := 0
	if h.merged {
		reach = h.KW - 1
	}
	lo, hi := j0, min(j1, (h.last+1)/2)
	for lo < hi && at(2*lo) < 0 {
		lo++
	}
	for hi > lo && at(2*hi-1)+reach >= h.W {
		hi--
	}
	if lo >= hi {
		lo, hi = j1, j1
	}
	for from := 0; from < c; from += h.isa.nr {
		n := min(h.isa.nr, c-from)
		if h.step == h.isa.nr {
			if lo < hi {
				h.isa.half.pairRows(to[(lo-j0)*h.step:], row[at(2*lo)*h.C+first+from:], hi-lo, h.step, 2*h.StrideW*h.C, h.StrideW*h.C, n)
			}
			continue
		}
		for j := lo; j < hi; j++ {
			h.isa.half.pairRows(to[(j-j0)*h.step+from:], row[at(2*j)*h.C+first+from:], 1, 0, 0, h.StrideW*h.C, n)
		}
	}
	for j := j0; j < j1; j++ {
		if j == lo && lo < hi {
			j = hi - 1
			continue
		}
		h.edge(halves(to[(j-j0)*h.step:(j-j0+1)*h.step]), row, j, at, first, c)
	}
}

// edge packs a pair that hangs over the source row.
func (h *halfFilter) edge(to, row []uint16, j int, at func(int) int, first, c int) {
	clear(to)
	for k := range 2 {
		if 2*j+k > h.last {
			break
		}
		from := at(2*j + k)
		if !h.merged && (from < 0 || from >= h.W) {
			continue
		}
		for e := range c {
			if s := from*h.C + first + e; s >= 0 && s < len(row) {
				to[2*e+k] = row[s]
			}
		}
	}
}
