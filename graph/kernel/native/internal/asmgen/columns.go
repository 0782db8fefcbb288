package main

import (
	"fmt"
	"strings"
)

// columnSums describes a kernel that adds, in float32, the rows of one or two
// streams column by column: s += u, q += u*w. With the single stream x,
// u = w = x-shift; with dy and x, u = dy and w = x-mean. With clip, u is dy
// only where lo < (x-mean)*a + b < hi; with through, where lo < y < hi, and u is
// stored to the last stream. Each column's sums stay in registers for all rows
// of a call.
type columnSums struct {
	name             string
	streams, vectors []string
	clip, through    bool
}

var columnKernels = []columnSums{
	{name: "moments", streams: []string{"x"}, vectors: []string{"shift"}},
	{name: "dots", streams: []string{"dy", "x"}, vectors: []string{"mean"}},
	{name: "dotsClip", streams: []string{"dy", "x"}, vectors: []string{"mean", "a", "b"}, clip: true},
	{name: "dotsThrough", streams: []string{"dy", "x", "y", "dst"}, vectors: []string{"mean"}, through: true},
}

// Registers of pointers: streams and vectors in order, of which no kernel has so
// many that one means both.
var streamPointers, vectorPointers = []string{"R8", "R9", "R12", "R11"}, []string{"R10", "R11", "R12"}

// bounded reports whether a kernel compares something with lo and hi.
func (k columnSums) bounded() bool { return k.clip || k.through }

