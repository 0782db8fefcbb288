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
	p.emit("maxWindow", func() {
		f.p("\nblock4:")
		f.p("	CMPQ CX, $%d", 4*v.width)
		f.p("	JLT block1")
		p.maximum(4, "4", p.loader(""))
		p.store(4, "")
		f.p("	JMP block4")
		single(f, v, "block1", "through", func(suffix string, _ func(mem, dst string), _ func(src, mem string)) {
			p.maximum(1, suffix, p.loader(suffix))
			p.store(1, suffix)
			f.p("	JMP block1")
		})
	})
	p.emit("maxBack", func() {
		if !v.masked {
			single(f, v, "block1", "through", p.back)
			return
		}
		f.p("	MOVL $1, BX")
		f.p("	VPBROADCASTD BX, Z17")
		f.p("\nblock4:")
		f.p("	CMPQ CX, $%d", 4*v.width)
		f.p("	JLT block1")
		whole := func(mem, r string) { f.p("	VMOVUPS %s, %s", mem, r) }
		p.backByIndex(4, "4", whole, func(r, mem string) { f.p("	VMOVUPS %s, %s", r, mem) })
		f.p("	JMP block4")
		single(f, v, "block1", "through", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
			p.backByIndex(1, suffix, load, store)
			f.p("	JMP block1")
		})
	})
}

type pool struct {
	*file
	vectors
	size, scale int // bytes of a vector of x; bytes of dx for one of x
}

func (p *pool) r(i int) string { return fmt.Sprintf("%s%d", p.reg, i) }

