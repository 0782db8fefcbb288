package native

import "github.com/graft-onnx/graft/graph/kernel"

// spread is a gather whose channels do not mix: every channel has its own
// filter, so the loops run along the channels.
type spread struct {
	n, c   int
	h, w   lane
	filter [2]int // height and width of the whole filter

	weights    int // offset of the packed filter in scratch: (taps, c)
	rows, cols [][2]int
}

// valid lists, for every output of an axis, the taps that fall inside.
func (l *lane) valid() [][2]int {
	v := make([][2]int, l.out)
	for i := range v {
		lo, hi := 0, len(l.offset)
		for lo < hi && i*l.step+l.offset[lo] < 0 {
			lo++
		}
		for hi > lo && i*l.step+l.offset[hi-1] >= l.src {
			hi--
		}
		v[i] = [2]int{lo, hi}
	}
	return v
}

func (d *Device) depthwise(p *program, ss []spread, src, filter, bias, dst int, act kernel.Clip) {
	work, cost := 0, 0
	for i := range ss {
		s := &ss[i]
		s.rows, s.cols = s.h.valid(), s.w.valid()
		s.weights = p.reserve(len(s.h.offset) * len(s.w.offset) * s.c)
		work += s.n * s.h.out
		cost = max(cost, s.w.out*s.c*(len(s.h.offset)*len(s.w.offset)+1))
	}
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
	lo, hi := clipBounds(act)
	p.split(work, grain/max(cost, 1)+1, func(from, to int) {
		var b []float32
		if bias >= 0 {
			b = p.f[bias]
		}
		for i := range ss {
			s := &ss[i]
			n := s.n * s.h.out
			for q := max(from, 0); q < min(to, n); q++ {
				s.row(p.f[dst], p.f[src], p.s[s.weights:], b, q/s.h.out, q%s.h.out, lo, hi)
			}
			from, to = from-n, to-n
		}
	})
}

// row computes output row i of image n.
func (s *spread) row(dst, src, weights, bias []float32, n, i int, lo, hi float32) {
	c := s.c
	out := ((n*s.h.dst+s.h.dst0+i*s.h.dstStep)*s.w.dst + s.w.dst0) * c
	vertical := s.rows[i]
	for j := range s.w.out {
		y := dst[out : out+c]
		out += s.w.dstStep * c
		if bias != nil {
			copy(y, bias)
		} else {
			clear(y)
		}
		horizontal := s.cols[j]
		for t := vertical[0]; t < vertical[1]; t++ {
			row := (n*s.h.src + i*s.h.step + s.h.offset[t]) * s.w.src
			for u := horizontal[0]; u < horizontal[1]; u++ {
				at := (row + j*s.w.step + s.w.offset[u]) * c
				k := (t*len(s.w.offset) + u) * c
				vecMulAdd(y, src[at:at+c], weights[k:k+c])
			}
		}
		vecClamp(y, y, lo, hi)
	}
}

// depthwiseFilter is the gradient by the filter. Every share sums over its
// rows into its own (taps, c); the shares' sums are added in order.
func (d *Device) depthwiseFilter(p *program, g kernel.Geometry) {
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
		x, dy := p.f[0], p.f[1]
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
					xs := x[(row+from[u]*w.step+w.offset[u])*g.C:]
					vecDotRows(sum[k:k+g.C], xs, dy[(q*g.OW+from[u])*g.C:], to[u]-from[u], w.step*g.C, g.C)
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
