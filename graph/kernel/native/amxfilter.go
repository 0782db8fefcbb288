package native

import "github.com/graft-onnx/graft/graph/kernel"

// tileFilter is the gradient of a convolution by its filter for AMX, whose a
// must have the pixels, which are summed over, in a row. So the output's
// gradient is transposed: for every channel, all its pixels, a zero or more
// after each row of an image and rows of zeros around it. A tap then pairs a
// pixel of the source with the pixel of the gradient that lies a fixed distance
// before it, and where that is not in the image, with a zero (so that a NaN at
// the edge of the source reaches all taps). The source needs
// no copy of its own for every tap: it is packed as it is, for strides by
// phases, panel by panel.
type tileFilter struct {
	kernel.Geometry
	*halfFilter
	taps    []filterTap
	phases  [][2]int // row and column of the source that a phase begins with
	pitch   int      // pixels of a row of the transposed gradient: even
	front   int      // pixels before the first image in it
	above   int      // rows of zeros before an image in it
	high    int      // rows of an image in it, zeros included
	length  int      // pixels of a channel in it
	rows    int      // source rows of a run, in a phase
	chunks  int      // runs of an image
	steps   int      // words of a run
	perCall int      // runs that are summed at a time
}

// filterTap is one tap of the filter, or one row of merged ones.
type filterTap struct {
	kh, kw, phase int
	from          int // where in the transposed gradient it begins
}

// filterRun is about how many pixels are summed at a time: enough to pay for
// loading and storing the sums, which lie far apart in the filter, few enough
// for their source to stay in the cache. transposed is how many are transposed at
// a time.
const (
	filterRun  = 4096
	transposed = 256
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

	rows, columns := splitTaps(g.KH, g.StrideH, g.DilationH, g.PadTop), splitTaps(g.KW, g.StrideW, g.DilationW, g.PadLeft)
	wide := ceilDiv(g.W, g.StrideW) // pixels of a source row in a phase
	if f.merged {
		columns, wide = []tapSplit{{}}, g.OW
		f.w.offset = []int{-g.PadLeft}
	}
	t.last = wide - 1
	up, down, left, right := 0, 0, 0, 0
	for _, r := range rows {
		up, down = max(up, r.shift), min(down, r.shift)
	}
	for _, c := range columns {
		left, right = max(left, c.shift), min(right, c.shift)
	}
	high := min(ceilDiv(g.H, g.StrideH), g.OH+up)
	t.pitch = roundUp(max(g.OW+left, wide-right), 2)
	t.rows = max(1, min(high, filterRun/t.pitch))
	t.chunks = ceilDiv(high, t.rows)
	t.rows = ceilDiv(high, t.chunks)
	t.steps = amxSteps(t.rows * t.pitch / 2)
	t.above = up
	t.high = max(up+g.OH, up+t.chunks*t.rows-down)
	t.front = roundUp(left, 2)
	t.length = roundUp(t.front+g.N*t.high*t.pitch-right+2*amxDepth*2, 32)
	t.length += 32 * (1 - t.length/32%2) // an odd number of lines, for the cache

	index := map[[2]int]int{}
	for kh, r := range rows {
		for kw, c := range columns {
			at := [2]int{r.phase, c.phase}
			phase, known := index[at]
			if !known {
				phase = len(t.phases)
				index[at], t.phases = phase, append(t.phases, at)
				if !f.merged {
					f.w.offset = append(f.w.offset, c.phase)
				}
			}
			t.taps = append(t.taps, filterTap{kh: kh, kw: kw, phase: phase, from: t.front + (up-r.shift)*t.pitch - c.shift})
		}
	}
	t.perCall = max(1, filterRun/2/t.steps/len(t.phases))
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
	x := p.halfElements(0)
	dy := t.transpose(p)
	runs := t.N * t.chunks
	panels := t.Groups * t.panels
	threads := p.parts(int(c.FLOPs()/2), p.isa.dense)
	// Panels are shared evenly; else the pixels are, each share with sums of its
	// own.
	byPixel := threads > 1 && panels%threads != 0 && panels < 8*threads
	if byPixel {
		t.perCall = min(t.perCall, ceilDiv(runs, threads))
	}
	calls := ceilDiv(runs, t.perCall)
	parts, sums := min(threads, panels), 0
	if byPixel {
		parts = min(threads, calls)
		sums = p.reserve(parts * size)
	}
	buffer := len(t.phases) * t.perCall * t.steps * d.isa.nr
	at := p.reserve(parts * buffer)
	memory := make([]run, parts*t.perCall)
	workers := make([]tile, parts)
	p.stage(parts, func(part int) {
		w := &workers[part]
		*w = tile{runs: memory[part*t.perCall : (part+1)*t.perCall]}
		buf := p.s[at+part*buffer : at+(part+1)*buffer]
		if byPixel {
			lo, hi := span(calls, part, parts, 1)
			t.sum(w, x(), dy(), p.s[sums+part*size:sums+(part+1)*size], buf, 0, panels, lo, hi)
			return
		}
		lo, hi := span(panels, part, parts, 1)
		t.sum(w, x(), dy(), p.f[2], buf, lo, hi, 0, calls)
	})
	if byPixel {
		p.addSums(sums, parts, size)
	}
}

