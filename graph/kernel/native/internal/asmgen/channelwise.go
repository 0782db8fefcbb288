package main

import "fmt"

// channelwise emits the kernels that run along channels and over pixels.
func channelwise(f *file, v vectors) {
	for _, s := range columnKernels {
		s.emit(f, v)
	}
	dotRows(f, v)
	spread(f, v)
	if !v.half {
		settle(f, v)
		rows(f, v)
	}
	pools(f, v)
}

// laneMask sets the mask of the first CX lanes, fewer than a vector has; it
// uses BX.
func laneMask(f *file, v vectors) {
	if v.masked {
		f.p("	MOVL $1, BX")
		f.p("	SHLL CX, BX")
		f.p("	DECL BX")
		f.p("	KMOVW BX, K1")
		return
	}
	f.p("	LEAQ lanes<>+32(SB), BX")
	f.p("	SHLQ $2, CX")
	f.p("	SUBQ CX, BX")
	f.p("	SHRQ $2, CX")
	f.p("	VMOVDQU (BX), %s", mask)
}

// single emits code for one vector of the CX lanes that are left, twice: whole,
// and masked where fewer lanes are left than a vector has, since masked stores
// are slow, and slower to read back. body must jump to the label again when it
// has taken a vector's lanes from CX.
func single(f *file, v vectors, label, done string, body func(suffix string, load func(mem, dst string), store func(src, mem string))) {
	f.p("\n%s:", label)
	f.p("	TESTQ CX, CX")
	f.p("	JLE %s", done)
	f.p("	CMPQ CX, $%d", v.width)
	f.p("	JLT %sMasked", label)
	body("Whole",
		func(mem, dst string) { f.p("	VMOVUPS %s, %s", mem, dst) },
		func(src, mem string) { f.p("	VMOVUPS %s, %s", src, mem) })
	f.p("\n%sMasked:", label)
	laneMask(f, v)
	body("Masked",
		func(mem, dst string) { loadMasked(f, v, mem, dst) },
		func(src, mem string) { storeMasked(f, v, src, mem) })
}

func loadMasked(f *file, v vectors, mem, dst string) {
	if v.masked {
		f.p("	VMOVUPS.Z %s, K1, %s", mem, dst)
	} else {
		f.p("	VMASKMOVPS %s, %s, %s", mem, mask, dst)
	}
}

func storeMasked(f *file, v vectors, src, mem string) {
	if v.masked {
		f.p("	VMOVUPS %s, K1, %s", src, mem)
	} else {
		f.p("	VMASKMOVPS %s, %s, %s", src, mask, mem)
	}
}

// lanesTable emits the masks that laneMask reads where there are no mask
// registers: eight lanes of ones, then eight of zeros.
func lanesTable(f *file) {
	f.p("")
	for i := range 8 {
		value := "0xffffffffffffffff"
		if i >= 4 {
			value = "0"
		}
		f.p("DATA lanes<>+%d(SB)/8, $%s", 8*i, value)
	}
	f.p("GLOBL lanes<>(SB), RODATA|NOPTR, $64")
}

