package native

import "github.com/graft-onnx/graft/graph/kernel"

// filterPixels is how many output pixels one pass over the filter's gradient
// sums: enough to pay for loading and storing the sums, few enough for the
// copied source to stay in the cache.
const filterPixels = 256

// filterGrad is the gradient of a convolution by its filter, as the
// micro-kernel sees it: rows of a tile are output channels, columns are input
// channels, and the sum runs along output pixels. The source is copied by
// blocks of nr channels with zeros for padding. Filters with few input
// channels instead take the (kw, channel) run of a filter row as columns,
// which is contiguous in the source.
type filterGrad struct {
	kernel.Geometry
	h, w       lane
	cg, og     int
	merged     bool
	columns    int // of one filter row: cg, or KW*cg if merged
	panels     int // of nr columns, in a group
	tiles      int // of mr output channels, in a group
	rows, cols int // output pixels of a block
	width      int // pixels of a buffered source row
	blocks     int
	// Distances in the buffered source: to the next filter row, to the next of
	// the taps of a row that are apart, to the next step.
	pitch, shift, bStep int
	taps                int
	tiled               bool // dy lies tile by tile: (tile, pixel, row of the tile)
	// load copies the source of a block of output pixels: whole rows if merged,
	// else c channels from first on.
	load func(buf []float32, n, i0, i1, j0, j1, first, c int)
	isa  *isa
	run  func(t *tile) // the micro-kernel
}

func (d *Device) convBackwardFilter(p *program, c kernel.ConvBackwardFilter) {
	if c.Depthwise() {
		d.depthwiseFilter(p, c.Geometry, false)
		return
	}
	f := newFilterGrad(c.Geometry, d.isa)
	f.load = func(buf []float32, n, i0, i1, j0, j1, first, c int) {
		f.copySource(buf, p.f[0], n, i0, i1, j0, j1, first, c, d.isa.nr)
	}
	d.filterGrad(p, c, f, p.arg(1))
}

// filterGrad compiles the gradient by the filter into argument 2.
func (d *Device) filterGrad(p *program, c kernel.ConvBackwardFilter, f *filterGrad, dy operand) {
	nr := d.isa.nr
	size := kernel.Len(c.Filter())
	if size == 0 {
		return
	}
	if f.blocks == 0 {
		p.stage(1, func(int) { clear(p.f[2]) })
		return
	}
	units := f.Groups * f.panels * f.tiles
	threads := p.parts(int(c.FLOPs()/2), p.isa.dense)
	// Enough tiles: share them. Few: share the pixels, each share with sums
	// of its own.
	byPixel := units < 4*threads && threads > 1
	parts := min(threads, units)
	if byPixel {
		parts = min(threads, f.blocks)
	}
	sums := 0
	if byPixel {
		sums = p.reserve(parts * size)
	}
	buffer := f.rows*f.KH*f.pitch + nr
	at := p.reserve(parts * buffer)
	runs := make([]run, parts*f.rows)
	workers := make([]tile, parts)
	p.stage(parts, func(part int) {
		w := &workers[part]
		*w = tile{}
		w.runs = runs[part*f.rows : (part+1)*f.rows]
		buf := p.s[at+part*buffer : at+(part+1)*buffer]
		if byPixel {
			lo, hi := span(f.blocks, part, parts, 1)
			f.sum(d.isa, w, dy(), p.s[sums+part*size:sums+(part+1)*size], buf, 0, units, lo, hi)
			return
		}
		lo, hi := span(units, part, parts, 1)
		f.sum(d.isa, w, dy(), p.f[2], buf, lo, hi, 0, f.blocks)
	})
	if byPixel {
		p.addSums(sums, parts, size)
	}
}

// addSums adds the shares' sums, which lie at an offset of scratch, into
// argument 2.
func (p *program) addSums(at, parts, size int) {
	p.splitAligned(size, grain, 16, func(lo, hi int) {
		dw := p.f[2][lo:hi]
		copy(dw, p.s[at+lo:at+hi])
		for part := 1; part < parts; part++ {
			p.isa.add(dw, dw, p.s[at+part*size+lo:at+part*size+hi])
		}
	})
}

func newFilterGrad(g kernel.Geometry, v *isa) *filterGrad {
	mr, nr := v.mr, v.nr
	f := &filterGrad{Geometry: g, isa: v, run: v.tile,
		h:  forwardLane(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop),
		w:  forwardLane(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft),
		cg: g.C / g.Groups, og: g.O / g.Groups,
	}
	if f.h.plain() && f.w.plain() {
		pixels := g.N * g.H * g.W
		f.N, f.H, f.W, f.OH, f.OW = 1, 1, pixels, 1, pixels
		f.h, f.w = forwardLane(1, 1, 1, 1, 1, 0), forwardLane(pixels, pixels, 1, 1, 1, 0)
	}
	f.columns = f.cg
	if f.merged = f.cg < nr && g.Groups == 1 && g.DilationW == 1 && g.KW > 1; f.merged {
		f.columns = g.KW * f.cg
	}
	f.panels, f.tiles = ceilDiv(f.columns, nr), ceilDiv(f.og, mr)
	f.cols = max(1, min(f.OW, filterPixels))
	f.cols = max(1, ceilDiv(f.OW, max(1, ceilDiv(f.OW, f.cols))))
	f.rows = max(1, min(f.OH, filterPixels/f.cols))
	f.width = (f.cols-1)*g.StrideW + (g.KW-1)*g.DilationW + 1
	f.pitch, f.shift, f.bStep, f.taps = f.width*nr, g.DilationW*nr, g.StrideW*nr, g.KW
	if f.merged {
		f.pitch, f.shift, f.bStep, f.taps = f.width*g.C, 0, g.StrideW*g.C, 1
	}
	f.blocks = f.N * ceilDiv(f.OH, f.rows) * ceilDiv(f.OW, f.cols)
	return f
}

