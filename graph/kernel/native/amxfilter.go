package native

import "github.com/graft-onnx/graft/graph/kernel"

// tileFilter is the gradient of a convolution by its filter for AMX, whose a
// must have the pixels, which are summed over, in a row. So the output's
// gradient is transposed: for every channel, all its pixels, run by run, with
// zeros after each row of an image. The source is packed panel by panel in rows
// as long, for strides by phases, zeros beside it: then a tap pairs a pixel of
// the gradient with the pixel of the source that lies a fixed distance after it.
// Only that operand shifts, by whole rows of b: rows of a tile that began in the
// middle of a cache line would take twice as long to load. A word holds two
// pixels, so that an odd distance needs a copy of the source of its own.
type tileFilter struct {
	kernel.Geometry
	*halfFilter
	gradient *halfFilter // packs the output's gradient
	taps     []filterTap
	copies   []filterCopy
	pitch    int // pixels of a row, zeros included: even
	front    int // pixels before the first row of the source
	over     int // source rows before the first one of a run that outputs begin with
	rows     int // output rows of a run
	high     int // source rows of a run, in a phase
	chunks   int // runs of an image
	steps    int // words of a run
	words    int // of a run of a copy of the source
	length   int // words of a channel of the transposed gradient, or of a call of it
	perCall  int // runs that are summed at a time
	block    int // output channels that are summed for all taps at a time
}

// filterTap is one tap of the filter, or one row of merged ones.
type filterTap struct {
	kh, kw, copy int
	from         int // where in the copy its first word lies
}

// filterCopy is a packed copy of the source: the row and column of it that its
// phase begins with, and whether words hold the pixels 2i-1 and 2i of a row
// instead of 2i and 2i+1.
type filterCopy struct{ row, column, odd int }

const (
	// filterRun is about how many pixels are summed at a time: enough to pay for
	// loading and storing the sums, which lie far apart in the filter, few enough
	// for their source to stay in the cache.
	filterRun = 4096
	// filterBlock is how many words of the gradient are summed for all taps, to
	// stay in the cache meanwhile.
	filterBlock = 192 << 10
	// transposed is how many pixels are transposed at a time.
	transposed = 256
	// manySums is how many weights may have several sums a thread, which lets
	// threads take parts of others.
	manySums = 128 << 10
	// pixelsPerTap is how many pixels a share has for every input channel and tap
	// at least, for sums of its own to pay.
	pixelsPerTap = 2
)

// newTileFilter lays the work out.
func newTileFilter(g kernel.Geometry, v *isa) *tileFilter {
	f := &filterGrad{Geometry: g, isa: v, cg: g.C / g.Groups, og: g.O / g.Groups}
	f.columns = f.cg
	if f.merged = f.cg < v.nr && g.Groups == 1 && g.DilationW == 1 && g.KW > 1; f.merged {
		f.columns = g.KW * f.cg
	}
	f.panels = ceilDiv(f.columns, v.nr)
	t := &tileFilter{Geometry: g, halfFilter: &halfFilter{filterGrad: f, isa: v, step: v.nr}}
	t.gradient = &halfFilter{filterGrad: &filterGrad{Geometry: kernel.Geometry{C: g.O, W: g.OW, StrideW: 1}, isa: v, w: lane{offset: []int{0}}},
		isa: v, last: g.OW - 1, step: v.nr}

	rows, columns := splitTaps(g.KH, g.StrideH, g.DilationH, g.PadTop), splitTaps(g.KW, g.StrideW, g.DilationW, g.PadLeft)
	wide := ceilDiv(g.W, g.StrideW) // pixels of a source row in a phase
	t.last = wide                   // a zero
	if f.merged {
		columns = []tapSplit{{phase: -g.PadLeft}}
		wide, t.last = g.OW, g.OW-1
	}
	first, last := rows[0].shift, rows[0].shift
	for _, r := range rows {
		first, last = min(first, r.shift), max(last, r.shift)
	}
	before, after, odd := 0, 0, 0
	for _, c := range columns {
		before, after, odd = max(before, -c.shift), max(after, c.shift), max(odd, c.shift&1)
	}
	t.pitch = roundUp(max(wide+max(before, odd), g.OW+after), 2)
	t.front = roundUp(before, 2)
	t.rows = max(1, min(g.OH, filterRun/t.pitch))
	t.chunks = ceilDiv(g.OH, t.rows)
	t.rows = ceilDiv(g.OH, t.chunks)
	t.over, t.high = first, t.rows+last-first
	t.steps = amxSteps(t.rows * t.pitch / 2)
	t.words = (t.front + t.high*t.pitch) / 2

	index := map[filterCopy]int{}
	for kh, r := range rows {
		for kw, c := range columns {
			at := filterCopy{r.phase, c.phase, c.shift & 1}
			k, known := index[at]
			if !known {
				k = len(t.copies)
				index[at], t.copies = k, append(t.copies, at)
				f.w.offset = append(f.w.offset, at.column-at.odd*g.StrideW)
			}
			from := (t.front + (r.shift-first)*t.pitch + c.shift + at.odd) / 2
			t.taps = append(t.taps, filterTap{kh: kh, kw: kw, copy: k, from: from})
			t.words = max(t.words, from+t.steps)
		}
	}
	t.perCall = max(1, filterRun/t.words/len(t.copies))
	t.block = max(v.half.mr, filterBlock/(t.perCall*t.steps)/v.half.mr*v.half.mr)
	return t
}

