package main

import "fmt"

// rows emits what a softmax wants to know of a row: lanes of maxima and of sums
// in float64, which the caller puts together.
func rows(f *file, v vectors) {
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	size := 4 * v.width
	begin := func(name, dst string) {
		f.declare("%s%s(dst *%s, x *float32, n int)", name, v.name, dst)
		f.p("\n// func %s%s(dst *%s, x *float32, n int)", name, v.name, dst)
		f.p("TEXT ·%s%s(SB), NOSPLIT, $0-24", name, v.name)
		f.p("	MOVQ dst+0(FP), DI")
		f.p("	MOVQ x+8(FP), SI")
		f.p("	MOVQ n+16(FP), CX")
	}
	end := func() {
		f.p("	VZEROUPPER")
		f.p("	RET")
	}

	// n is at least a register; the last one may overlap the one before. As
	// the second source, the maximum so far survives a NaN.
	begin("maxRow", "float32")
	f.p("	VMOVUPS (SI), %s", r(0))
	f.p("	LEAQ -%d(SI)(CX*4), DX", size)
	f.p("\nloop:")
	f.p("	ADDQ $%d, SI", size)
	f.p("	CMPQ SI, DX")
	f.p("	JAE last")
	f.p("	VMOVUPS (SI), %s", r(1))
	f.p("	VMAXPS %s, %s, %s", r(0), r(1), r(0))
	f.p("	JMP loop")
	f.p("\nlast:")
	f.p("	VMOVUPS (DX), %s", r(1))
	f.p("	VMAXPS %s, %s, %s", r(0), r(1), r(0))
	f.p("	VMOVUPS %s, (DI)", r(0))
	end()

	// n is a multiple of a register, and not 0.
	begin("sumRow", "float64")
	for i := range 2 {
		f.p("	VXORPS X%d, X%d, X%d", i, i, i)
	}
	f.p("\nloop:")
	for i := range 2 {
		f.p("	VCVTPS2PD %d(SI), %s", i*size/2, r(2+i))
		f.p("	VADDPD %s, %s, %s", r(2+i), r(i), r(i))
	}
	f.p("	ADDQ $%d, SI", size)
	f.p("	SUBQ $%d, CX", v.width)
	f.p("	JNZ loop")
	for i := range 2 {
		f.p("	VMOVUPD %s, %d(DI)", r(i), i*size)
	}
	end()
}