// sum adds the pixel blocks b0 to b1-1 into the tiles u0 to u1-1 of dw. It
// finishes one panel before the next, so that its part of dw stays in the cache;
// merged taps, whose panels share a copy of the source, go together.
func (f *filterGrad) sum(v *isa, w *tile, dy, dw, buf []float32, u0, u1, b0, b1 int) {
	if b0 >= b1 {
		clear(dw) // a share without pixels still has sums
		return
	}
	all := w.runs
	w.aRow = 1
	w.cRow = f.KH * f.KW * f.cg
	w.bStep = f.bStep
	for u := u0; u < u1; {
		end := u1
		if !f.merged {
			end = min(end, (u/f.tiles+1)*f.tiles)
		}
		for b := b0; b < b1; b++ {
			w.accumulate = b > b0
			f.sumBlock(v, w, dy, dw, buf, u, end, b, all)
		}
		u = end
	}
	w.runs = all
}

// sumBlock adds one pixel block into the tiles u0 to u1-1 of dw; runs is memory
// for a tile's.
func (f *filterGrad) sumBlock(v *isa, w *tile, dy, dw, buf []float32, u0, u1, b int, runs []run) {
	mr, nr := v.mr, v.nr
	colBlocks, rowBlocks := ceilDiv(f.OW, f.cols), ceilDiv(f.OH, f.rows)
	j0, j1 := cut(f.OW, f.cols, b%colBlocks)
	i0, i1 := cut(f.OH, f.rows, b/colBlocks%rowBlocks)
	n := b / colBlocks / rowBlocks
	pixel := (n*f.OH+i0)*f.OW + j0
	w.steps = j1 - j0
	w.runs = runs[:i1-i0]
	if !f.tiled {
		for i := range i1 - i0 {
			row := dy[(pixel+i*f.OW)*f.O:]
			touch(row[:(j1-j0)*f.O])
		}
	}
	first := u0 / f.tiles % f.panels * nr
	f.load(buf, n, i0, i1, j0, j1, u0/f.tiles/f.panels*f.cg+first, min(nr, f.cg-first))
	for u := u0; u < u1; u++ {
		panel, tile := u/f.tiles, u%f.tiles
		group, column := panel/f.panels, panel%f.panels*nr
		lo, hi := cut(f.og, mr, tile)
		w.rows = hi - lo
		o := group*f.og + lo
		origin, step := o, f.O
		if f.tiled {
			origin, step = o*f.N*f.OH*f.OW, w.rows
		}
		w.a, w.aStep = dy[origin+pixel*step:], step
		for i := range w.runs {
			w.runs[i] = run{i * f.OW * step, i * f.KH * f.pitch}
		}
		w.cols = min(nr, f.columns-column)
		for kh := range f.KH {
			for kw := range f.taps {
				w.b = buf[kh*f.pitch+kw*f.shift:]
				if f.merged {
					w.b = w.b[column:]
				}
				w.c = dw[((o*f.KH+kh)*f.KW+kw)*f.cg+column:]
				f.run(w)
			}
		}
	}
}

// touch reads every cache line once, in order: the tiles then find in the
// cache what they read in strides that no prefetcher follows. The sum keeps the
// compiler from leaving the reads out.
//
//go:noinline
func touch(x []float32) float32 {
	var a, b, c, d float32
	for ; len(x) >= 64; x = x[64:] {
		a += x[0]
		b += x[16]
		c += x[32]
		d += x[48]
	}
	return a + b + c + d
}

// copySource copies source rows as they are if merged, else with each pixel
// padded to nr.
func (f *filterGrad) copySource(buf, x []float32, n, i0, i1, j0, j1, first, c, nr int) {
	left, right := f.w.reach(j0, j1)
	for i := i0; i < i1; i++ {
		for t, off := range f.h.offset {
			to := buf[((i-i0)*f.KH+t)*f.pitch:]
			row := i*f.StrideH + off
			if f.merged {
				copyRowPadded(to, x, n, row, left, right, &f.h, &f.w, f.C)
				continue
			}
			to = to[:(right-left+1)*nr]
			lo, hi := max(left, 0), min(right+1, f.W)
			if row < 0 || row >= f.H || lo >= hi {
				clear(to)
				continue
			}
			clear(to[:(lo-left)*nr])
			clear(to[(hi-left)*nr:])
			from := x[((n*f.H+row)*f.W+lo)*f.C+first:]
			f.isa.columns(to[(lo-left)*nr:], from, hi-lo, c, f.C)
		}
	}
}

// copyRowPadded copies the pixels first to last of a source row, zeros outside.
func copyRowPadded(to, src []float32, n, row, first, last int, h, w *lane, sc int) {
	to = to[:(last-first+1)*sc]
	if row < 0 || row >= h.src {
		clear(to)
		return
	}
	lo, hi := max(first, 0), min(last+1, w.src)
	if lo >= hi {
		clear(to)
		return
	}
	clear(to[:(lo-first)*sc])
	base := (n*h.src + row) * w.src
	copy(to[(lo-first)*sc:], src[(base+lo)*sc:(base+hi)*sc])
	clear(to[(hi-first)*sc:])
}
