package native

import "github.com/graft-onnx/graft/graph/kernel"

// A gather is a convolution as the micro-kernel sees it: output position i of
// an axis is the sum over taps t of the source position i*step + offset[t]
// times a filter row. Forward convolution is one gather. The gradient by the
// data is one for every phase of the stride: the input positions that agree
// modulo the stride see the same taps, and read the output's gradient densely.
//
// Rows of an output tile are neighbouring pixels of one output row, so their
// sources lie evenly apart and need no im2col: a share copies the few source
// rows that an output row needs, with zeros for padding, into a buffer that
// stays in the cache (or reads the source itself where nothing hangs over).
type gather struct {
	n      int
	h, w   lane
	groups int
	sg, dg int // source and destination channels of a group
	// filter returns where the weight of source channel 0 and destination
	// channel 0 of a group lies; sStep and dStep go to the next channels.
	filter       func(group, kh, kw int) int
	sStep, dStep int
	direct       bool
	run          func(t *tile) // the micro-kernel

	// Tiling.
	cols, rows   int // output columns and rows of one item
	width        int // pixels of a buffered source row
	items        int // of (n, row block, column block)
	shares       int // every item's panels are divided among so many
	panels       int // of nr destination channels, in a group
	weights      int // offset of the packed filter in scratch
	runs         []run
	steps, panel int // steps of a run; floats of a packed panel
}

// lane is one axis of a gather.
type lane struct {
	src, out      int
	step          int
	offset        []int // of each tap, ascending
	filter        []int // filter position of each tap
	dst           int   // length of the destination axis
	dst0, dstStep int   // destination position of output 0, and of the next
}

// reach returns the lowest and highest source position of outputs lo to hi-1.
func (l *lane) reach(lo, hi int) (first, last int) {
	if len(l.offset) == 0 {
		return lo * l.step, lo * l.step
	}
	return lo*l.step + l.offset[0], (hi-1)*l.step + l.offset[len(l.offset)-1]
}

func (l *lane) inside() bool {
	first, last := l.reach(0, l.out)
	return first >= 0 && last < l.src
}

// plain reports whether the axis maps position i to position i.
func (l *lane) plain() bool {
	return len(l.offset) == 1 && l.offset[0] == 0 && l.step == 1 && l.dstStep == 1 && l.dst0 == 0 && l.src == l.out && l.dst == l.out
}

// forwardLane is an axis of a convolution.
func forwardLane(in, out, k, stride, dilation, before int) lane {
	l := lane{src: in, out: out, step: stride, dst: out, dstStep: 1}
	for t := range k {
		l.offset = append(l.offset, t*dilation-before)
		l.filter = append(l.filter, t)
	}
	return l
}

// backwardLanes are the phases of an axis of its gradient.
func backwardLanes(in, out, k, stride, dilation, before int) []lane {
	var lanes []lane
	for phase := range min(stride, in) {
		l := lane{src: out, out: ceilDiv(in-phase, stride), step: 1, dst: in, dst0: phase, dstStep: stride}
		for t := k - 1; t >= 0; t-- {
			at := phase + before - t*dilation
			if at%stride == 0 {
				l.offset = append(l.offset, at/stride)
				l.filter = append(l.filter, t)
			}
		}
		lanes = append(lanes, l)
	}
	return lanes
}

func (d *Device) conv(p *program, c kernel.Conv) {
	g := c.Geometry
	y := len(p.args) - 1
	bias := -1
	if c.Bias {
		bias = 2
	}
	if g.Depthwise() {
		d.depthwise(p, []spread{{
			n: g.N, c: g.C,
			h:      forwardLane(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop),
			w:      forwardLane(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft),
			filter: [2]int{g.KH, g.KW},
		}}, 0, 1, bias, y, c.Act)
		return
	}
	d.gathers(p, forwardGather(g, g.C/g.Groups), p.arg(0), p.arg(1), bias, y, c.Act, false)
}

// forwardGather is a convolution whose groups have cg source channels.
func forwardGather(g kernel.Geometry, cg int) []gather {
	return []gather{{
		n: g.N, groups: g.Groups, sg: cg, dg: g.O / g.Groups,
		h:      forwardLane(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop),
		w:      forwardLane(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft),
		filter: func(group, kh, kw int) int { return ((group*g.O/g.Groups*g.KH+kh)*g.KW + kw) * cg },
		sStep:  1, dStep: g.KH * g.KW * cg,
	}}
}

func (d *Device) convBackwardData(p *program, c kernel.ConvBackwardData) {
	g := c.Geometry
	if !g.Depthwise() {
		d.gathers(p, backwardGathers(g, g.O/g.Groups), p.arg(0), p.arg(1), -1, 2, kernel.Clip{}, false)
		return
	}
	var ss []spread
	for _, h := range backwardLanes(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop) {
		for _, w := range backwardLanes(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft) {
			ss = append(ss, spread{n: g.N, c: g.C, h: h, w: w, filter: [2]int{g.KH, g.KW}})
		}
	}
	d.depthwise(p, ss, 0, 1, -1, 2, kernel.Clip{})
}

