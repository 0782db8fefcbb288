package native

const (
	// bufferFloats is how much of the source a share copies at a time, at
	// most if the shape allows: a quarter of a second-level cache of today.
	bufferFloats = 64 << 10
	// amxBufferFloats is the same for AMX: what has it has larger caches, and
	// it wants the filter to serve more pixels.
	amxBufferFloats = 192 << 10
	// packedFloats is how much of the filter a share with panels of its own
	// packs at a time.
	packedFloats = 128 << 10
	// itemTiles is how many tiles of rows an item has at most: enough to pay
	// for streaming the filter through the cache.
	itemTiles = 8
	// fewPixels is up to how many pixels the filter counts for more.
	fewPixels = 1024
	// line is the floats of a cache line, which blocks of channels are cut at.
	line = 16
	// alias is a distance in floats at which all rows of a tile would fall
	// into the same few lines of the first-level cache.
	alias = 1024
)

// pixels returns how many outputs have a source.
func (g *gather) pixels() int {
	if len(g.h.offset) == 0 || len(g.w.offset) == 0 {
		return 0
	}
	return g.n * g.h.out * g.w.out
}

// outputs returns how many floats an item's outputs stretch over.
func (g *gather) outputs() int {
	return ((g.images-1)*g.h.dst*g.w.dst + (g.rows-1)*g.h.dstStep*g.w.dst + g.cols*g.w.dstStep) * g.dg * g.groups
}

// buffered returns how many source rows so many output rows need.
func (g *gather) buffered(rows int) int {
	taps := len(g.h.offset)
	if g.shared {
		return rows + g.h.offset[taps-1] - g.h.offset[0]
	}
	return rows * max(1, taps)
}

// plan chooses the tiling. own is how many panels a share has for itself, 0 if
// the filter is packed beforehand.
func (g *gather) plan(threads, own int) {
	mr, nr, room := g.mr, g.nr, bufferFloats
	if g.amx {
		room = amxBufferFloats
	}
	taps := len(g.h.offset) * len(g.w.offset)
	sc := g.sg * g.groups
	g.direct = g.h.inside() && g.w.inside() && g.w.step*sc%alias != 0
	if g.h.plain() && g.w.plain() {
		// 1x1: the whole batch is one row of pixels.
		pixels := g.n * g.h.out * g.w.out
		g.n = 1
		g.h = lane{src: 1, out: 1, step: 1, offset: []int{0}, filter: []int{0}, dst: 1, dstStep: 1}
		g.w = lane{src: pixels, out: pixels, step: 1, offset: []int{0}, filter: []int{0}, dst: pixels, dstStep: 1}
	}
	overlap := 0
	g.step = g.w.step
	if k := len(g.w.offset); k > 0 {
		overlap = g.w.offset[k-1] - g.w.offset[0]
	}
	if overlap == 0 && !g.direct {
		g.step = 1 // no other pixels are buffered
	}
	rowTaps := max(1, len(g.h.offset))
	g.cols = min(g.w.out, mr*itemTiles)
	if g.groups > 1 {
		fit := (bufferFloats/max(sc*rowTaps, 1) - overlap) / g.step / mr * mr
		g.cols = min(g.cols, max(fit, mr))
	}
	g.cols = max(1, ceilDiv(g.w.out, max(1, ceilDiv(g.w.out, max(1, g.cols))))) // even column blocks
	g.width = roundUp((g.cols-1)*g.step+overlap+1, g.step)
	g.rows = min(max(1, mr*itemTiles/g.cols), g.h.out)
	g.shared = g.h.step == 1 && len(g.h.offset) > 0 && g.h.offset[len(g.h.offset)-1]-g.h.offset[0] < g.rows*(rowTaps-1)

	g.images = 1
	if g.amx && g.rows == g.h.out && g.cols == g.w.out {
		g.images = max(1, min(g.n, mr*itemTiles/(g.rows*g.cols), room/max(1, g.buffered(g.rows)*g.width*sc)))
	}

	g.block = g.sg
	if g.groups == 1 && taps > 0 {
		fit := room / (rowTaps * g.width)
		if g.amx {
			fit = room / (g.images * g.buffered(g.rows) * g.width)
		}
		if g.direct {
			fit *= 2 // only what the tiles read comes into the cache
		}
		if own > 0 {
			fit = min(fit, packedFloats/(own*taps*nr))
		}
		blocks := ceilDiv(g.sg, max(fit, 4*line))
		g.block = min(g.sg, ceilDiv(ceilDiv(g.sg, max(1, blocks)), line)*line)
	}
	g.blocks = ceilDiv(g.sg, max(1, g.block))
	if g.blocks == 0 || taps == 0 {
		g.block, g.blocks = g.sg, 1
	}
	g.pixel = g.block * g.groups
	if g.step*g.pixel%(alias/4) == 0 {
		g.pixel += line
	}
	for !g.direct && g.images == 1 && g.rows > 1 && g.buffered(g.rows)*g.width*g.pixel > room {
		g.rows--
	}

	g.panels = ceilDiv(g.dg, nr)
	g.items = ceilDiv(g.n, g.images) * ceilDiv(g.h.out, g.rows) * ceilDiv(g.w.out, g.cols)
	g.shares = 1
	if own == 0 && g.items < 8*threads && g.items > 0 {
		g.shares = min(ceilDiv(8*threads, g.items), max(1, g.groups*g.panels))
	}
	g.planRuns()
}

// planRuns lists where the products of every block start. Where the taps of a
// row touch each other in memory, they are one run; those of a block of the
// channels do not.
func (g *gather) planRuns() {
	cols := len(g.w.offset)
	pixel := g.pixel
	if g.direct {
		pixel = g.sg * g.groups
	}
	g.joined = pixel == g.sg && (g.blocks == 1 || cols == 1)
	for u := 1; u < cols; u++ {
		g.joined = g.joined && g.w.offset[u] == g.w.offset[u-1]+1
	}
	g.runs, g.panel = nil, 0
	for b := range g.blocks {
		lo, hi := g.channels(b)
		words, runs := hi-lo, cols
		if g.joined {
			words, runs = words*cols, min(cols, 1)
		}
		steps := words
		if g.amx {
			steps = amxSteps(words)
		}
		for t, off := range g.h.offset {
			row := t * g.rows
			if g.shared || g.direct {
				row = off - g.h.offset[0]
			}
			from := row * g.width * pixel
			if g.direct {
				from = row*g.w.src*pixel + lo
			}
			for u := range runs {
				weights := (t*runs + u) * steps
				if g.kept {
					weights = (t*cols+u)*g.sg + lo
				}
				g.runs = append(g.runs, run{from + (g.w.offset[u]-g.w.offset[0])*pixel, weights * g.nr})
			}
		}
		size := len(g.h.offset) * runs * steps * g.nr
		if b == 0 {
			g.part = size
		}
		g.panel += size
	}
	if g.kept {
		g.part = 0 // the runs say where a block begins
	}
}

// channels returns the source channels of a block.
func (g *gather) channels(b int) (lo, hi int) {
	return min(b*g.block, g.sg), min((b+1)*g.block, g.sg)
}
