package main

import "fmt"

// pools emits the max pooling of a row of pixels that see the same taps, and
// its gradient. A NaN among the taps is their maximum, the first if there are
// several.
func pools(f *file, v vectors) {
	p := pool{f, v, 4 * v.width, 1}
	if v.half { // AX counts bytes of x, half of what dx has
		p.size, p.scale = p.size/2, 2
	}
	p.emit("maxWindow", 4, func() {}, p.window)
	several := 1 // vectors at a time, as many as there are registers for
	if v.masked {
		several = 4
	}
	p.emit("maxBack", several, p.ones, p.back)
}

type pool struct {
	*file
	vectors
	size, scale int // bytes of a vector of x; bytes of dx for one of x
}

func (p *pool) r(i int) string { return fmt.Sprintf("%s%d", p.reg, i) }

// emit emits a kernel whose body takes n vectors, several or one, of the CX
// channels that are left of the pixel, from AX on; load and store move float32.
// setup comes before all.
func (p *pool) emit(name string, several int, setup func(), body func(n int, suffix string, load func(mem, dst string), store func(src, mem string))) {
	name += p.name
	p.declare("%s(t *windowTile)", name)
	p.p("\n// func %s(t *windowTile)", name)
	p.p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	p.p("	MOVQ t+0(FP), DI")
	for _, s := range []struct{ field, r string }{{"x", "R8"}, {"dx", "R9"}, {"y", "R10"}, {"pixels", "R15"}} {
		p.p("	MOVQ windowTile_%s(DI), %s", s.field, s.r)
	}
	setup()
	p.p("\npixel:")
	p.p("	XORQ AX, AX")
	p.p("	MOVQ windowTile_c(DI), CX")
	if several > 1 {
		p.p("\nblock:")
		p.p("	CMPQ CX, $%d", several*p.width)
		p.p("	JLT block1")
		move := func(from, to string) { p.p("	VMOVUPS %s, %s", from, to) }
		body(several, "Block", move, move)
		p.p("	JMP block")
	}
	single(p.file, p.vectors, "block1", "through", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		body(1, suffix, load, store)
		p.p("	JMP block1")
	})
	p.p("\nthrough:")
	for _, s := range []struct{ field, r string }{{"xStep", "R8"}, {"dxStep", "R9"}, {"yStep", "R10"}} {
		p.p("	ADDQ windowTile_%s(DI), %s", s.field, s.r)
	}
	p.p("	DECQ R15")
	p.p("	JNZ pixel")
	p.p("	VZEROUPPER")
	p.p("	RET")
}

// loader and store move vectors of x and y.
func (p *pool) loader(suffix string) func(mem, dst string) {
	switch {
	case p.half:
		return widening(p.file, suffix)
	case suffix == "Masked":
		return func(mem, dst string) { loadMasked(p.file, p.vectors, mem, dst) }
	}
	return func(mem, dst string) { p.p("	VMOVUPS %s, %s", mem, dst) }
}

func (p *pool) store(n int, suffix string) {
	for i := range n {
		switch mem := fmt.Sprintf("%d(R10)(AX*1)", i*p.size); {
		case p.half:
			narrowing(p.file, suffix)(p.r(i), mem)
		case suffix == "Masked":
			storeMasked(p.file, p.vectors, p.r(i), mem)
		default:
			p.p("	VMOVUPS %s, %s", p.r(i), mem)
		}
	}
	p.through(n)
}

// through goes on to the next channels.
func (p *pool) through(n int) {
	p.p("	ADDQ $%d, AX", n*p.size)
	p.p("	SUBQ $%d, CX", n*p.width)
}

// window takes n vectors of a max pooling.
func (p *pool) window(n int, suffix string, _ func(mem, dst string), _ func(src, mem string)) {
	value := func(i int) string { return p.r(4 + i) }
	p.maximum(n, suffix, value, func() {}, func(i int) {
		so, v := p.r(i), value(i)
		// The new value if either is NaN, unless the one so far is.
		if p.masked {
			p.p("	VCMPPS $7, %s, %s, K2", so, so)
			p.p("	VMAXPS %s, %s, K2, %s", v, so, so)
			return
		}
		nan, larger := p.r(8), p.r(9)
		p.p("	VCMPPS $3, %s, %s, %s", so, so, nan)
		p.p("	VMAXPS %s, %s, %s", v, so, larger)
		p.p("	VBLENDVPS %s, %s, %s, %s", nan, so, larger, so)
	})
	p.store(n, suffix)
}

