package native

import (
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

// streamed is how many elements of an argument are widened at a time: enough to
// pay for the calls, few enough for several to stay in the first-level cache.
const streamed = 1024

// rowStretch is the same for kernels that take many rows at a time.
const rowStretch = 4 * streamed

// stretch is a part of every argument, by position: those in bfloat16 and as
// they lie in memory in half, the others in full.
type stretch struct {
	full [][]float32
	half [][]uint16
}

// stream gives the shares of a stage stretches of the arguments: as they lie in
// memory, or those in bfloat16 widened in scratch.
type stream struct {
	p     *program
	plain bool      // nothing is widened
	half  []int     // the bfloat16 arguments
	at    int       // in scratch
	size  int       // elements of a stretch in scratch, at most
	views []stretch // of every share
}

// stream prepares stretches of at most size elements (as long as one likes if
// nothing is widened) of the arguments that have n elements. With plain it
// leaves bfloat16 as it is.
func (p *program) stream(n, parts, size int, plain bool) *stream {
	s := &stream{p: p, plain: plain, size: ceilDiv(size, 16) * 16}
	for i, a := range p.args {
		if a.DType == kernel.BFloat16 && kernel.Len(a.Shape) == n {
			s.half = append(s.half, i)
		}
	}
	if !plain {
		s.at = p.reserve(parts * len(s.half) * s.size)
	}
	n = len(p.args)
	full, halves := make([][]float32, parts*n), make([][]uint16, parts*n)
	for i := range parts {
		s.views = append(s.views, stretch{full[i*n : (i+1)*n], halves[i*n : (i+1)*n]})
	}
	return s
}

// allHalf reports whether the arguments of n elements are all bfloat16, and
// there are instructions for it.
func (p *program) allHalf(n int) bool {
	return p.isa.half != nil && !slices.ContainsFunc(p.args, func(a kernel.Arg) bool {
		return kernel.Len(a.Shape) == n && a.DType != kernel.BFloat16
	})
}

// open returns elements lo to hi-1 of every argument, those of other lengths
// empty; what is only written holds anything.
func (s *stream) open(part, lo, hi int) stretch {
	v := s.views[part]
	for i, f := range s.p.f {
		if v.full[i] = nil; len(f) >= hi {
			v.full[i] = f[lo:hi]
		}
	}
	for k, i := range s.half {
		if s.plain {
			v.half[i] = s.p.h[i][lo:hi]
			continue
		}
		at := s.at + (part*len(s.half)+k)*s.size
		v.full[i] = s.p.s[at : at+hi-lo]
		if s.p.args[i].Dir != kernel.Out {
			s.p.isa.widen(v.full[i], s.p.h[i][lo:hi])
		}
	}
	return v
}

// close stores what was written to the stretches that open returned.
func (s *stream) close(part, lo, hi int) {
	for _, i := range s.half {
		if !s.plain && s.p.args[i].Dir != kernel.In {
			s.p.isa.narrow(s.p.h[i][lo:hi], s.views[part].full[i])
		}
	}
}

// walk calls body with stretches of elements from to until-1, and the first one's
// number: of at most so many where something is widened, of all at once otherwise.
func (s *stream) walk(part, from, until, most int, body func(lo int, a stretch)) {
	step := until - from
	if len(s.half) > 0 && !s.plain {
		step = most
	}
	for lo := from; lo < until; lo += step {
		hi := min(lo+step, until)
		body(lo, s.open(part, lo, hi))
		s.close(part, lo, hi)
	}
}

// read copies elements of an argument from the given one on.
func (p *program) read(to []float32, i, from int) {
	if p.isHalf(i) {
		p.isa.widen(to, p.h[i][from:])
	} else {
		copy(to, p.f[i][from:])
	}
}

// elements appends a step that works on stretches of arguments of one length n;
// body is given every argument's. half, which may be nil, does the same where
// all are bfloat16.
func (p *program) elements(n, grain int, body func(f [][]float32), half func(h [][]uint16)) {
	if n == 0 {
		return
	}
	parts := p.chunks(n, grain)
	plain := half != nil && p.allHalf(n)
	s := p.stream(n, parts, streamed, plain)
	do := func(_ int, a stretch) {
		if plain {
			half(a.half)
		} else {
			body(a.full)
		}
	}
	p.stage(parts, func(part int) {
		from, to := span(n, part, parts, 32)
		s.walk(part, from, to, streamed, do)
	})
}

// rows is elements for work on whole rows of so many elements, in which arguments
// of any type may be stored; body is given the first row's number as well.
func (p *program) rows(rows, width, grain int, body func(row int, f [][]float32)) {
	if rows*width == 0 {
		return
	}
	parts := p.chunks(rows, grain/width+1)
	most := max(rowStretch/width, 1) * width
	s := p.stream(rows*width, parts, most, false)
	do := func(lo int, a stretch) { body(lo/width, a.full) }
	p.stage(parts, func(part int) {
		from, to := span(rows, part, parts, 1)
		s.walk(part, from*width, to*width, most, do)
	})
}