// dotRows emits dst[c] += sum over n rows of a*b, rows sa and sb bytes apart.
func dotRows(f *file, v vectors) {
	name, size, in := "dotRows"+v.name, 4*v.width, 4*v.width
	params := "dst, a, b *float32, c, n, sa, sb int"
	if v.half {
		in /= 2
		params = "dst *float32, a, b *uint16, c, n, sa, sb int"
	}
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-56", name)
	for i, s := range []struct{ p, r string }{{"dst", "DI"}, {"a", "SI"}, {"b", "DX"}, {"c", "CX"}, {"n", "R8"}, {"sa", "R9"}, {"sb", "R10"}} {
		f.p("	MOVQ %s+%d(FP), %s", s.p, 8*i, s.r)
	}
	f.p("\nblock4:")
	f.p("	CMPQ CX, $%d", 4*v.width)
	f.p("	JLT block1")
	for i := range 4 {
		f.p("	VMOVUPS %d(DI), %s", i*size, r(i))
	}
	f.p("	MOVQ SI, R11")
	f.p("	MOVQ DX, R12")
	f.p("	MOVQ R8, AX")
	f.p("\nrow4:")
	for i := range 4 {
		if v.half {
			widenHalf(f, fmt.Sprintf("%d(R11)", i*in), r(4+i))
			widenHalf(f, fmt.Sprintf("%d(R12)", i*in), r(8+i))
			f.p("	VFMADD231PS %s, %s, %s", r(8+i), r(4+i), r(i))
			continue
		}
		f.p("	VMOVUPS %d(R11), %s", i*size, r(4+i))
		f.p("	VFMADD231PS %d(R12), %s, %s", i*size, r(4+i), r(i))
	}
	f.p("	ADDQ R9, R11")
	f.p("	ADDQ R10, R12")
	f.p("	DECQ AX")
	f.p("	JNZ row4")
	for i := range 4 {
		f.p("	VMOVUPS %s, %d(DI)", r(i), i*size)
	}
	f.p("	ADDQ $%d, DI", 4*size)
	f.p("	ADDQ $%d, SI", 4*in)
	f.p("	ADDQ $%d, DX", 4*in)
	f.p("	SUBQ $%d, CX", 4*v.width)
	f.p("	JMP block4")
	single(f, v, "block1", "done", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		load("(DI)", r(0))
		f.p("	MOVQ SI, R11")
		f.p("	MOVQ DX, R12")
		f.p("	MOVQ R8, AX")
		f.p("\nrow%s:", suffix)
		if v.half {
			load = widening(f, suffix)
		}
		load("(R11)", r(1))
		load("(R12)", r(2))
		f.p("	VFMADD231PS %s, %s, %s", r(1), r(2), r(0))
		f.p("	ADDQ R9, R11")
		f.p("	ADDQ R10, R12")
		f.p("	DECQ AX")
		f.p("	JNZ row%s", suffix)
		store(r(0), "(DI)")
		f.p("	ADDQ $%d, DI", size)
		f.p("	ADDQ $%d, SI", in)
		f.p("	ADDQ $%d, DX", in)
		f.p("	SUBQ $%d, CX", v.width)
		f.p("	JMP block1")
	})
	f.p("\ndone:")
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// spread emits the depthwise micro-kernel: for a row of pixels that see the
// same taps, the weighted sum of the taps in every channel.
func spread(f *file, v vectors) {
	name, size, scale := "spread"+v.name, 4*v.width, 1
	if v.half { // AX counts bytes of x, half of what the weights have
		size, scale = size/2, 2
	}
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	f.declare("%s(t *spreadTile)", name)
	f.p("\n// func %s(t *spreadTile)", name)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	f.p("	MOVQ t+0(FP), DI")
	for _, s := range []struct{ field, r string }{{"y", "R8"}, {"x", "R9"}, {"w", "R10"}, {"bias", "R11"}, {"pixels", "R15"}} {
		f.p("	MOVQ spreadTile_%s(DI), %s", s.field, s.r)
	}
	f.p("	VBROADCASTSS spreadTile_lo(DI), %s", r(12))
	f.p("	VBROADCASTSS spreadTile_hi(DI), %s", r(13))
	f.p("\npixel:")
	f.p("	XORQ AX, AX")
	f.p("	MOVQ spreadTile_c(DI), CX")
	zero := func(n int) {
		for i := range n {
			f.p("	VXORPS X%d, X%d, X%d", i, i, i)
		}
	}
	taps := func(suffix string, body func()) {
		f.p("\nstart%s:", suffix)
		f.p("	MOVQ spreadTile_taps(DI), SI")
		f.p("	MOVQ spreadTile_taps+8(DI), R13")
		f.p("	TESTQ R13, R13")
		f.p("	JZ finish%s", suffix)
		f.p("\ntap%s:", suffix)
		f.p("	MOVQ run_a(SI), DX")
		f.p("	ADDQ R9, DX")
		f.p("	MOVQ run_b(SI), R12")
		f.p("	ADDQ R10, R12")
		body()
		f.p("	ADDQ $run__size, SI")
		f.p("	DECQ R13")
		f.p("	JNZ tap%s", suffix)
		f.p("\nfinish%s:", suffix)
	}
	clamp := func(n int) {
		for i := range n {
			f.p("	VMAXPS %s, %s, %s", r(i), r(12), r(i))
			f.p("	VMINPS %s, %s, %s", r(i), r(13), r(i))
		}
	}

	f.p("\nblock4:")
	f.p("	CMPQ CX, $%d", 4*v.width)
	f.p("	JLT block1")
	f.p("	TESTQ R11, R11")
	f.p("	JZ zero4")
	for i := range 4 {
		f.p("	VMOVUPS %d(R11)(AX*%d), %s", i*size*scale, scale, r(i))
	}
	f.p("	JMP start4")
	f.p("\nzero4:")
	zero(4)
	taps("4", func() {
		for i := range 4 {
			if mem := fmt.Sprintf("%d(DX)(AX*1)", i*size); v.half {
				widenHalf(f, mem, r(4+i))
			} else {
				f.p("	VMOVUPS %s, %s", mem, r(4+i))
			}
			f.p("	VFMADD231PS %d(R12)(AX*%d), %s, %s", i*size*scale, scale, r(4+i), r(i))
		}
	})
	clamp(4)
	for i := range 4 {
		if mem := fmt.Sprintf("%d(R8)(AX*1)", i*size); v.half {
			narrowing(f, "")(r(i), mem)
		} else {
			f.p("	VMOVUPS %s, %s", r(i), mem)
		}
	}
	f.p("	ADDQ $%d, AX", 4*size)
	f.p("	SUBQ $%d, CX", 4*v.width)
	f.p("	JMP block4")

	single(f, v, "block1", "through", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		f.p("	TESTQ R11, R11")
		f.p("	JZ zero%s", suffix)
		load(fmt.Sprintf("(R11)(AX*%d)", scale), r(0))
		f.p("	JMP start%s", suffix)
		f.p("\nzero%s:", suffix)
		zero(1)
		taps(suffix, func() {
			if v.half {
				widening(f, suffix)("(DX)(AX*1)", r(4))
			} else {
				load("(DX)(AX*1)", r(4))
			}
			load(fmt.Sprintf("(R12)(AX*%d)", scale), r(5))
			f.p("	VFMADD231PS %s, %s, %s", r(4), r(5), r(0))
		})
		clamp(1)
		if v.half {
			store = narrowing(f, suffix)
		}
		store(r(0), "(R8)(AX*1)")
		f.p("	ADDQ $%d, AX", size)
		f.p("	SUBQ $%d, CX", v.width)
		f.p("	JMP block1")
	})

	f.p("\nthrough:")
	f.p("	ADDQ spreadTile_yStep(DI), R8")
	f.p("	ADDQ spreadTile_xStep(DI), R9")
	f.p("	DECQ R15")
	f.p("	JNZ pixel")
	f.p("	VZEROUPPER")
	f.p("	RET")
}
