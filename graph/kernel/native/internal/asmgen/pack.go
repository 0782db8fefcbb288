package main

import "fmt"

// transpose emits the packing of a filter: as many rows as a vector has lanes,
// n times 4 elements of each, srcRow bytes apart, become n times 4 vectors,
// dstRow bytes apart. A register gathers 4 elements of every fourth row; what
// is left to do are transpositions of 4 by 4 within its quarters.
func transpose(f *file, v vectors) {
	name := "transpose" + v.name
	params := "dst, src *float32, n, dstRow, srcRow int"
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-40", name)
	for i, s := range []struct{ p, r string }{{"dst", "DI"}, {"src", "SI"}, {"n", "CX"}, {"dstRow", "DX"}, {"srcRow", "R8"}} {
		f.p("	MOVQ %s+%d(FP), %s", s.p, 8*i, s.r)
	}
	f.p("	LEAQ (R8)(R8*2), R9")
	f.p("	LEAQ (DX)(DX*2), R10")
	bases := []string{"SI", "R11", "R12", "R13"}[:v.width/4]
	for i := 1; i < len(bases); i++ {
		f.p("	LEAQ (%s)(R8*4), %s", bases[i-1], bases[i])
	}
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	f.p("\n	PCALIGN $32")
	f.p("loop:")
	for i, at := range []string{"(%s)", "(%s)(R8*1)", "(%s)(R8*2)", "(%s)(R9*1)"} {
		f.p("	VMOVUPS "+at+", X%d", "SI", i)
		for lane, base := range bases[1:] {
			mem := fmt.Sprintf(at, base)
			if v.masked {
				f.p("	VINSERTF32X4 $%d, %s, %s, %s", lane+1, mem, r(i), r(i))
			} else {
				f.p("	VINSERTF128 $%d, %s, %s, %s", lane+1, mem, r(i), r(i))
			}
		}
	}
	for i, op := range []struct {
		name string
		a, b int
	}{{"VUNPCKLPS", 0, 1}, {"VUNPCKHPS", 0, 1}, {"VUNPCKLPS", 2, 3}, {"VUNPCKHPS", 2, 3},
		{"VUNPCKLPD", 4, 6}, {"VUNPCKHPD", 4, 6}, {"VUNPCKLPD", 5, 7}, {"VUNPCKHPD", 5, 7}} {
		f.p("	%s %s, %s, %s", op.name, r(op.b), r(op.a), r(4+i))
	}
	for i, mem := range []string{"(DI)", "(DI)(DX*1)", "(DI)(DX*2)", "(DI)(R10*1)"} {
		f.p("	VMOVUPS %s, %s", r(8+i), mem)
	}
	f.p("	LEAQ (DI)(DX*4), DI")
	for _, base := range bases {
		f.p("	ADDQ $16, %s", base)
	}
	f.p("	DECQ CX")
	f.p("	JNZ loop")
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// columns emits the copy of n rows of up to two vectors, srcRow bytes apart,
// to rows of two vectors. first and second mask the lanes that there are;
// the others become zero.
func columns(f *file, v vectors) {
	name, size := "columns"+v.name, 4*v.width
	const params = "dst, src *float32, n, srcRow int, first, second *int32"
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-48", name)
	for i, s := range []struct{ p, r string }{{"dst", "DI"}, {"src", "SI"}, {"n", "CX"}, {"srcRow", "R8"}, {"first", "R9"}, {"second", "R10"}} {
		f.p("	MOVQ %s+%d(FP), %s", s.p, 8*i, s.r)
	}
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	for i, from := range []string{"R9", "R10"} {
		if v.masked {
			f.p("	VMOVDQU32 (%s), %s", from, r(0))
			f.p("	VPMOVD2M %s, K%d", r(0), i+1)
		} else {
			f.p("	VMOVDQU (%s), %s", from, r(14+i))
		}
	}
	f.p("\n	PCALIGN $32")
	f.p("loop:")
	for i := range 2 {
		if v.masked {
			f.p("	VMOVUPS.Z %d(SI), K%d, %s", i*size, i+1, r(i))
		} else {
			f.p("	VMASKMOVPS %d(SI), %s, %s", i*size, r(14+i), r(i))
		}
	}
	for i := range 2 {
		f.p("	VMOVUPS %s, %d(DI)", r(i), i*size)
	}
	f.p("	ADDQ R8, SI")
	f.p("	ADDQ $%d, DI", 2*size)
	f.p("	DECQ CX")
	f.p("	JNZ loop")
	f.p("	VZEROUPPER")
	f.p("	RET")
}