// emit writes the kernel: s, q and the vectors hold whole vector registers,
// the last columns of the streams are masked.
func (k columnSums) emit(f *file, v vectors) {
	name := k.name + v.name
	element := "float32"
	if v.half {
		element = "uint16"
	}
	params := "s, q *float32, " + strings.Join(k.streams, ", ") + " *" + element + ", " + strings.Join(k.vectors, ", ") + " *float32, n, rows, stride int"
	if k.bounded() {
		params += ", lo, hi float32"
	}
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	at := 0
	arg := func(name, reg string) {
		f.p("	MOVQ %s+%d(FP), %s", name, at, reg)
		at += 8
	}
	size := 8 * (5 + len(k.streams) + len(k.vectors))
	if k.bounded() {
		size += 8
	}
	f.p("TEXT ·%s(SB), NOSPLIT, $0-%d", name, size)
	arg("s", "DI")
	arg("q", "SI")
	for i, s := range k.streams {
		arg(s, streamPointers[i])
	}
	for i, s := range k.vectors {
		arg(s, vectorPointers[i])
	}
	arg("n", "CX")
	arg("rows", "R13")
	arg("stride", "DX")
	if k.bounded() {
		f.p("	VBROADCASTSS lo+%d(FP), %s0", at, v.reg)
		f.p("	VBROADCASTSS hi+%d(FP), %s1", at+4, v.reg)
	}
	if v.half {
		pairSetup(f)
	}
	f.p("	XORQ AX, AX")
	several := 2 // registers of columns at a time, as many as there is room for
	if v.masked {
		several = 4
	}
	f.p("\nblock:")
	f.p("	CMPQ CX, $%d", several*v.width)
	f.p("	JLT column")
	move := func(from, to string) { f.p("	VMOVUPS %s, %s", from, to) }
	k.columns(f, v, several, "Block", move, move)
	f.p("	JMP block")
	// The mask of the last columns is made of CX, which counts columns left.
	single(f, v, "column", "done", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		k.columns(f, v, 1, suffix, load, store)
		f.p("	JMP column")
	})
	f.p("\ndone:")
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// columns emits the sums of n registers of columns over all rows.
func (k columnSums) columns(f *file, v vectors, n int, suffix string, load func(mem, dst string), store func(src, mem string)) {
	next := 0
	take := func(n int) []string {
		r := make([]string, n)
		for i := range r {
			r[i] = fmt.Sprintf("%s%d", v.reg, next)
			next++
		}
		return r
	}
	bounds := take(2)
	s, q := take(n), take(n)
	var held [][]string // vectors
	for range k.vectors {
		held = append(held, take(n))
	}
	u, w, y := take(1)[0], take(1)[0], take(1)[0]
	pair := v.half && n > 1 // two registers of columns at a time
	first := ""             // what through keeps of the first
	if pair && k.through {
		first = take(1)[0]
	}
	size, in := 4*v.width, 4*v.width // of a register in memory, as float32 and as it is in the streams
	read := load
	if v.half {
		in /= 2
		read = widening(f, suffix)
	}
	stream := func(i, j int, r string) {
		if p := streamPointers[j]; pair {
			widenTwo(f, fmt.Sprintf("%d(%s)(BX*1)", i/2*2*in, p), i%2, r)
		} else {
			read(fmt.Sprintf("%d(%s)(BX*1)", i*in, p), r)
		}
	}
	write := func(i, j int, r string) {
		at := func(i int) string { return fmt.Sprintf("%d(%s)(BX*1)", i*in, streamPointers[j]) }
		switch {
		case pair && i%2 == 0:
		case pair:
			f.p("	%s // %s and %s to bfloat16", narrowTwo(number(r), number(first), number(r)), first, r)
			f.p("	VMOVUPS %s, %s", r, at(i-1))
		case v.half:
			narrowing(f, suffix)(r, at(i))
		default:
			store(r, at(i))
		}
	}
	for i := range n {
		f.p("	VMOVUPS %d(DI)(AX*4), %s", i*size, s[i])
		f.p("	VMOVUPS %d(SI)(AX*4), %s", i*size, q[i])
		for j, p := range vectorPointers[:len(k.vectors)] {
			load(fmt.Sprintf("%d(%s)(AX*4)", i*size, p), held[j][i])
		}
	}
	// The next call's rows follow these: R14 is so far ahead of BX.
	f.p("	LEAQ (AX*%d), BX", in/v.width)
	f.p("	MOVQ R13, R14")
	f.p("	IMULQ DX, R14")
	f.p("	ADDQ BX, R14")
	f.p("	MOVQ R13, R15")
	f.p("\n	PCALIGN $32")
	f.p("row%s:", suffix)
	reads := len(k.streams)
	if k.through {
		reads--
	}
	for _, p := range streamPointers[:reads] {
		for line := 0; line < n*in; line += 64 {
			f.p("	PREFETCHT0 %d(%s)(R14*1)", line, p)
		}
	}
	for i := range n {
		g, u := u, u
		if first != "" && i%2 == 0 {
			g, u = first, first
		}
		if stream(i, 0, u); len(k.streams) > 1 {
			stream(i, 1, w)
			f.p("	VSUBPS %s, %s, %s", held[0][i], w, w)
		} else {
			f.p("	VSUBPS %s, %s, %s", held[0][i], u, w)
			g = w
		}
		if k.clip {
			f.p("	VMOVAPS %s, %s", w, y)
			f.p("	VFMADD213PS %s, %s, %s", held[2][i], held[1][i], y)
		} else if k.through {
			stream(i, 2, y)
		}
		if k.bounded() {
			if v.masked {
				f.p("	VCMPPS $%d, %s, %s, K2", greater, bounds[0], y)
				f.p("	VCMPPS $%d, %s, %s, K2, K2", less, bounds[1], y)
				f.p("	VMOVAPS.Z %s, K2, %s", g, g)
			} else {
				spare := take(1)[0]
				next--
				f.p("	VCMPPS $%d, %s, %s, %s", greater, bounds[0], y, spare)
				f.p("	VANDPS %s, %s, %s", spare, g, g)
				f.p("	VCMPPS $%d, %s, %s, %s", less, bounds[1], y, spare)
				f.p("	VANDPS %s, %s, %s", spare, g, g)
			}
		}
		f.p("	VADDPS %s, %s, %s", g, s[i], s[i])
		f.p("	VFMADD231PS %s, %s, %s", g, w, q[i])
		if k.through {
			write(i, 3, g)
		}
	}
	f.p("	ADDQ DX, BX")
	f.p("	ADDQ DX, R14")
	f.p("	DECQ R15")
	f.p("	JNZ row%s", suffix)
	for i := range n {
		f.p("	VMOVUPS %s, %d(DI)(AX*4)", s[i], i*size)
		f.p("	VMOVUPS %s, %d(SI)(AX*4)", q[i], i*size)
	}
	f.p("	ADDQ $%d, AX", n*v.width)
	f.p("	SUBQ $%d, CX", n*v.width)
}

// settle emits dst += x, which is zeroed: n float32, a multiple of a register,
// added to float64.
func settle(f *file, v vectors) {
	const params = "dst *float64, x *float32, n int"
	name, size := "settle"+v.name, 4*v.width
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-24", name)
	f.p("	MOVQ dst+0(FP), DI")
	f.p("	MOVQ x+8(FP), SI")
	f.p("	MOVQ n+16(FP), CX")
	f.p("	VXORPS X0, X0, X0")
	f.p("\nloop:")
	for i := range 2 {
		f.p("	VCVTPS2PD %d(SI), %s", i*size/2, r(1+i))
		f.p("	VADDPD %d(DI), %s, %s", i*size, r(1+i), r(1+i))
		f.p("	VMOVUPD %s, %d(DI)", r(1+i), i*size)
	}
	f.p("	VMOVUPS %s, (SI)", r(0))
	f.p("	ADDQ $%d, DI", 2*size)
	f.p("	ADDQ $%d, SI", size)
	f.p("	SUBQ $%d, CX", v.width)
	f.p("	JNZ loop")
	f.p("	VZEROUPPER")
	f.p("	RET")
}
