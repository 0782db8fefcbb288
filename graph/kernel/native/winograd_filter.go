package native

import "unsafe"

// convBackwardFilter compiles the gradient by the filter: the sums run along
// the tiles, a block of them at a time, for blocks of output by input channels.
func (w *winograd) convBackwardFilter(p *program) {
	isa := p.isa
	mr, nr, lanes := isa.mr, isa.nr, isa.lanes
	sc, dc := w.image.c, w.output.c
	depth := min(w.tiles, w.tileBlock)
	outputBlock := roundUp(min(dc, w.outputBlock), lanes)
	inputBlock := roundUp(min(sc, w.inputBlock), nr)

	a := newSpectrum(p, depth, outputBlock, outputBlock+lanes)
	b := newSpectrum(p, depth, inputBlock, inputBlock)
	m := newSpectrum(p, outputBlock, inputBlock, inputBlock+lanes)
	parts := p.chunks(winogradPlanes*w.tiles*sc*dc, isa.dense)
	threads := p.on(parts)
	temp := p.reserve(threads * winogradPlanes * lanes)
	zeros := make([]float32, max(sc, dc))
	tiles := make([]winogradTile, threads)
	workers := make([]tile, threads)
	runs := make([]run, 1)
	image, gradient := p.winogradOf(0).image, p.winogradOf(1).gradient

	for ob := range ceilDiv(dc, outputBlock) {
		o0, o1 := cutAligned(dc, outputBlock, ob, lanes)
		for ib := range ceilDiv(sc, inputBlock) {
			c0, c1 := cutAligned(sc, inputBlock, ib, nr)
			for tb := range ceilDiv(w.tiles, depth) {
				t0, t1 := cut(w.tiles, depth, tb)
				p.stageOn(parts, func(thread, part int) {
					t := &tiles[thread]
					t.temp = &p.s[temp+thread*winogradPlanes*lanes]
					lo, hi := span(t1-t0, part, parts, 1)
					for i := lo; i < hi; i++ {
						w.output.point(t, p.pixels(1), t0+i, winogradOut, o0, &zeros[0])
						a.transform(p, t, i, o1-o0, gradient)
						w.image.point(t, p.pixels(0), t0+i, winogradIn, c0, &zeros[0])
						b.transform(p, t, i, c1-c0, image)
					}
				})
				panels := ceilDiv(c1-c0, nr)
				p.stageOn(parts, func(thread, part int) {
					g := &workers[thread]
					*g = tile{}
					g.runs, g.steps = runs, t1-t0
					g.aRow, g.aStep, g.bStep, g.cRow = 1, a.row, b.row, m.row
					g.accumulate = t0 > 0
					lo, hi := span(winogradPlanes*panels, part, parts, 1)
					pieces := ceilDiv(o1-o0, mr)
					for q := lo; q < hi; q++ {
						f, panel := q/panels, q%panels
						g.b = p.s[b.element(f, 0, panel*nr):]
						g.cols = min(nr, roundUp(c1-c0, lanes)-panel*nr)
						for k := range pieces {
							i0, i1 := cut(o1-o0, mr, k)
							g.rows = i1 - i0
							g.a = p.s[a.element(f, 0, i0):]
							g.c = p.s[m.element(f, i0, panel*nr):]
							isa.tile(g)
						}
					}
				})
			}
			p.stageOn(parts, func(thread, part int) {
				t := &tiles[thread]
				t.temp = &p.s[temp+thread*winogradPlanes*lanes]
				t.size = 4
				lo, hi := span(o1-o0, part, parts, 1)
				for o := lo; o < hi; o++ {
					for k := range winogradTaps * winogradTaps {
						t.pixels[k] = unsafe.Pointer(&p.f[2][((o0+o)*9+k)*sc+c0])
					}
					m.transform(p, t, o, c1-c0, isa.winograd.filterGradient)
				}
			})
		}
	}
}
