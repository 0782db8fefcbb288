package native

import "github.com/graft-onnx/graft/graph/kernel"

// paired reports whether the source channels of a convolution come in pairs: an
// odd number of them is padded, which groups leave no room for.
func paired(g kernel.Geometry) bool {
	return g.Groups == 1 || g.C/g.Groups%2 == 0 && g.O/g.Groups%2 == 0
}

// halfConv compiles a convolution on bfloat16, or reports that it cannot: it is
// the convolution of words, pairs of channels, as if each were one number.
func (d *Device) halfConv(p *program, c kernel.Conv) bool {
	g := c.Geometry
	bias := -1
	if c.Bias {
		bias = 2
	}
	y := len(p.args) - 1
	if !paired(g) && !g.Depthwise() || p.isHalf(1) || c.Bias && p.isHalf(bias) {
		return false
	}
	if g.Depthwise() {
		both := p.isHalf(0) && p.isHalf(y)
		if both {
			d.depthwise(p, forwardSpread(g), 0, 1, bias, y, c.Act, true)
		}
		return both
	}
	cg := g.C / g.Groups
	x := p.rowWords(0, g.N*g.H*g.W, g.C)
	gs, w := forwardGather(g, ceilDiv(cg, 2)), p.arg(1)
	if cg%2 == 1 {
		w = p.rowWords(1, g.O*g.KH*g.KW, cg)
	} else {
		gs[0].narrow = true
	}
	d.gathers(p, gs, x, w, bias, y, c.Act, true)
	return true
}

// halfConvBackwardData is the same for the gradient by the data.
func (d *Device) halfConvBackwardData(p *program, c kernel.ConvBackwardData) bool {
	g := c.Geometry
	if !paired(g) && !g.Depthwise() || p.isHalf(1) {
		return false
	}
	if g.Depthwise() {
		both := p.isHalf(0) && p.isHalf(2)
		if both {
			d.depthwise(p, backwardSpreads(g), 0, 1, -1, 2, kernel.Clip{}, true)
		}
		return both
	}
	dy := p.rowWords(0, g.N*g.OH*g.OW, g.O)
	gs := backwardGathers(g, ceilDiv(g.O/g.Groups, 2))
	for i := range gs {
		gs[i].narrow, gs[i].below, gs[i].odd = true, true, g.O%2 == 1
	}
	d.gathers(p, gs, dy, p.arg(1), -1, 2, kernel.Clip{}, true)
	return true
}

// isHalf reports whether an argument is bfloat16.
func (p *program) isHalf(i int) bool { return p.args[i].DType == kernel.BFloat16 }

// rowWords returns argument i, n rows of c elements, as words of neighbours in
// a row, with a zero beside the last of an odd number. It is converted in
// scratch unless it lies so in memory.
func (p *program) rowWords(i, n, c int) operand {
	half := p.isHalf(i)
	if half && c%2 == 0 {
		return func() []float32 { return words(p.h[i]) }
	}
	wide := (c + 1) / 2 * 2
	at := p.reserve(n * wide / 2)
	to := func() []uint16 { return halves(p.s[at : at+n*wide/2]) }
	if c%2 == 0 {
		p.splitAligned(n*c, grain, 32, func(lo, hi int) { p.isa.narrow(to()[lo:hi], p.f[i][lo:hi]) })
	} else {
		p.padRows(i, n, c, to)
	}
	return func() []float32 { return p.s[at : at+n*wide/2] }
}

// padRows writes argument i, n rows of an odd number c of elements, as
// bfloat16 with a zero after each row.
func (p *program) padRows(i, n, c int, to func() []uint16) {
	several := max(1, streamed/c)
	parts := p.parts(n, grain/(c+1)+1)
	size := ceilDiv(several*c, 2)
	at := p.reserve(parts * size)
	p.stage(parts, func(part int) {
		to, narrowed := to(), halves(p.s[at+part*size:at+(part+1)*size])
		for lo, hi := span(n, part, parts, 1); lo < hi; lo += several {
			rows := min(several, hi-lo)
			from := narrowed[:rows*c]
			if p.isHalf(i) {
				from = p.h[i][lo*c : (lo+rows)*c]
			} else {
				p.isa.narrow(from, p.f[i][lo*c:])
			}
			padEach(to[lo*(c+1):(lo+rows)*(c+1)], from, c)
		}
	})
}

// padEach puts a zero after every c elements.
func padEach(to, from []uint16, c int) {
	if c == 3 { // pictures
		for ; len(from) >= 3; from, to = from[3:], to[4:] {
			to[0], to[1], to[2], to[3] = from[0], from[1], from[2], 0
		}
		return
	}
	for ; len(from) > 0; from, to = from[c:], to[c+1:] {
		copy(to, from[:c])
		to[c] = 0
	}
}

// halfElements returns argument i as bfloat16, converted in scratch if need be.
func (p *program) halfElements(i int) func() []uint16 {
	if p.isHalf(i) {
		return func() []uint16 { return p.h[i] }
	}
	n := kernel.Len(p.args[i].Shape)
	at := p.reserve(ceilDiv(n, 2))
	to := func() []uint16 { return halves(p.s[at : at+ceilDiv(n, 2)]) }
	p.splitAligned(n, grain, 32, func(lo, hi int) { p.isa.narrow(to()[lo:hi], p.f[i][lo:hi]) })
	return to
}
