package native

import (
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

// spread is a gather whose channels do not mix: every channel has its own
// filter, so the loops run along the channels.
type spread struct {
	n, c   int
	h, w   lane
	filter [2]int // height and width of the whole filter

	weights    int // offset of the packed filter in scratch: (taps, c)
	rows, cols [][2]int
}

// forwardSpread is a depthwise convolution.
func forwardSpread(g kernel.Geometry) []spread {
	return []spread{{
		n: g.N, c: g.C,
		h:      forwardLane(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop),
		w:      forwardLane(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft),
		filter: [2]int{g.KH, g.KW},
	}}
}

// backwardSpreads are its gradient by the data.
func backwardSpreads(g kernel.Geometry) []spread {
	var ss []spread
	for _, h := range backwardLanes(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop) {
		for _, w := range backwardLanes(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft) {
			ss = append(ss, spread{n: g.N, c: g.C, h: h, w: w, filter: [2]int{g.KH, g.KW}})
		}
	}
	return ss
}

// depthwiseBytes is how much of the rows that a row of outputs sees should lie
// in the second-level cache: half of one of today.
const depthwiseBytes = 512 << 10

// channelBlock returns how many channels of c to work on at a time, so that
// source rows stay in the cache until the last row of outputs that sees them;
// size is an element's in bytes.
func channelBlock(c, size int, h, w *lane) int {
	const unit = 64 // channels: a multiple of what the micro-kernels take at once
	live := h.step + 1
	if k := len(h.offset); k > 0 {
		live += h.offset[k-1] - h.offset[0]
	}
	fit := max(depthwiseBytes/(size*live*max(w.src, 1))/unit, 1)
	blocks := max(ceilDiv(ceilDiv(c, unit), fit), 1)
	return max(ceilDiv(ceilDiv(c, blocks), unit)*unit, 1)
}

// depthwise compiles spreads that share arguments (bias or -1); half says that
// the source and the destination are bfloat16.
func (d *Device) depthwise(p *program, ss []spread, src, filter, bias, dst int, act kernel.Clip, half bool) {
	// Work goes by rows of the destination, of which one phase or several
	// phases of columns have a part each.
	rows, cost := 0, 0
	for i := range ss {
		s := &ss[i]
		s.rows, s.cols = s.h.valid(), s.w.valid()
		s.weights = p.reserve(len(s.h.offset) * len(s.w.offset) * s.c)
		rows = s.h.dst
		cost = max(cost, s.w.dst*s.c*(len(s.h.offset)*len(s.w.offset)+1))
	}
	if len(ss) == 0 || rows == 0 || ss[0].n == 0 {
		return
	}
	work := ss[0].n * rows
	p.stage(1, func(int) {
		w := p.f[filter]
		for i := range ss {
			s := &ss[i]
			at := s.weights
			for _, kh := range s.h.filter {
				for _, kw := range s.w.filter {
					for c := range s.c {
						p.s[at+c] = w[(c*s.filter[0]+kh)*s.filter[1]+kw]
					}
					at += s.c
				}
			}
		}
	})
	parts := min(p.chunks(work*cost, grain), work)
	longest := 0
	for i := range ss {
		longest = max(longest, len(ss[i].h.offset)*len(ss[i].w.offset))
	}
	tiles, taps := make([]spreadTile, parts), make([]run, parts*longest)
	lo, hi := clipBounds(act)
	size := 4
	if half {
		size = 2
	}
	block := channelBlock(ss[0].c, size, &ss[0].h, &ss[0].w)
	p.stage(parts, func(part int) {
		t := &tiles[part]
		*t = spreadTile{taps: taps[part*longest : part*longest : (part+1)*longest], lo: lo, hi: hi}
		from, to := span(work, part, parts, 1)
		for c := 0; c < ss[0].c; c += block {
			t.c = min(block, ss[0].c-c)
			if bias >= 0 {
				t.bias = &p.f[bias][c]
			}
			for q := from; q < to; q++ {
				n, at := q/rows, q%rows
				for i := range ss {
					s := &ss[i]
					switch {
					case at%s.h.dstStep != s.h.dst0:
					case half:
						spreadRow(s, &d.isa.half.spread, t, p.h[dst], p.h[src], p.s[s.weights:], n, at/s.h.dstStep, c)
					default:
						spreadRow(s, &d.isa.spread, t, p.f[dst], p.f[src], p.s[s.weights:], n, at/s.h.dstStep, c)
					}
				}
			}
		}
	})
}

// alike returns how many outputs from j on see the same taps as output j.
func alike(valid [][2]int, j int) int {
	n := 1
	for j+n < len(valid) && valid[j+n] == valid[j] {
		n++
	}
	return n
}

// pitch returns the distance from one tap to the next, which is the same for
// all taps.
func (l *lane) pitch() int {
	if len(l.offset) < 2 {
		return 0
	}
	return l.offset[1] - l.offset[0]
}

// spreadRow computes t.c channels, from the given one on, of output row i of
// image n, in stretches of pixels that see the same taps.
func spreadRow[T float32 | uint16](s *spread, kernels *spreadKernels, t *spreadTile, dst, src []T, weights []float32, n, i, channel int) {
	c, size := s.c, int(unsafe.Sizeof(src[0]))
	out := ((n*s.h.dst+s.h.dst0+i*s.h.dstStep)*s.w.dst+s.w.dst0)*c + channel
	vertical := s.rows[i]
	t.xStep, t.yStep = size*s.w.step*c, size*s.w.dstStep*c
	t.rowStep, t.colStep = size*s.h.pitch()*s.w.src*c, size*s.w.pitch()*c
	t.wRow, t.wCol = 4*len(s.w.offset)*c, 4*c
	for j := 0; j < s.w.out; j += t.pixels {
		horizontal := s.cols[j]
		t.pixels = alike(s.cols, j)
		t.y = (*float32)(unsafe.Pointer(&dst[out+j*s.w.dstStep*c]))
		t.taps = t.taps[:0]
		rows, cols := vertical[1]-vertical[0], horizontal[1]-horizontal[0]
		if rows > 0 && cols > 0 {
			row := n*s.h.src + i*s.h.step + s.h.offset[vertical[0]]
			first := (row*s.w.src+j*s.w.step+s.w.offset[horizontal[0]])*c + channel
			tap := (vertical[0]*len(s.w.offset)+horizontal[0])*c + channel
			t.x, t.w = (*float32)(unsafe.Pointer(&src[first])), &weights[tap]
		}
		if slide(kernels.slides, t, rows, cols) {
			continue
		}
		if compute := stencil(kernels.stencils, rows, cols); compute != nil {
			compute(t)
			continue
		}
		for k := range rows {
			for u := range cols {
				t.taps = append(t.taps, run{k*t.rowStep + u*t.colStep, k*t.wRow + u*t.wCol})
			}
		}
		kernels.taps(t)
	}
}

// spreadKernels are the depthwise micro-kernels of an isa for one type of
// activations.
type spreadKernels struct {
	taps func(t *spreadTile) // uses t.taps
	// stencils are the same for up to 3x3 taps, by rows-1 and columns-1 of
	// taps, which lie as rowStep, colStep, wRow and wCol say. sums add
	// the products of y with the taps' x over the pixels to the taps' w
	// instead. Both may be nil.
	stencils, sums *[3][3]func(t *spreadTile)
	// slides and slideSums do so for three columns of taps, by rows-1, where
	// pixels follow each other as the taps do. Both may be nil.
	slides, slideSums *[3]func(t *spreadTile)
}

// stencil returns the micro-kernel for so many taps, or nil.
func stencil(of *[3][3]func(t *spreadTile), rows, cols int) func(t *spreadTile) {
	if of == nil || rows < 1 || rows > 3 || cols < 1 || cols > 3 {
		return nil
	}
	return of[rows-1][cols-1]
}

// slide calls the micro-kernel that loads every column of x once, or reports
// that there is none. Where the taps lie several pixels apart, it takes as many
// turns of pixels that far apart.
func slide(of *[3]func(t *spreadTile), t *spreadTile, rows, cols int) bool {
	if of == nil || cols != 3 || rows < 1 || rows > 3 || t.xStep <= 0 || t.colStep%t.xStep != 0 {
		return false
	}
	turns := t.colStep / t.xStep
	if t.pixels < 2*turns { // the sums take two at least
		return false
	}
	all := *t
	t.xStep, t.yStep = turns*all.xStep, turns*all.yStep
	for i := range turns {
		t.pixels = ceilDiv(all.pixels-i, turns)
		t.x, t.y = beyond(all.x, i*all.xStep), beyond(all.y, i*all.yStep)
		of[rows-1](t)
	}
	*t = all
	return true
}

// spreadTile is one call of the depthwise micro-kernel: for each of a row of
// pixels and every channel k,
//
//	y[k] = clamp(bias[k] + sum over taps of x[taps.a + k]*w[taps.b + k], lo, hi)
//
// All distances are in bytes. Assembly reads the fields by name. x and y may
// hold bfloat16, for a micro-kernel of its own.
type spreadTile struct {
	y, x, w, bias *float32 // bias may be nil
	taps          []run
	c, pixels     int
	yStep, xStep  int // from one pixel to the next

	// From one row and column of taps to the next, in x and in w.
	rowStep, colStep, wRow, wCol int

	lo, hi float32
}

// spreadGo is the depthwise micro-kernel in Go.
func spreadGo(t *spreadTile) {
	at := func(p *float32, bytes int) []float32 {
		return unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(p), bytes)), t.c)
	}
	for i := range t.pixels {
		y := at(t.y, i*t.yStep)
		if t.bias != nil {
			copy(y, at(t.bias, 0))
		} else {
			clear(y)
		}
		for _, r := range t.taps {
			vecMulAdd(y, at(t.x, i*t.xStep+r.a), at(t.w, r.b))
		}
		vecClamp(y, y, t.lo, t.hi)
	}
}
