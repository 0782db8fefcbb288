package main

import "fmt"

// maxBack emits the gradient of one window of a max pooling: in every channel,
// the output's gradient is added to the first of the taps that hold the
// maximum (the first NaN, if there is one).
func maxBack(f *file, v vectors) {
	name := "maxBack" + v.name
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	f.declare("%s(t *windowTile)", name)
	f.p("\n// func %s(t *windowTile)", name)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	f.p("	MOVQ t+0(FP), DI")
	for _, s := range []struct{ field, r string }{{"x", "R8"}, {"dx", "R9"}, {"dy", "R10"}, {"c", "CX"}} {
		f.p("	MOVQ windowTile_%s(DI), %s", s.field, s.r)
	}
	f.p("	XORQ AX, AX")
	single(f, v, "block", "done", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		f.p("	MOVQ windowTile_taps(DI), SI")
		f.p("	MOVQ windowTile_taps+8(DI), R13")
		f.p("	MOVQ (SI), DX")
		f.p("	ADDQ R8, DX")
		load("(DX)(AX*1)", r(0))
		f.p("\nmaximum%s:", suffix)
		f.p("	ADDQ $8, SI")
		f.p("	DECQ R13")
		f.p("	JZ found%s", suffix)
		f.p("	MOVQ (SI), DX")
		f.p("	ADDQ R8, DX")
		load("(DX)(AX*1)", r(1))
		f.p("	VMAXPS %s, %s, %s", r(1), r(0), r(2)) // the new value if either is NaN
		if v.masked {
			f.p("	VCMPPS $3, %s, %s, K2", r(0), r(0))
			f.p("	VMOVAPS %s, K2, %s", r(0), r(2))
		} else {
			f.p("	VCMPPS $3, %s, %s, %s", r(0), r(0), r(3))
			f.p("	VBLENDVPS %s, %s, %s, %s", r(3), r(0), r(2), r(2))
		}
		f.p("	VMOVAPS %s, %s", r(2), r(0))
		f.p("	JMP maximum%s", suffix)

		// The lanes still without an owner are K3 or register 6.
		f.p("\nfound%s:", suffix)
		load("(R10)(AX*1)", r(4))
		if v.masked {
			f.p("	KXNORW K3, K3, K3")
		} else {
			f.p("	VPCMPEQD %s, %s, %s", r(6), r(6), r(6))
		}
		f.p("	MOVQ windowTile_taps(DI), SI")
		f.p("	MOVQ windowTile_taps+8(DI), R13")
		f.p("\nadd%s:", suffix)
		f.p("	MOVQ (SI), DX")
		f.p("	LEAQ (DX)(R8*1), R11")
		f.p("	LEAQ (DX)(R9*1), R12")
		load("(R11)(AX*1)", r(1))
		load("(R12)(AX*1)", r(5))
		if v.masked {
			f.p("	VCMPPS $0, %s, %s, K3, K4", r(0), r(1))
			f.p("	VCMPPS $3, %s, %s, K3, K5", r(1), r(1))
			f.p("	KORW K4, K5, K4")
			f.p("	KANDNW K3, K4, K3")
			f.p("	VADDPS %s, %s, K4, %s", r(4), r(5), r(5))
		} else {
			f.p("	VCMPPS $0, %s, %s, %s", r(0), r(1), r(7))
			f.p("	VCMPPS $3, %s, %s, %s", r(1), r(1), r(8))
			f.p("	VORPS %s, %s, %s", r(7), r(8), r(7))
			f.p("	VANDPS %s, %s, %s", r(6), r(7), r(7))
			f.p("	VANDNPS %s, %s, %s", r(6), r(7), r(6))
			f.p("	VANDPS %s, %s, %s", r(4), r(7), r(7))
			f.p("	VADDPS %s, %s, %s", r(7), r(5), r(5))
		}
		store(r(5), "(R12)(AX*1)")
		f.p("	ADDQ $8, SI")
		f.p("	DECQ R13")
		f.p("	JNZ add%s", suffix)
		f.p("	ADDQ $%d, AX", 4*v.width)
		f.p("	SUBQ $%d, CX", v.width)
		f.p("	JMP block")
	})
	f.p("\ndone:")
	f.p("	VZEROUPPER")
	f.p("	RET")
}
