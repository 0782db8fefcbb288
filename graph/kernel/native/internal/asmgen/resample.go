package main

// blendPixels emits n pixels of c elements, step elements apart: each the sum of
// two pixels of x with weights, as a tap of 24 bytes says.
func blendPixels(f *file, v vectors) {
	name := "blendPixels" + v.name
	weight := [2]string{v.reg + "0", v.reg + "1"}
	sum, spare := v.reg+"2", v.reg+"3"
	const params = "dst, x *float32, taps *blendTap, n, c, step int"
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-48", name)
	for i, a := range []struct{ p, r string }{{"dst", "DI"}, {"x", "SI"}, {"taps", "R8"}, {"n", "DX"}, {"c", "R10"}, {"step", "R9"}} {
		f.p("	MOVQ %s+%d(FP), %s", a.p, 8*i, a.r)
	}
	f.p("	MOVQ R10, CX")
	f.p("	ANDQ $%d, CX", v.width-1)
	laneMask(f, v)
	f.p("	SUBQ CX, R10") // whole vectors
	f.p("\npixel:")
	for i, p := range []string{"R11", "R12"} {
		f.p("	MOVQ %d(R8), %s", 8*i, p)
		f.p("	LEAQ (SI)(%s*4), %s", p, p)
		f.p("	VBROADCASTSS %d(R8), %s", 16+4*i, weight[i])
	}
	f.p("	XORQ AX, AX")
	f.p("	CMPQ AX, R10")
	f.p("	JGE tail")
	f.p("\nvector:")
	f.p("	VMULPS (R11)(AX*4), %s, %s", weight[0], sum)
	f.p("	VFMADD231PS (R12)(AX*4), %s, %s", weight[1], sum)
	f.p("	VMOVUPS %s, (DI)(AX*4)", sum)
	f.p("	ADDQ $%d, AX", v.width)
	f.p("	CMPQ AX, R10")
	f.p("	JLT vector")
	f.p("\ntail:")
	f.p("	TESTQ CX, CX")
	f.p("	JZ next")
	loadMasked(f, v, "(R11)(AX*4)", sum)
	loadMasked(f, v, "(R12)(AX*4)", spare)
	f.p("	VMULPS %s, %s, %s", weight[0], sum, sum)
	f.p("	VFMADD231PS %s, %s, %s", spare, weight[1], sum)
	storeMasked(f, v, sum, "(DI)(AX*4)")
	f.p("\nnext:")
	f.p("	ADDQ $24, R8")
	f.p("	LEAQ (DI)(R9*4), DI")
	f.p("	DECQ DX")
	f.p("	JNZ pixel")
	f.p("	VZEROUPPER")
	f.p("	RET")
}