// emit emits a kernel whose body takes CX channels of the pixel, from AX on.
func (p *pool) emit(name string, body func()) {
	name += p.name
	p.declare("%s(t *windowTile)", name)
	p.p("\n// func %s(t *windowTile)", name)
	p.p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	p.p("	MOVQ t+0(FP), DI")
	for _, s := range []struct{ field, r string }{{"x", "R8"}, {"dx", "R9"}, {"y", "R10"}, {"pixels", "R15"}} {
		p.p("	MOVQ windowTile_%s(DI), %s", s.field, s.r)
	}
	p.p("\npixel:")
	p.p("	XORQ AX, AX")
	p.p("	MOVQ windowTile_c(DI), CX")
	body()
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

// maximum leaves that of the taps in registers 0 to n-1.
func (p *pool) maximum(n int, suffix string, load func(mem, dst string)) {
	first := func() {
		p.p("	MOVQ run_a(SI), DX")
		p.p("	ADDQ R8, DX")
	}
	at := func(i int) string { return fmt.Sprintf("%d(DX)(AX*1)", i*p.size) }
	p.p("	MOVQ windowTile_taps(DI), SI")
	p.p("	MOVQ windowTile_taps+8(DI), R13")
	first()
	for i := range n {
		load(at(i), p.r(i))
	}
	p.p("\nmaximum%s:", suffix)
	p.p("	ADDQ $run__size, SI")
	p.p("	DECQ R13")
	p.p("	JZ found%s", suffix)
	first()
	for i := range n {
		so, v := p.r(i), p.r(4+i)
		load(at(i), v)
		// The new value if either is NaN, unless the one so far is.
		if p.masked {
			p.p("	VCMPPS $7, %s, %s, K2", so, so)
			p.p("	VMAXPS %s, %s, K2, %s", v, so, so)
			continue
		}
		nan, larger := p.r(8), p.r(9)
		p.p("	VCMPPS $3, %s, %s, %s", so, so, nan)
		p.p("	VMAXPS %s, %s, %s", v, so, larger)
		p.p("	VBLENDVPS %s, %s, %s, %s", nan, so, larger, so)
	}
	p.p("	JMP maximum%s", suffix)
	p.p("\nfound%s:", suffix)
}

// backByIndex adds the gradient of n vectors of y, keeping the number of the tap
// that holds the maximum so far beside it; Z17 holds ones. load and store move
// float32.
func (p *pool) backByIndex(n int, suffix string, load func(mem, dst string), store func(src, mem string)) {
	const tap, one = "Z16", "Z17"
	most, value := func(i int) string { return p.r(i) }, func(i int) string { return p.r(4 + i) }
	index, dy := func(i int) string { return p.r(8 + i) }, func(i int) string { return p.r(12 + i) }
	read := p.loader(suffix)
	if n > 1 {
		read = p.loader("")
	}
	start := func() {
		p.p("	MOVQ windowTile_taps(DI), SI")
		p.p("	MOVQ windowTile_taps+8(DI), R13")
		p.p("	VPXORD %s, %s, %s", tap, tap, tap)
	}
	start()
	p.p("	MOVQ run_a(SI), DX")
	p.p("	ADDQ R8, DX")
	for i := range n {
		read(fmt.Sprintf("%d(DX)(AX*1)", i*p.size), most(i))
		read(fmt.Sprintf("%d(R10)(AX*1)", i*p.size), dy(i))
		p.p("	VPXORD %s, %s, %s", index(i), index(i), index(i))
	}
	p.p("\nmaximum%s:", suffix)
	p.p("	ADDQ $run__size, SI")
	p.p("	DECQ R13")
	p.p("	JZ found%s", suffix)
	p.p("	MOVQ run_a(SI), DX")
	p.p("	ADDQ R8, DX")
	p.p("	VPADDD %s, %s, %s", one, tap, tap)
	for i := range n {
		read(fmt.Sprintf("%d(DX)(AX*1)", i*p.size), value(i))
		// Not (value <= most), as which a NaN counts, unless the most is one.
		p.p("	VCMPPS $7, %s, %s, K2", most(i), most(i))
		p.p("	VCMPPS $6, %s, %s, K2, K2", most(i), value(i))
		p.p("	VMOVAPS %s, K2, %s", value(i), most(i))
		p.p("	VMOVDQA32 %s, K2, %s", tap, index(i))
	}
	p.p("	JMP maximum%s", suffix)
	p.p("\nfound%s:", suffix)
	start()
	p.p("\nadd%s:", suffix)
	p.p("	MOVQ run_b(SI), R12")
	p.p("	ADDQ R9, R12")
	for i := range n {
		at := fmt.Sprintf("%d(R12)(AX*%d)", i*p.size*p.scale, p.scale)
		load(at, value(i))
		p.p("	VPCMPEQD %s, %s, K2", tap, index(i))
		p.p("	VADDPS %s, %s, K2, %s", dy(i), value(i), value(i))
		store(value(i), at)
	}
	p.p("	VPADDD %s, %s, %s", one, tap, tap)
	p.p("	ADDQ $run__size, SI")
	p.p("	DECQ R13")
	p.p("	JNZ add%s", suffix)
	p.through(n)
}

// back adds the gradient of one vector of y to the first tap of x that holds
// the maximum, without masks.
func (p *pool) back(suffix string, load func(mem, dst string), store func(src, mem string)) {
	const x, dx = 1, 2
	r := p.r
	read := p.loader(suffix)
	p.maximum(1, suffix, read)
	// The lanes still without an owner are register 6.
	read("(R10)(AX*1)", r(3))
	p.p("	VPCMPEQD %s, %s, %s", r(6), r(6), r(6))
	p.p("	MOVQ windowTile_taps(DI), SI")
	p.p("	MOVQ windowTile_taps+8(DI), R13")
	p.p("\nadd%s:", suffix)
	p.p("	MOVQ run_a(SI), R11")
	p.p("	ADDQ R8, R11")
	p.p("	MOVQ run_b(SI), R12")
	p.p("	ADDQ R9, R12")
	read("(R11)(AX*1)", r(x))
	at := fmt.Sprintf("(R12)(AX*%d)", p.scale)
	load(at, r(dx))
	p.p("	VCMPPS $0, %s, %s, %s", r(0), r(x), r(7))
	p.p("	VCMPPS $3, %s, %s, %s", r(x), r(x), r(8))
	p.p("	VORPS %s, %s, %s", r(7), r(8), r(7))
	p.p("	VANDPS %s, %s, %s", r(6), r(7), r(7))
	p.p("	VANDNPS %s, %s, %s", r(6), r(7), r(6))
	p.p("	VANDPS %s, %s, %s", r(3), r(7), r(7))
	p.p("	VADDPS %s, %s, %s", r(7), r(dx), r(dx))
	store(r(dx), at)
	p.p("	ADDQ $run__size, SI")
	p.p("	DECQ R13")
	p.p("	JNZ add%s", suffix)
	p.through(1)
	p.p("	JMP block1")
}
