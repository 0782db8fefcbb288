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
	w := p.rowWords(1, g.O*g.KH*g.KW, cg)
	d.gathers(p, forwardGather(g, ceilDiv(cg, 2)), x, w, bias, y, c.Act, true)
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
	w := p.columnWords(1, g.O, g.KH*g.KW*g.C/g.Groups)
	d.gathers(p, backwardGathers(g, ceilDiv(g.O/g.Groups, 2)), dy, w, -1, 2, kernel.Clip{}, true)
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
	switch {
	case c%2 == 0:
		p.splitAligned(n*c, grain, 32, func(lo, hi int) { p.isa.narrow(to()[lo:hi], p.f[i][lo:hi]) })
	default:
		p.split(n, grain/wide+1, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				row := to()[r*wide : (r+1)*wide]
				if half {
					copy(row, p.h[i][r*c:(r+1)*c])
				} else {
					p.isa.narrow(row[:c], p.f[i][r*c:(r+1)*c])
				}
				row[c] = 0
			}
		})
	}
	return func() []float32 { return p.s[at : at+n*wide/2] }
}

// columnWords returns argument i, n rows of c elements in float32, as rows of
// words of two neighbours in a column, with zeros below the last of an odd
// number.
func (p *program) columnWords(i, n, c int) operand {
	pairs := ceilDiv(n, 2)
	at := p.reserve(pairs * c)
	below := p.reserve(c * (n % 2))
	if n%2 == 1 {
		p.stage(1, func(int) { clear(p.s[below : below+c]) })
	}
	p.split(pairs, grain/max(c, 1)+1, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			a, b := p.f[i][2*r*c:], p.s[below:]
			if 2*r+1 < n {
				b = a[c:]
			}
			p.isa.half.narrowPair(p.s[at+r*c:at+(r+1)*c], a, b)
		}
	})
	return func() []float32 { return p.s[at : at+pairs*c] }
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
