package native

import "github.com/graft-onnx/graft/graph/kernel"

// streamed is how many elements of an argument are widened at a time: enough to
// pay for the calls, few enough for several to stay in the first-level cache.
const streamed = 1024

// stream gives the shares of a stage stretches of the arguments as float32: as
// they lie in memory or, those in bfloat16, in scratch.
type stream struct {
	p     *program
	half  []int         // the bfloat16 arguments
	at    int           // in scratch
	size  int           // elements of a stretch in scratch, at most
	views [][][]float32 // of every share and argument
}

// stream prepares stretches of at most size elements (as long as one likes if
// nothing is bfloat16) of the arguments that have n elements.
func (p *program) stream(n, parts, size int) *stream {
	s := &stream{p: p, size: ceilDiv(size, 16) * 16}
	for i, a := range p.args {
		if a.DType == kernel.BFloat16 && kernel.Len(a.Shape) == n {
			s.half = append(s.half, i)
		}
	}
	s.at = p.reserve(parts * len(s.half) * s.size)
	for range parts {
		s.views = append(s.views, make([][]float32, len(p.args)))
	}
	return s
}

// open returns elements lo to hi-1 of every argument, those of other lengths
// empty; what is only written holds anything.
func (s *stream) open(part, lo, hi int) [][]float32 {
	v := s.views[part]
	for i, f := range s.p.f {
		if v[i] = nil; len(f) >= hi {
			v[i] = f[lo:hi]
		}
	}
	for k, i := range s.half {
		at := s.at + (part*len(s.half)+k)*s.size
		v[i] = s.p.s[at : at+hi-lo]
		if s.p.args[i].Dir != kernel.Out {
			s.p.isa.widen(v[i], s.p.h[i][lo:hi])
		}
	}
	return v
}

// close stores what was written to the stretches that open returned.
func (s *stream) close(part, lo, hi int) {
	for _, i := range s.half {
		if s.p.args[i].Dir != kernel.In {
			s.p.isa.narrow(s.p.h[i][lo:hi], s.views[part][i])
		}
	}
}

// begin copies the first elements of an argument.
func (p *program) begin(to []float32, i int) {
	if p.isHalf(i) {
		p.isa.widen(to, p.h[i])
	} else {
		copy(to, p.f[i])
	}
}

// elements appends a step that works on stretches of arguments of one length n;
// body is given every argument's.
func (p *program) elements(n, grain int, body func(f [][]float32)) {
	if n == 0 {
		return
	}
	parts := p.parts(n, grain)
	s := p.stream(n, parts, streamed)
	p.stage(parts, func(part int) {
		from, to := span(n, part, parts, 32)
		step := to - from
		if len(s.half) > 0 {
			step = streamed
		}
		for lo := from; lo < to; lo += step {
			hi := min(lo+step, to)
			body(s.open(part, lo, hi))
			s.close(part, lo, hi)
		}
	})
}