// backwardGathers are the gradient by the data of a convolution whose groups
// have og output channels.
func backwardGathers(g kernel.Geometry, og int) []gather {
	cg := g.C / g.Groups
	var gs []gather
	for _, h := range backwardLanes(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop) {
		for _, w := range backwardLanes(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft) {
			gs = append(gs, gather{
				n: g.N, groups: g.Groups, sg: og, dg: cg, h: h, w: w,
				filter: func(group, kh, kw int) int { return ((group*og*g.KH+kh)*g.KW + kw) * cg },
				sStep:  g.KH * g.KW * cg, dStep: 1,
			})
		}
	}
	return gs
}

const (
	// bufferFloats is how much of the source a share copies at a time, at
	// most if the shape allows: half of a small second-level cache.
	bufferFloats = 32 << 10
	// itemTiles is how many tiles of rows an item has at most: enough to pay
	// for streaming the filter through the cache.
	itemTiles = 8
)

// plan chooses the tiling; mr and nr are the micro-kernel's.
func (g *gather) plan(threads, mr, nr int) {
	if g.direct = g.h.inside() && g.w.inside(); g.direct && g.h.plain() && g.w.plain() {
		// 1x1: the whole batch is one row of pixels.
		pixels := g.n * g.h.out * g.w.out
		g.n = 1
		g.h = lane{src: 1, out: 1, step: 1, offset: []int{0}, filter: []int{0}, dst: 1, dstStep: 1}
		g.w = lane{src: pixels, out: pixels, step: 1, offset: []int{0}, filter: []int{0}, dst: pixels, dstStep: 1}
	}
	sc := g.sg * g.groups
	perPixel := sc * max(1, len(g.h.offset))
	overlap := 0
	if k := len(g.w.offset); k > 0 {
		overlap = g.w.offset[k-1] - g.w.offset[0]
	}
	fit := (bufferFloats/max(perPixel, 1) - overlap) / g.w.step / mr * mr
	g.cols = max(1, min(g.w.out, max(fit, mr), mr*itemTiles))
	g.cols = max(1, ceilDiv(g.w.out, max(1, ceilDiv(g.w.out, g.cols)))) // even column blocks
	g.width = (g.cols-1)*g.w.step + overlap + 1
	g.rows = max(1, min(mr*itemTiles/g.cols, bufferFloats/max(1, perPixel*g.width), g.h.out))

	g.panels = ceilDiv(g.dg, nr)
	g.items = g.n * ceilDiv(g.h.out, g.rows) * ceilDiv(g.w.out, g.cols)
	g.shares = 1
	if g.items < 8*threads && g.items > 0 {
		g.shares = min(ceilDiv(8*threads, g.items), max(1, g.groups*g.panels))
	}

	// Where the taps of a row touch each other, they are one run.
	pitch := g.width * sc
	if g.direct {
		pitch = g.w.src * sc
	}
	taps := len(g.w.offset)
	joined := g.groups == 1
	for u := 1; u < taps; u++ {
		joined = joined && g.w.offset[u] == g.w.offset[u-1]+1
	}
	g.steps, g.panel = g.sg, len(g.h.offset)*taps*g.sg*nr
	if joined {
		g.steps *= taps
	}
	var runs []run
	for t, off := range g.h.offset {
		from := t * pitch
		if g.direct {
			from = (off - g.h.offset[0]) * pitch
		}
		for u := range taps {
			if joined && u > 0 {
				break
			}
			runs = append(runs, run{from + (g.w.offset[u]-g.w.offset[0])*sc, (t*taps + u) * g.sg * nr})
		}
	}
	g.runs = runs
}

// operand returns what a dense kernel reads: an argument, or scratch. For
// bfloat16 it is words, which count as one channel.
type operand func() []float32

func (p *program) arg(i int) operand { return func() []float32 { return p.f[i] } }

// gathers compiles convolutions that share a source, a filter and a destination
// (argument dst; bias or -1). The source and the filter may be words.
func (d *Device) gathers(p *program, gs []gather, src, filter operand, bias, dst int, act kernel.Clip, words bool) {
	run := d.isa.tile
	if words {
		run = d.isa.half.tile
	}
	mr, nr := d.isa.mr, d.isa.nr
	threads := p.pool.threads
	var work, packs, buffer, products int
	for i := range gs {
		g := &gs[i]
		g.run = run
		g.plan(threads, mr, nr)
		g.weights = p.reserve(g.groups * g.panels * g.panel)
		work += g.items * g.shares
		packs += g.groups * g.panels
		products += g.n * g.h.out * g.w.out * g.groups * g.panels * g.panel
		if !g.direct {
			buffer = max(buffer, g.rows*len(g.h.offset)*g.width*g.sg*g.groups)
		}
	}
	if work == 0 || packs == 0 {
		return
	}
	p.split(packs, grain/max(gs[0].panel, 1)+1, func(lo, hi int) {
		for i := range gs {
			g := &gs[i]
			n := g.groups * g.panels
			for q := max(lo, 0); q < min(hi, n); q++ {
				g.pack(p.s[g.weights+q*g.panel:g.weights+(q+1)*g.panel], filter(), q, nr)
			}
			lo, hi = lo-n, hi-n
		}
	})

	parts := min(p.parts(products, p.isa.dense), work)
	at := p.reserve(parts * buffer)
	workers := make([]tile, parts)
	p.stage(parts, func(part int) {
		w := &workers[part]
		*w = tile{}
		w.setClip(act)
		var half []uint16
		if words {
			half = p.h[dst]
		}
		var biases []float32
		if bias >= 0 {
			biases = p.f[bias]
		}
		lo, hi := span(work, part, parts, 1)
		for i := range gs {
			g := &gs[i]
			n := g.items * g.shares
			for q := max(lo, 0); q < min(hi, n); q++ {
				g.item(d.isa, w, q, src(), p.s[at+part*buffer:at+(part+1)*buffer], p.s[g.weights:], biases, p.f[dst], half)
			}
			lo, hi = lo-n, hi-n
		}
	})
}