// maximum leaves that of the taps in registers 0 to n-1. For every tap but the
// first it emits next, and then better for every vector, which takes the value
// over if it is larger.
func (p *pool) maximum(n int, suffix string, value func(i int) string, next func(), better func(i int)) {
	read := p.loader(suffix)
	load := func(to func(i int) string, then func(i int)) {
		p.p("	MOVQ run_a(SI), DX")
		p.p("	ADDQ R8, DX")
		for i := range n {
			read(fmt.Sprintf("%d(DX)(AX*1)", i*p.size), to(i))
			then(i)
		}
	}
	p.taps()
	load(p.r, func(int) {})
	p.p("\nmaximum%s:", suffix)
	p.p("	ADDQ $run__size, SI")
	p.p("	DECQ R13")
	p.p("	JZ found%s", suffix)
	next()
	load(value, better)
	p.p("	JMP maximum%s", suffix)
	p.p("\nfound%s:", suffix)
}

// taps starts over with them: SI is at the first, R13 counts them.
func (p *pool) taps() {
	p.p("	MOVQ windowTile_taps(DI), SI")
	p.p("	MOVQ windowTile_taps+8(DI), R13")
}

// one is the register that ones fills with the number 1.
func (p *pool) one() string {
	if p.masked {
		return p.r(31)
	}
	return p.r(14)
}

func (p *pool) ones() {
	if p.masked {
		p.p("	MOVL $1, BX")
		p.p("	VPBROADCASTD BX, %s", p.one())
		return
	}
	p.p("	VPCMPEQD %s, %s, %s", p.one(), p.one(), p.one())
	p.p("	VPSRLD $31, %s, %s", p.one(), p.one())
}

// back adds the gradient of n vectors of y to the first tap of x that holds the
// maximum, whose number it keeps beside the maximum.
func (p *pool) back(n int, suffix string, load func(mem, dst string), store func(src, mem string)) {
	value, index := func(i int) string { return p.r(n + i) }, func(i int) string { return p.r(2*n + i) }
	dy := func(i int) string { return p.r(3*n + i) }
	tap, spare := p.r(4*n), p.r(4*n+1)
	zero := func(r string) { p.p("	VXORPS %s, %s, %s", r, r, r) }
	zero(tap)
	read := p.loader(suffix)
	for i := range n {
		read(fmt.Sprintf("%d(R10)(AX*1)", i*p.size), dy(i))
		zero(index(i))
	}
	count := func() { p.p("	VPADDD %s, %s, %s", p.one(), tap, tap) }
	p.maximum(n, suffix, value, count, func(i int) {
		so, v := p.r(i), value(i)
		// Not (value <= most), as which a NaN counts, unless the most is one.
		if p.masked {
			p.p("	VCMPPS $7, %s, %s, K2", so, so)
			p.p("	VCMPPS $6, %s, %s, K2, K2", so, v)
			p.p("	VMOVAPS %s, K2, %s", v, so)
			p.p("	VMOVDQA32 %s, K2, %s", tap, index(i))
			return
		}
		number := p.r(4*n + 2)
		p.p("	VCMPPS $7, %s, %s, %s", so, so, number)
		p.p("	VCMPPS $6, %s, %s, %s", so, v, spare)
		p.p("	VANDPS %s, %s, %s", number, spare, spare)
		p.p("	VBLENDVPS %s, %s, %s, %s", spare, v, so, so)
		p.p("	VBLENDVPS %s, %s, %s, %s", spare, tap, index(i), index(i))
	})
	p.taps()
	zero(tap)
	p.p("\nadd%s:", suffix)
	p.p("	MOVQ run_b(SI), R12")
	p.p("	ADDQ R9, R12")
	for i := range n {
		at := fmt.Sprintf("%d(R12)(AX*%d)", i*p.size*p.scale, p.scale)
		load(at, value(i))
		if p.masked {
			p.p("	VPCMPEQD %s, %s, K2", tap, index(i))
			p.p("	VADDPS %s, %s, K2, %s", dy(i), value(i), value(i))
		} else {
			p.p("	VPCMPEQD %s, %s, %s", tap, index(i), spare)
			p.p("	VANDPS %s, %s, %s", dy(i), spare, spare)
			p.p("	VADDPS %s, %s, %s", spare, value(i), value(i))
		}
		store(value(i), at)
	}
	count()
	p.p("	ADDQ $run__size, SI")
	p.p("	DECQ R13")
	p.p("	JNZ add%s", suffix)
	p.through(n)
}
