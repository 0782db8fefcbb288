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
// rows that some output rows need, with zeros for padding, into a buffer that
// stays in the cache (or reads the source itself where nothing hangs over). A
// micro-kernel for any number of rows also goes on to the next output row, past
// the pixels between the two. Of many source channels it takes a block at a time and adds to the output that
// the blocks before left.
//
// The filter is packed by panels of destination channels. Where there are many
// pixels, all of it is packed first, and the pixels are divided among the
// shares. Where there are few, packing would cost as much as the products:
// then every share has panels of its own, and packs them by the block, right
// before it needs them. A filter that serves many runs comes packed (kept).
type gather struct {
	n      int
	h, w   lane
	groups int
	sg, dg int // source and destination channels of a group
	// filter returns where the weight of source channel 0 and destination
	// channel 0 of a group lies; sStep and dStep go to the next channels.
	filter       func(group, kh, kw int) int
	sStep, dStep int
	// narrow says that the filter is float32, to be made words while it is packed;
	// below that the second element of a word is not the first one's neighbour but
	// a source channel on, odd that the last word has one element alone.
	narrow, below, odd bool
	// kept says that the filter was packed before the run: whole panels, one tap
	// after the other.
	kept   bool
	direct bool
	shape  // the micro-kernel

	// Tiling.
	cols, rows    int   // output columns and rows of one item
	step          int   // buffered pixels from one output column to the next
	width, pixel  int   // pixels of a buffered source row; floats of a pixel
	shared        bool  // output rows share buffered rows; else every tap has its own
	block, blocks int   // source channels summed at a time; how many times
	images        int   // of one item, more than 1 where they are small
	items         int   // of (images, row block, column block)
	shares        int   // every item's panels are divided among so many
	panels        int   // of nr destination channels, in a group
	panel, part   int   // floats of a packed panel, and of a whole block in it
	weights       int   // offset of the packed filter in scratch
	runs          []run // of every block, one block after the other
	joined        bool  // the taps of a filter row are one run
}

