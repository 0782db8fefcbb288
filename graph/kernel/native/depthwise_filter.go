package native

import (
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

// depthwiseFilter is the gradient by the filter. Every share sums over its
// rows into its own (taps, c); the shares' sums are added in order. half says
// that x and dy are bfloat16.
func (d *Device) depthwiseFilter(p *program, g kernel.Geometry, half bool) {
	h := forwardLane(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop)
	w := forwardLane(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft)
	rows, cols := h.valid(), w.valid()
	taps := g.KH * g.KW
	work := g.N * g.OH
	parts := min(p.sumParts(work*g.OW*g.C*taps, grain, work*g.OW), max(work, 1))
	size := 4
	if half {
		size = 2
	}
	block := channelBlock(g.C, size, &h, &w)
	at := p.reserve(parts * taps * g.C)
	tiles := make([]spreadTile, parts)
	p.stage(parts, func(part int) {
		sums := p.s[at+part*taps*g.C : at+(part+1)*taps*g.C]
		clear(sums)
		f := filterSums{h: &h, w: &w, rows: rows, cols: cols, c: g.C, tile: &tiles[part]}
		lo, hi := span(work, part, parts, 1)
		for c := 0; c < g.C; c += block {
			f.tile.c = min(block, g.C-c)
			for q := lo; q < hi; q++ {
				if half {
					sumRow(&f, &p.isa.half.spread, p.isa.half.dotRows, sums, p.h[0], p.h[1], q, c)
				} else {
					sumRow(&f, &p.isa.spread, p.isa.dotRows, sums, p.f[0], p.f[1], q, c)
				}
			}
		}
	})
	p.stage(1, func(int) {
		dw, sums := p.f[2], p.s[at:at+taps*g.C]
		for part := 1; part < parts; part++ {
			p.isa.add(sums, sums, p.s[at+part*taps*g.C:])
		}
		for t := range taps {
			for c, s := range sums[t*g.C : (t+1)*g.C] {
				dw[c*taps+t] = s
			}
		}
	})
}

// filterSums is what a share of depthwiseFilter works with.
type filterSums struct {
	h, w       *lane
	rows, cols [][2]int // taps that each output sees
	c          int
	tile       *spreadTile
}

// sumRow adds to the sums of tile.c channels, from the given one on, the
// products of row q of dy, counted over all images.
func sumRow[T float32 | uint16](f *filterSums, kernels *spreadKernels, dotRows func(dst []float32, a, b []T, n, sa, sb int), sums []float32, x, dy []T, q, channel int) {
	t, size := f.tile, int(unsafe.Sizeof(x[0]))
	n, i := q/f.h.out, q%f.h.out
	vertical := f.rows[i]
	rows := vertical[1] - vertical[0]
	if rows == 0 {
		return
	}
	row, col := f.h.pitch()*f.w.src*f.c, f.w.pitch()*f.c
	wRow := len(f.w.offset) * f.c
	t.xStep, t.yStep, t.rowStep, t.colStep = size*f.w.step*f.c, size*f.c, size*row, size*col
	t.wRow, t.wCol = 4*wRow, 4*f.c
	for j := 0; j < f.w.out; j += t.pixels {
		horizontal := f.cols[j]
		t.pixels = alike(f.cols, j)
		cols := horizontal[1] - horizontal[0]
		if cols == 0 {
			continue
		}
		from := (((n*f.h.src+i*f.h.step+f.h.offset[vertical[0]])*f.w.src)+j*f.w.step+f.w.offset[horizontal[0]])*f.c + channel
		to := (q*f.w.out+j)*f.c + channel
		tap := (vertical[0]*len(f.w.offset)+horizontal[0])*f.c + channel
		t.x, t.y, t.w = (*float32)(unsafe.Pointer(&x[from])), (*float32)(unsafe.Pointer(&dy[to])), &sums[tap]
		if slide(kernels.slideSums, t, rows, cols) {
			continue
		}
		if add := stencil(kernels.sums, rows, cols); add != nil {
			add(t)
			continue
		}
		for k := range rows {
			for u := range cols {
				at := tap + k*wRow + u*f.c
				dotRows(sums[at:at+t.c], x[from+k*row+u*col:], dy[to:], t.pixels, f.w.step*f.c, f.c)
			}
		}
	}
}
