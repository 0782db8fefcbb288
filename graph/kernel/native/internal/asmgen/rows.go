package main

import "fmt"

// rows emits what the gradient of a softmax and a loss want to know of a row.
func rows(f *file, v vectors) {
	sumRow(f, v)
	nll(f, v)
}

// sumRow emits lanes of sums in float64 over n elements, which the caller puts
// together. n is a multiple of a register, and not 0.
func sumRow(f *file, v vectors) {
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	size := 4 * v.width
	f.declare("sumRow%s(dst *float64, x *float32, n int)", v.name)
	f.p("\n// func sumRow%s(dst *float64, x *float32, n int)", v.name)
	f.p("TEXT ·sumRow%s(SB), NOSPLIT, $0-24", v.name)
	f.p("	MOVQ dst+0(FP), DI")
	f.p("	MOVQ x+8(FP), SI")
	f.p("	MOVQ n+16(FP), CX")
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
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// nll emits the sums of a negative log-likelihood over n rows of c elements:
// minus the elements at the labels, how many of these are the first of the
// largest, how many labels there are. Labels that are ignore, or no column,
// count for nothing.
func nll(f *file, v vectors) {
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	const at, rivals, other = 1, 2, 3 // the element at the label; who beats it
	params := "sum *float64, x *float32, label *int32, n, c int, ignore int32"
	f.declare("nll%s(%s)", v.name, params)
	f.p("\n// func nll%s(%s)", v.name, params)
	f.p("TEXT ·nll%s(SB), NOSPLIT, $0-44", v.name)
	for i, a := range []struct{ p, r string }{{"sum", "DI"}, {"x", "SI"}, {"label", "DX"}, {"n", "R8"}, {"c", "R9"}} {
		f.p("	MOVQ %s+%d(FP), %s", a.p, 8*i, a.r)
	}
	f.p("	MOVLQSX ignore+40(FP), R10")
	f.p("	VXORPS X0, X0, X0")
	f.p("	XORQ R12, R12")
	f.p("	XORQ R13, R13")
	f.p("\nrow:")
	f.p("	MOVLQSX (DX), AX")
	f.p("	CMPQ AX, R10")
	f.p("	JEQ next")
	f.p("	CMPQ AX, R9")
	f.p("	JAE next") // unsigned, so for negative ones too
	f.p("	INCQ R13")
	f.p("	VBROADCASTSS (SI)(AX*4), %s", r(at))
	f.p("	VCVTSS2SD X%d, X%d, X%d", at, at, other)
	f.p("	VSUBSD X%d, X0, X0", other)
	f.p("	VUCOMISS X%d, X%d", at, at)
	f.p("	JPS next") // NaN is never the largest
	// beat notes where the element is less than (or equal to) what lies at R11.
	beat := func(predicate int, tail bool) {
		switch {
		case v.masked && tail:
			f.p("	VCMPPS $%#x, (R11), %s, K1, K3", predicate, r(at))
		case v.masked:
			f.p("	VCMPPS $%#x, (R11), %s, K3", predicate, r(at))
		case tail:
			f.p("	VMASKMOVPS (R11), %s, %s", mask, r(other))
			f.p("	VCMPPS $%#x, %s, %s, %s", predicate, r(other), r(at), r(other))
			f.p("	VANDPS %s, %s, %s", mask, r(other), r(other))
		default:
			f.p("	VCMPPS $%#x, (R11), %s, %s", predicate, r(at), r(other))
		}
		if v.masked {
			f.p("	KORW K3, K2, K2")
		} else {
			f.p("	VORPS %s, %s, %s", r(other), r(rivals), r(rivals))
		}
	}
	// walk compares CX elements from R11 on.
	walk := func(label string, predicate int) {
		f.p("	SUBQ $%d, CX", v.width)
		f.p("	JLT %sTail", label)
		f.p("\n%sLoop:", label)
		beat(predicate, false)
		f.p("	ADDQ $%d, R11", 4*v.width)
		f.p("	SUBQ $%d, CX", v.width)
		f.p("	JGE %sLoop", label)
		f.p("\n%sTail:", label)
		f.p("	ADDQ $%d, CX", v.width)
		f.p("	JZ %sDone", label)
		laneMask(f, v)
		beat(predicate, true)
		f.p("	LEAQ (R11)(CX*4), R11")
		f.p("\n%sDone:", label)
	}
	if v.masked {
		f.p("	KXORW K2, K2, K2")
	} else {
		f.p("	VXORPS %s, %s, %s", r(rivals), r(rivals), r(rivals))
	}
	f.p("	MOVQ SI, R11")
	f.p("	MOVQ AX, CX")
	walk("before", lessOrEqual)
	f.p("	MOVQ R9, CX")
	f.p("	SUBQ AX, CX")
	walk("after", less)
	f.p("	XORQ BX, BX")
	if v.masked {
		f.p("	KORTESTW K2, K2")
	} else {
		f.p("	VMOVMSKPS %s, AX", r(rivals))
		f.p("	TESTL AX, AX")
	}
	f.p("	SETEQ BX")
	f.p("	ADDQ BX, R12")
	f.p("\nnext:")
	f.p("	LEAQ (SI)(R9*4), SI")
	f.p("	ADDQ $4, DX")
	f.p("	DECQ R8")
	f.p("	JNZ row")
	f.p("	VMOVSD X0, (DI)")
	f.p("	VCVTSI2SDQ R12, X0, X0")
	f.p("	VMOVSD X0, 8(DI)")
	f.p("	VCVTSI2SDQ R13, X0, X0")
	f.p("	VMOVSD X0, 16(DI)")
	f.p("	VZEROUPPER")
	f.p("	RET")
}