func (d *Device) conv(p *program, c kernel.Conv) error {
	g := c.Geometry
	if c.Packed > 0 {
		if err := d.checkPacked(c, g, c.Packed); err != nil {
			return err
		}
	}
	y := len(p.args) - 1
	bias := -1
	if c.Bias {
		bias = 2
	}
	if g.Depthwise() {
		d.depthwise(p, forwardSpread(g), 0, 1, bias, y, c.Act, false)
		return nil
	}
	gs := forwardGather(g, g.C/g.Groups)
	gs[0].kept = c.Packed > 0
	d.gathers(p, gs, p.arg(0), p.arg(1), bias, y, c.Act, false)
	return nil
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
	d.depthwise(p, backwardSpreads(g), 0, 1, -1, 2, kernel.Clip{}, false)
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

// operand returns what a dense kernel reads: an argument, or scratch. For
// bfloat16 it is words, which count as one channel.
type operand func() []float32

func (p *program) arg(i int) operand { return func() []float32 { return p.f[i] } }

// gathers compiles convolutions that share a source, a filter and a destination
// (argument dst; bias or -1). The source and the filter may be words.
func (d *Device) gathers(p *program, gs []gather, src, filter operand, bias, dst int, act kernel.Clip, words bool) {
	kernel := shape{run: d.isa.tile, mr: d.isa.mr, nr: d.isa.nr}
	if words {
		kernel = d.isa.half.shape
	}
	nr := kernel.nr
	pixels, products, panels := 0, 0, 0
	for i := range gs {
		g := &gs[i]
		pixels += g.pixels()
		panels = g.groups * ceilDiv(g.dg, nr)
		products += g.pixels() * len(g.h.offset) * len(g.w.offset) * g.sg * panels * nr
	}
	threads := p.parts(products, p.isa.dense)
	own, kept := 0, len(gs) > 0 && gs[0].kept // no gather makes an input without pixels
	if even := panels%threads == 0 || panels >= 4*threads; even && pixels <= fewPixels && panels >= threads && !words {
		own = ceilDiv(panels, threads)
	}
	var work, shares, packs, buffer, packed, sums, wide int
	for i := range gs {
		g := &gs[i]
		g.shape = kernel
		g.plan(p.pool.threads, own)
		if own == 0 && !kept {
			g.weights = p.reserve(g.groups * g.panels * g.panel)
		}
		if !kept {
			packed = max(packed, own*len(g.h.offset)*len(g.w.offset)*g.block*nr)
		}
		work += g.items * g.shares
		shares = max(shares, g.shares)
		packs += g.groups * g.panels
		if !g.direct {
			buffer = max(buffer, g.images*g.buffered(g.rows)*g.width*g.pixel)
		}
		if words && g.blocks > 1 {
			sums = max(sums, g.outputs())
		}
		if g.narrow {
			wide = max(wide, nr*max(g.block, 2))
		}
	}
	if work == 0 || packs == 0 {
		return
	}
	parts := 1
	switch {
	case own > 0:
		parts = threads
	case threads > 1:
		// Half of an item if that leaves no thread without: each piece loads its
		// source anew.
		parts = min(chunksPerThread*threads, ceilDiv(work, max(1, shares/2)))
		parts = min(work, max(threads, parts))
	}
	if own == 0 && !kept {
		parts := p.parts(packs, grain/max(gs[0].panel, 1)+1)
		at := p.reserve(parts * wide)
		p.stage(parts, func(part int) {
			lo, hi := span(packs, part, parts, 1)
			for i := range gs {
				g := &gs[i]
				n := g.groups * g.panels
				for q := max(lo, 0); q < min(hi, n); q++ {
					to := p.s[g.weights+q*g.panel : g.weights+(q+1)*g.panel]
					for b := range g.blocks {
						to = to[g.pack(d.isa, to, filter(), p.s[at+part*wide:at+(part+1)*wide], q, b):]
					}
				}
				lo, hi = lo-n, hi-n
			}
		})
	}

	workers := make([]tile, p.on(parts))
	at := p.reserve(len(workers) * buffer)
	local := p.reserve(len(workers) * packed)
	sum := p.reserve(len(workers) * sums)
	p.stageOn(parts, func(thread, part int) {
		w := &workers[thread]
		*w = tile{}
		c := gathering{
			isa: d.isa, tile: w, act: act, src: src(), dst: p.f[dst],
			buffer: p.s[at+thread*buffer : at+(thread+1)*buffer],
		}
		if bias >= 0 {
			c.bias = p.f[bias]
		}
		if words {
			c.half, c.sums = p.h[dst], p.s[sum+thread*sums:sum+(thread+1)*sums]
		}
		switch {
		case kept:
			c.packed = filter()
		case own > 0:
			c.packed = p.s[local+thread*packed : local+(thread+1)*packed]
		}
		if own > 0 {
			lo, hi := span(panels, part, parts, 1)
			for i := range gs {
				gs[i].ownPanels(&c, filter(), lo, hi)
			}
			return
		}
		lo, hi := span(work, part, parts, 1)
		for i := range gs {
			g := &gs[i]
			n := g.items * g.shares
			if !kept {
				c.packed = p.s[g.weights : g.weights+g.groups*g.panels*g.panel]
			}
			for q := max(lo, 0); q < min(hi, n); {
				// What falls to this share of an item goes together.
				item := q / g.shares
				end := min(hi, (item+1)*g.shares)
				from, _ := span(g.groups*g.panels, q-item*g.shares, g.shares, 1)
				_, to := span(g.groups*g.panels, end-1-item*g.shares, g.shares, 1)
				for b := range g.blocks {
					g.item(&c, item, b, from, to, from*g.panel+b*g.part, g.panel)
				}
				q = end
			}
			lo, hi = lo-n, hi-n
		}
	})
}

// gathering is what one share works with.
type gathering struct {
	isa            *isa
	tile           *tile
	act            kernel.Clip
	src, bias, dst []float32 // bias may be nil
	buffer         []float32
	packed         []float32
	// half, if not nil, is the destination instead of dst; the sums of an item
	// then stay in float32 until the last block.
	half []uint16
	sums []float32
}

// ownPanels computes panels from to until-1 of all items by the block, whose
// filter it packs unless that is kept.
func (g *gather) ownPanels(c *gathering, filter []float32, from, until int) {
	for b := range g.blocks {
		base, size := from*g.panel, g.panel
		if !g.kept {
			at := 0
			for q := from; q < until; q++ {
				size = g.pack(c.isa, c.packed[at:], filter, nil, q, b)
				at += size
			}
			base = 0
		}
		for q := range g.items {
			g.item(c, q, b, from, until, base, size)
		}
	}
}

// pack lays out the filter of panel q and block b: for every tap and source
// channel, nr destination channels, zeros where there are fewer. It returns
// how many floats it wrote. A filter that it narrows needs scratch.
func (g *gather) pack(v *isa, to, w, scratch []float32, q, b int) int {
	group, first := q/g.panels, q%g.panels*v.nr
	lo, hi := g.channels(b)
	n := min(v.nr, g.dg-first)
	at, begin, words := 0, 0, 0 // of a run
	for _, kh := range g.h.filter {
		for u, kw := range g.w.filter {
			block := to[at : at+(hi-lo)*v.nr]
			switch from := g.filter(group, kh, kw) + first*g.dStep + lo*g.sStep; {
			case g.below:
				g.narrowRows(v, block, w, scratch, from, hi-lo, n, g.odd && hi == g.sg)
			case g.narrow:
				k := hi - lo
				for j := range n {
					v.narrow(halves(scratch[j*k:(j+1)*k]), w[2*(from+j*g.dStep):])
				}
				packColumns(v, block, scratch, n, k, k)
			case g.dStep == 1:
				v.columns(block, w[from:], hi-lo, n, g.sStep)
			default:
				packColumns(v, block, w[from:], n, hi-lo, g.dStep)
			}
			at, words = at+len(block), words+hi-lo
			if g.joined && u < len(g.w.filter)-1 {
				continue
			}
			if g.amx {
				alignRun(to[begin:], words, v.nr)
				at = begin + amxSteps(words)*v.nr
			}
			begin, words = at, 0
		}
	}
	return at
}

// narrowRows packs k rows of n words from a filter in float32 whose rows alternate
// in the words; without another row the last is alone.
func (g *gather) narrowRows(v *isa, to, w, scratch []float32, from, k, n int, alone bool) {
	row, column := from/g.sStep*2, from%g.sStep
	if alone {
		k--
		last := scratch[:2*n]
		copy(last, w[(row+2*k)*g.sStep+column:][:n])
		clear(last[n:])
		v.half.narrowRows(to[k*v.nr:], last, 1, 0, n, n)
	}
	if k > 0 {
		v.half.narrowRows(to, w[row*g.sStep+column:], k, 2*g.sStep, g.sStep, n)
	}
}

// item computes one block of output pixels for panels from to until-1, from
// one block of source channels. The filter of the panels begins at base, and
// they lie stride apart.
func (g *gather) item(c *gathering, q, b, from, until, base, stride int) {
	colBlocks := ceilDiv(g.w.out, g.cols)
	rowBlocks := ceilDiv(g.h.out, g.rows)
	j0, j1 := cut(g.w.out, g.cols, q%colBlocks)
	q /= colBlocks
	i0, i1 := cut(g.h.out, g.rows, q%rowBlocks)
	n0, n1 := cut(g.n, g.images, q/rowBlocks)
	sc, dc := g.sg*g.groups, g.dg*g.groups
	lo, hi := g.channels(b)

	w := c.tile
	perBlock := len(g.runs) / g.blocks
	w.runs, w.steps = g.runs[b*perBlock:(b+1)*perBlock], hi-lo
	if g.joined {
		w.steps *= len(g.w.offset)
	}
	w.aStep, w.bStep = 1, c.isa.nr
	w.cRow = g.w.dstStep * dc
	w.accumulate = b > 0
	w.half = nil
	w.setClip(kernel.Clip{})
	if b == g.blocks-1 {
		w.setClip(c.act)
	}

	first, _ := g.w.reach(j0, j1)
	a, pitch := c.buffer, g.width*g.pixel // of one output row's sources
	image := g.buffered(g.rows) * pitch
	w.aRow = g.step * g.pixel
	switch {
	case len(w.runs) == 0:
		a, pitch, image = nil, 0, 0
	case g.direct:
		a = c.src[((n0*g.h.src+i0*g.h.step+g.h.offset[0])*g.w.src+first)*sc:]
		pitch, image = g.h.step*g.w.src*sc, g.h.src*g.w.src*sc
		w.aRow = g.w.step * sc
	default:
		count := (j1-j0-1)*g.step + g.width - (g.cols-1)*g.step
		for n := n0; n < n1; n++ {
			to := a[(n-n0)*image:]
			load := func(at, row int) { g.load(to[at*pitch:], c.src, n, row, first, count, lo, hi) }
			if g.shared {
				for r := range g.buffered(i1 - i0) {
					load(r, i0+g.h.offset[0]+r)
				}
				continue
			}
			for t, off := range g.h.offset {
				for i := i0; i < i1; i++ {
					load(t*g.rows+i-i0, i*g.h.step+off)
				}
			}
		}
	}

	nr := c.isa.nr
	origin := ((n0*g.h.dst+g.h.dst0+i0*g.h.dstStep)*g.w.dst + g.w.dst0 + j0*g.w.dstStep) * dc
	down := g.h.dstStep * g.w.dst * dc // from one output row to the next
	lines, rows := i1-i0, j1-j0
	w.line, w.gap, w.next = rows, 0, 0
	if g.amx && g.flat(i1-i0, rows, pitch, w.aRow) {
		w.line, w.gap, w.next = rows, pitch/w.aRow-rows, down-rows*w.cRow
		lines, rows = 1, (i1-i0-1)*(w.line+w.gap)+rows
	}
	pieces := ceilDiv(rows, g.mr)
	if g.amx {
		pieces = 1
	}
	for q := from; q < until; q++ {
		group, panel := q/g.panels, q%g.panels
		w.b = c.packed[base+(q-from)*stride:]
		if c.bias != nil {
			w.bias = c.bias[group*g.dg+panel*nr:]
		}
		w.cols = min(nr, g.dg-panel*nr)
		for l := range lines * (n1 - n0) {
			n, i := l/lines, l%lines
			out := origin + n*g.h.dst*g.w.dst*dc + i*down + group*g.dg + panel*nr
			for k := range pieces {
				lo, hi := rows*k/pieces, rows*(k+1)/pieces
				w.rows = hi - lo
				if len(w.runs) > 0 {
					w.a = a[n*image+i*pitch+lo*w.aRow+group*g.sg:]
				}
				switch at := out + lo*w.cRow; {
				case c.half == nil:
					w.c = c.dst[at:]
				case b < g.blocks-1:
					w.c = c.sums[at-origin:]
				default:
					w.half = c.half[at:]
					if b > 0 {
						w.c = c.sums[at-origin:]
					}
				}
				g.run(w)
			}
		}
	}
}

// flat reports whether a micro-kernel for any number of rows takes fewer steps
// for all output rows at once, with the pixels between them, than one by one.
func (g *gather) flat(lines, cols, pitch, aRow int) bool {
	if lines == 1 || aRow == 0 || pitch%aRow != 0 || pitch/aRow < cols {
		return false
	}
	const tile = 16
	return ceilDiv((lines-1)*pitch/aRow+cols, tile) <= lines*ceilDiv(cols, tile)
}

// load copies channels lo to hi-1 (of every group, if there are several) of
// count pixels of a source row, the first at column first, and zeros for those
// outside.
func (g *gather) load(to, src []float32, n, row, first, count, lo, hi int) {
	to = to[:count*g.pixel]
	every := g.w.step / g.step // source columns from one buffered pixel to the next
	if row < 0 || row >= g.h.src {
		clear(to)
		return
	}
	from := min(max(0, ceilDiv(-first, every)), count)
	until := max(from, min(count, ceilDiv(g.w.src-first, every)))
	clear(to[:from*g.pixel])
	clear(to[until*g.pixel:])
	if from == until {
		return
	}
	sc := g.sg * g.groups
	src = src[((n*g.h.src+row)*g.w.src+first+from*every)*sc:]
	if g.pixel == sc && every == 1 {
		copy(to[from*sc:until*sc], src)
		return
	}
	channels := hi - lo
	if g.groups > 1 {
		channels = sc
	}
	for k := range until - from {
		at := k*every*sc + lo
		copy(to[(from+k)*g.pixel:], src[at:at+channels])
	}
}