// tapSplit says of a tap that output i of its axis sees source position
// (i+shift)*stride + phase.
type tapSplit struct{ shift, phase int }

func splitTaps(k, stride, dilation, before int) []tapSplit {
	taps := make([]tapSplit, k)
	for i := range taps {
		at := i*dilation - before
		phase := (at%stride + stride) % stride
		taps[i] = tapSplit{(at - phase) / stride, phase}
	}
	return taps
}

// tileFilter compiles the gradient by the filter into argument 2.
func (d *Device) tileFilter(p *program, c kernel.ConvBackwardFilter) {
	size := kernel.Len(c.Filter())
	if size == 0 {
		return
	}
	if kernel.Len(c.X()) == 0 || kernel.Len(c.Y()) == 0 {
		p.stage(1, func(int) { clear(p.f[2]) })
		return
	}
	t := newTileFilter(c.Geometry, d.isa)
	x, dy := p.halfElements(0), p.halfElements(1)
	runs := t.N * t.chunks
	panels := t.Groups * t.panels
	threads := p.parts(int(c.FLOPs()/2), p.isa.dense)
	// Where pixels are many, they are shared, and each share has sums of its own
	// and transposes what it needs next; else panels are.
	byPixel := threads > 1 && (t.N*t.OH*t.OW > pixelsPerTap*size/t.O*threads || panels%threads != 0 && panels < 8*threads)
	if byPixel {
		t.perCall = min(t.perCall, ceilDiv(runs, threads))
	}
	calls := ceilDiv(runs, t.perCall)
	parts, sums, turned := panels, 0, 0
	if threads == 1 {
		parts = 1
	}
	if byPixel {
		parts = min(threads, calls)
		if size <= manySums {
			parts = min(4*threads, calls)
		}
		sums = p.reserve(parts * size)
		t.setLength(t.perCall)
		turned = p.reserve(p.on(parts) * t.O * t.length)
	} else {
		t.setLength(runs)
		turned = t.transpose(p, dy)
	}
	buffer := max(len(t.copies)*t.perCall*t.words, t.piece()) * d.isa.nr
	workers := make([]tile, p.on(parts))
	at := p.reserve(len(workers) * buffer)
	memory := make([]run, len(workers)*t.perCall)
	p.stageOn(parts, func(thread, part int) {
		w := &workers[thread]
		*w = tile{runs: memory[thread*t.perCall : (thread+1)*t.perCall]}
		buf := p.s[at+thread*buffer : at+(thread+1)*buffer]
		if !byPixel {
			lo, hi := span(panels, part, parts, 1)
			for u := lo; u < hi; u++ {
				for c := range calls {
					r0, r1 := cut(runs, t.perCall, c)
					t.sum(w, x(), p.s[turned+r0*t.steps:turned+t.O*t.length], p.f[2], buf, u, r0, r1, c > 0)
				}
			}
			return
		}
		dw := p.s[sums+part*size : sums+(part+1)*size]
		own := p.s[turned+thread*t.O*t.length : turned+(thread+1)*t.O*t.length]
		lo, hi := span(calls, part, parts, 1)
		for c := lo; c < hi; c++ {
			r0, r1 := cut(runs, t.perCall, c)
			for r := r0; r < r1; r++ {
				for k := range t.pieces() {
					t.turn(own[(r-r0)*t.steps:], dy(), buf, r, k)
				}
			}
			for u := range panels {
				t.sum(w, x(), own, dw, buf, u, r0, r1, c > lo)
			}
		}
	})
	if byPixel {
		p.addSums(sums, parts, size)
	}
}

// setLength makes room for so many runs in a channel, in an odd number of lines,
// for the cache.
func (t *tileFilter) setLength(runs int) {
	t.length = roundUp(runs*t.steps, line)
	t.length += line * (1 - t.length/line%2)
}

