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
	parts := min(p.parts(work*cost, grain), work)
	longest := 0
	for i := range ss {
		longest = max(longest, len(ss[i].h.offset)*len(ss[i].w.offset))
	}
	tiles, taps := make([]spreadTile, parts), make([]run, parts*longest)
	lo, hi := clipBounds(act)
	p.stage(parts, func(part int) {
		t := &tiles[part]
		*t = spreadTile{taps: taps[part*longest : part*longest : (part+1)*longest], lo: lo, hi: hi}
		if bias >= 0 {
			t.bias = unsafe.SliceData(p.f[bias])
		}
		from, to := span(work, part, parts, 1)
		for q := from; q < to; q++ {
			n, at := q/rows, q%rows
			for i := range ss {
				s := &ss[i]
				switch {
				case at%s.h.dstStep != s.h.dst0:
				case half:
					spreadRow(s, d.isa.half.spread, t, p.h[dst], p.h[src], p.s[s.weights:], n, at/s.h.dstStep)
				default:
					spreadRow(s, d.isa.spread, t, p.f[dst], p.f[src], p.s[s.weights:], n, at/s.h.dstStep)
				}
			}
		}
	})
}

// spreadRow computes output row i of image n, in stretches of pixels that see
// the same taps.
func spreadRow[T float32 | uint16](s *spread, compute func(*spreadTile), t *spreadTile, dst, src []T, weights []float32, n, i int) {
	c, size := s.c, int(unsafe.Sizeof(src[0]))
	if c == 0 {
		return
	}
	out := ((n*s.h.dst+s.h.dst0+i*s.h.dstStep)*s.w.dst + s.w.dst0) * c
	vertical := s.rows[i]
	t.c, t.xStep, t.yStep = c, size*s.w.step*c, size*s.w.dstStep*c
	for j := 0; j < s.w.out; j += t.pixels {
		horizontal := s.cols[j]
		t.pixels = 1
		for j+t.pixels < s.w.out && s.cols[j+t.pixels] == horizontal {
			t.pixels++
		}
		t.taps = t.taps[:0]
		first := -1 // source of the first tap
		for k := vertical[0]; k < vertical[1]; k++ {
			row := (n*s.h.src + i*s.h.step + s.h.offset[k]) * s.w.src
			for u := horizontal[0]; u < horizontal[1]; u++ {
				at := (row + j*s.w.step + s.w.offset[u]) * c
				if first < 0 {
					first = at
				}
				t.taps = append(t.taps, run{size * (at - first), 4 * (k*len(s.w.offset) + u) * c})
			}
		}
		if first >= 0 {
			t.x, t.w = (*float32)(unsafe.Pointer(&src[first])), &weights[0]
		}
		t.y = (*float32)(unsafe.Pointer(&dst[out+j*s.w.dstStep*c]))
		compute(t)
	}
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
	yStep, xStep  int
	lo, hi        float32
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

// depthwiseFilter is the gradient by the filter. Every share sums over its
// rows into its own (taps, c); the shares' sums are added in order. half says
// that x and dy are bfloat16.
func (d *Device) depthwiseFilter(p *program, g kernel.Geometry, half bool) {
	h := forwardLane(g.H, g.OH, g.KH, g.StrideH, g.DilationH, g.PadTop)
	w := forwardLane(g.W, g.OW, g.KW, g.StrideW, g.DilationW, g.PadLeft)
	rows, cols := h.valid(), w.valid()
	// The outputs that see tap u are a range.
	var from, to []int
	for u := range g.KW {
		lo, hi := g.OW, 0
		for j, v := range cols {
			if u >= v[0] && u < v[1] {
				lo, hi = min(lo, j), j+1
			}
		}
		from, to = append(from, min(lo, hi)), append(to, hi)
	}
	taps := g.KH * g.KW
	work := g.N * g.OH
	parts := min(p.parts(work*g.OW*g.C*taps, grain), max(work, 1))
	at := p.reserve(parts * taps * g.C)
	p.stage(parts, func(part int) {
		sum := p.s[at+part*taps*g.C : at+(part+1)*taps*g.C]
		clear(sum)
		lo, hi := span(work, part, parts, 1)
		for q := lo; q < hi; q++ {
			n, i := q/g.OH, q%g.OH
			for t := rows[i][0]; t < rows[i][1]; t++ {
				row := (n*g.H + i*h.step + h.offset[t]) * g.W
				for u := range g.KW {
					if from[u] >= to[u] {
						continue
					}
					k := (t*g.KW + u) * g.C
					x, dy, n := (row+from[u]*w.step+w.offset[u])*g.C, (q*g.OW+from[u])*g.C, to[u]-from[u]
					if half {
						p.isa.half.dotRows(sum[k:k+g.C], p.h[0][x:], p.h[1][dy:], n, w.step*g.C, g.C)
					} else {
						p.isa.dotRows(sum[k:k+g.C], p.f[0][x:], p.f[1][dy:], n, w.step*g.C, g.C)
					}
				}
			}
		}
	})
	p.stage(1, func(int) {
		dw := p.f[2]
		for t := range taps {
			for c := range g.C {
				s := float32(0)
				for part := range parts {
					s += p.s[at+(part*taps+t)*g.C+c]
				}
				dw[c*taps+t] = s
			}
		}
	})
}