// pack lays out the filter of panel q: for every tap and source channel, nr
// destination channels, zeros where there are fewer.
func (g *gather) pack(to, w []float32, q, nr int) {
	group, first := q/g.panels, q%g.panels*nr
	n := min(nr, g.dg-first)
	at := 0
	for _, kh := range g.h.filter {
		for _, kw := range g.w.filter {
			from := g.filter(group, kh, kw) + first*g.dStep
			if g.dStep == 1 {
				for s := range g.sg {
					row := to[at : at+nr]
					clear(row[copy(row, w[from+s*g.sStep:from+s*g.sStep+n]):])
					at += nr
				}
				continue
			}
			block := to[at : at+g.sg*nr]
			if n < nr {
				clear(block)
			}
			interleave(block, w[from:], n, g.sg, nr, g.dStep)
			at += g.sg * nr
		}
	}
}

// interleave writes n columns of k elements, stride apart, as rows of nr. It
// goes by cache lines of the columns, so that each is read once.
func interleave(to, columns []float32, n, k, nr, stride int) {
	const line = 16
	for lo := 0; lo < k; lo += line {
		hi := min(lo+line, k)
		for j := range n {
			at := lo*nr + j
			for _, v := range columns[j*stride+lo : j*stride+hi] {
				to[at] = v
				at += nr
			}
		}
	}
}

// item computes one block of output pixels for one share of the panels, into
// half if that is not nil.
func (g *gather) item(v *isa, w *tile, q int, src, buf, weights, bias, dst []float32, half []uint16) {
	share := q % g.shares
	q /= g.shares
	colBlocks := ceilDiv(g.w.out, g.cols)
	rowBlocks := ceilDiv(g.h.out, g.rows)
	j0, j1 := cut(g.w.out, g.cols, q%colBlocks)
	q /= colBlocks
	i0, i1 := cut(g.h.out, g.rows, q%rowBlocks)
	n := q / rowBlocks
	sc, dc := g.sg*g.groups, g.dg*g.groups

	taps := len(g.h.offset)
	pitch := taps * g.width * sc // of one output row's sources
	a := buf
	switch {
	case taps == 0 || len(g.w.offset) == 0:
		a, pitch = src[:0], 0
	case g.direct:
		first, _ := g.w.reach(j0, j1)
		a = src[((n*g.h.src+i0*g.h.step+g.h.offset[0])*g.w.src+first)*sc:]
		pitch = g.h.step * g.w.src * sc
	default:
		first, last := g.w.reach(j0, j1)
		for i := i0; i < i1; i++ {
			for t, off := range g.h.offset {
				row := buf[((i-i0)*taps+t)*g.width*sc:]
				copyRowPadded(row, src, n, i*g.h.step+off, first, last, &g.h, &g.w, sc)
			}
		}
	}

	nr := v.nr
	w.runs, w.steps = g.runs, g.steps
	w.aRow, w.aStep, w.bStep = g.w.step*sc, 1, nr
	w.cRow = g.w.dstStep * dc
	from, to := span(g.groups*g.panels, share, g.shares, 1)
	pieces := ceilDiv(j1-j0, v.mr)
	for q := from; q < to; q++ {
		group, panel := q/g.panels, q%g.panels
		w.b = weights[q*g.panel : (q+1)*g.panel]
		if bias != nil {
			w.bias = bias[group*g.dg+panel*nr:]
		}
		w.cols = min(nr, g.dg-panel*nr)
		for i := i0; i < i1; i++ {
			out := ((n*g.h.dst+g.h.dst0+i*g.h.dstStep)*g.w.dst+g.w.dst0+j0*g.w.dstStep)*dc + group*g.dg + panel*nr
			for k := range pieces {
				lo, hi := cut(j1-j0, v.mr, k)
				w.rows = hi - lo
				if len(w.runs) > 0 {
					w.a = a[(i-i0)*pitch+lo*w.aRow+group*g.sg:]
				}
				if half != nil {
					w.half = half[out+lo*w.cRow:]
				} else {
					w.c = dst[out+lo*w.cRow:]
				}
				g.run(w)
			}
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