// turnedRows is how many rows of a run are transposed at a time, pieces how
// often, piece the most words of one, zeros after a run included.
func (t *tileFilter) turnedRows() int { return max(1, min(t.rows, transposed/t.pitch)) }
func (t *tileFilter) pieces() int     { return ceilDiv(t.rows, t.turnedRows()) }
func (t *tileFilter) piece() int {
	return t.turnedRows()*t.pitch/2 + t.steps - t.rows*t.pitch/2
}

// transpose writes the output's gradient, channel by channel, into scratch, whose
// offset it returns.
func (t *tileFilter) transpose(p *program, dy func() []uint16) (at int) {
	at = p.reserve(t.O * t.length)
	units := t.N * t.chunks * t.pieces()
	parts := p.chunks(units, grain/(2*t.piece()*t.O)+1)
	size := t.piece() * t.isa.nr
	local := p.reserve(parts * size)
	p.stage(parts, func(part int) {
		lo, hi := span(units, part, parts, 1)
		for q := lo; q < hi; q++ {
			r := q / t.pieces()
			t.turn(p.s[at+r*t.steps:], dy(), p.s[local+part*size:local+(part+1)*size], r, q%t.pieces())
		}
	})
	return at
}

// turn transposes piece k of run r.
func (t *tileFilter) turn(to []float32, dy []uint16, buf []float32, r, k int) {
	nr, pairs := t.isa.nr, t.pitch/2
	n, m := r/t.chunks, r%t.chunks*t.rows
	i0, i1 := cut(t.rows, t.turnedRows(), k)
	words := (i1 - i0) * pairs
	if i1 == t.rows {
		words = t.steps - i0*pairs
	}
	for o := 0; o < t.O; o += nr {
		c := min(nr, t.O-o)
		filled := 0
		for i := m + i0; i < min(m+i1, t.OH); i++ {
			t.gradient.pairs(buf[filled*nr:(filled+pairs)*nr], dy[(n*t.OH+i)*t.OW*t.O:][:t.OW*t.O], 0, 0, pairs, o, c)
			filled += pairs
		}
		clear(buf[filled*nr : words*nr])
		t.isa.interleave(to[o*t.length+i0*pairs:], buf, words, c, t.length, nr)
	}
}

// sum adds the pixels of runs r0 to r1-1, with which dy begins, into panel u of
// dw, or puts them there.
func (t *tileFilter) sum(w *tile, x []uint16, dy, dw, buf []float32, u, r0, r1 int, accumulate bool) {
	nr, all := t.isa.nr, w.runs
	w.steps, w.aStep, w.bStep = t.steps, 1, nr
	w.aRow, w.cRow = t.length, t.KH*t.KW*t.cg
	group, column := u/t.panels, u%t.panels*nr
	w.cols = min(nr, t.columns-column)
	w.accumulate = accumulate
	w.runs = all[:r1-r0]
	for i := range w.runs {
		n, m := (r0+i)/t.chunks, (r0+i)%t.chunks*t.rows
		w.runs[i] = run{i * t.steps, i * t.words * nr}
		for k := range t.copies {
			t.load(buf[(k*t.perCall+i)*t.words*nr:][:t.words*nr], x, k, n, m, group*t.cg+column, w.cols)
		}
	}
	for o := 0; o < t.og; o += t.block {
		w.rows = min(t.block, t.og-o)
		w.line = w.rows
		w.a = dy[(group*t.og+o)*t.length:]
		for _, tap := range t.taps {
			w.b = buf[(tap.copy*t.perCall*t.words+tap.from)*nr:]
			w.c = dw[(((group*t.og+o)*t.KH+tap.kh)*t.KW+tap.kw)*t.cg+column:]
			t.isa.half.run(w)
		}
	}
	w.runs = all
}

// load packs a run of a copy of the source: c elements from first on of every
// pixel, or of merged taps, for the output rows from row m on.
func (t *tileFilter) load(to []float32, x []uint16, k, n, m, first, c int) {
	nr, pairs := t.isa.nr, t.pitch/2
	clear(to[:t.front/2*nr])
	to = to[t.front/2*nr:]
	for i := range t.high {
		line := to[i*pairs*nr : (i+1)*pairs*nr]
		row := (m+t.over+i)*t.StrideH + t.copies[k].row
		if row < 0 || row >= t.H {
			clear(line)
			continue
		}
		t.pairs(line, x[(n*t.H+row)*t.W*t.C:][:t.W*t.C], k, 0, pairs, first, c)
	}
	clear(to[t.high*pairs*nr:])
}