// transpose writes argument 1, the output's gradient, channel by channel.
func (t *tileFilter) transpose(p *program) func() []uint16 {
	dy := p.halfElements(1)
	nr, pairs := t.isa.nr, t.pitch/2
	at := p.reserve(t.O * t.length / 2)
	to := func() []uint16 { return halves(p.s[at : at+t.O*t.length/2]) }
	image := t.high * t.pitch
	front := t.front
	p.split(t.O, grain/t.length+1, func(lo, hi int) {
		for o := lo; o < hi; o++ {
			row := to()[o*t.length : (o+1)*t.length]
			end := 0
			for n := range t.N {
				first := front + n*image + t.above*t.pitch
				clear(row[end:first])
				end = first + t.OH*t.pitch
			}
			clear(row[end:])
		}
	})
	row := &halfFilter{filterGrad: &filterGrad{Geometry: kernel.Geometry{C: t.O, W: t.OW, StrideW: 1}, w: lane{offset: []int{0}}},
		isa: t.isa, last: t.OW - 1, step: nr}
	// Some rows at a time, for 32 channels after the other.
	rows := max(1, min(t.OH, transposed/2/pairs))
	chunks := ceilDiv(t.OH, rows)
	units := t.N * chunks
	parts := p.parts(units, grain/(rows*t.pitch*t.O)+1)
	local := p.reserve(parts * rows * pairs * nr)
	p.stage(parts, func(part int) {
		buf := p.s[local+part*rows*pairs*nr : local+(part+1)*rows*pairs*nr]
		lo, hi := span(units, part, parts, 1)
		for q := lo; q < hi; q++ {
			n := q / chunks
			i0, i1 := cut(t.OH, rows, q%chunks)
			for o := 0; o < t.O; o += nr {
				c := min(nr, t.O-o)
				for i := i0; i < i1; i++ {
					row.pairs(buf[(i-i0)*pairs*nr:(i-i0+1)*pairs*nr], dy()[(n*t.OH+i)*t.OW*t.O:][:t.OW*t.O], 0, 0, pairs, o, c)
				}
				to := p.s[at+(o*t.length+front+n*image+(t.above+i0)*t.pitch)/2:]
				t.isa.interleave(to, buf, (i1-i0)*pairs, c, t.length/2, nr)
			}
		}
	})
	return to
}

// sum adds the pixels of calls c0 to c1-1 into panels u0 to u1-1 of dw.
func (t *tileFilter) sum(w *tile, x, dy []uint16, dw, buf []float32, u0, u1, c0, c1 int) {
	if c0 >= c1 {
		clear(dw) // a share without pixels still has sums
		return
	}
	nr, all := t.isa.nr, w.runs
	w.steps, w.aStep, w.bStep = t.steps, 1, nr
	w.aRow, w.cRow = t.length/2, t.KH*t.KW*t.cg
	w.rows, w.line = t.og, t.og
	for u := u0; u < u1; u++ {
		group, column := u/t.panels, u%t.panels*nr
		w.cols = min(nr, t.columns-column)
		for c := c0; c < c1; c++ {
			w.accumulate = c > c0
			r0, r1 := cut(t.N*t.chunks, t.perCall, c)
			w.runs = all[:r1-r0]
			for i := range w.runs {
				n, m := (r0+i)/t.chunks, (r0+i)%t.chunks*t.rows
				w.runs[i] = run{(n*t.high + m) * t.pitch / 2, i * t.steps * nr}
				for phase := range t.phases {
					t.load(buf[(phase*t.perCall+i)*t.steps*nr:][:t.steps*nr], x, phase, n, m, group*t.cg+column, w.cols)
				}
			}
			for _, tap := range t.taps {
				w.a = words(dy[group*t.og*t.length+tap.from:])
				w.b = buf[tap.phase*t.perCall*t.steps*nr:]
				w.c = dw[((group*t.og*t.KH+tap.kh)*t.KW+tap.kw)*t.cg+column:]
				t.isa.half.run(w)
			}
		}
	}
	w.runs = all
}

// load packs a run of the source: c elements from first on of every pixel, or
// of merged taps, of the rows of a phase from row on.
func (t *tileFilter) load(to []float32, x []uint16, phase, n, row, first, c int) {
	size := t.pitch / 2 * t.isa.nr
	for m := range t.rows {
		line := to[m*size : (m+1)*size]
		r := (row+m)*t.StrideH + t.phases[phase][0]
		if r >= t.H {
			clear(line)
			continue
		}
		tap := phase
		if t.merged {
			tap = 0
		}
		t.pairs(line, x[(n*t.H+r)*t.W*t.C:][:t.W*t.C], tap, 0, t.pitch/2, first, c)
	}
	clear(to[t.rows*size:])
}
