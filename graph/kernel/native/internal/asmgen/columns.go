package main

import (
	"fmt"
	"strings"
)

// columnSums describes a kernel that adds, in float64, the rows of one or two
// streams column by column: s += u, q += u*w. With the single stream x,
// u = w = x-shift; with dy and x, u = dy and w = x-mean. With clip, u is dy
// only where lo < (x-mean)*a + b < hi. Each column's sums stay in registers
// for all rows of a call, and the rows are read side by side.
type columnSums struct {
	name             string
	streams, vectors []string
	clip             bool
}

var columnKernels = []columnSums{
	{name: "moments", streams: []string{"x"}, vectors: []string{"shift"}},
	{name: "dots", streams: []string{"dy", "x"}, vectors: []string{"mean"}},
	{name: "dotsClip", streams: []string{"dy", "x"}, vectors: []string{"mean", "a", "b"}, clip: true},
}

// emit writes the kernel: s, q and the vectors hold whole vector registers,
// the last columns of the streams are masked.
func (k columnSums) emit(f *file, v vectors) {
	name := k.name + v.name
	element := "float32"
	if v.half {
		element = "uint16"
	}
	params := "s, q *float64, " + strings.Join(k.streams, ", ") + " *" + element + ", " + strings.Join(k.vectors, ", ") + " *float32, n, rows, stride int"
	if k.clip {
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
	if k.clip {
		size += 8
	}
	f.p("TEXT ·%s(SB), NOSPLIT, $0-%d", name, size)
	arg("s", "DI")
	arg("q", "SI")
	streams, pointers := []string{"R8", "R9"}, []string{"R10", "R11", "R12"}
	for i, s := range k.streams {
		arg(s, streams[i])
	}
	for i, s := range k.vectors {
		arg(s, pointers[i])
	}
	arg("n", "CX")
	arg("rows", "R13")
	arg("stride", "DX")
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	if k.clip {
		f.p("	VBROADCASTSS lo+%d(FP), %s", at, r(9))
		f.p("	VBROADCASTSS hi+%d(FP), %s", at+4, r(10))
	}
	f.p("	XORQ AX, AX")
	// The mask of the last columns is made of CX, which counts columns left.
	single(f, v, "column", "done", func(suffix string, load func(mem, dst string), _ func(src, mem string)) {
		k.column(f, v, suffix, load)
	})
	f.p("\ndone:")
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// column emits the sums of one register of columns over all rows.
func (k columnSums) column(f *file, v vectors, suffix string, load func(mem, dst string)) {
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	// half is the register one size smaller, widen the two halves in float64.
	half := func(i int) string {
		if v.masked {
			return fmt.Sprintf("Y%d", i)
		}
		return fmt.Sprintf("X%d", i)
	}
	extract := "VEXTRACTF128"
	if v.masked {
		extract = "VEXTRACTF64X4"
	}
	bytes := 4 * v.width // of a register
	f.p("	VMOVUPD (DI)(AX*8), %s", r(0))
	f.p("	VMOVUPD %d(DI)(AX*8), %s", bytes, r(1))
	f.p("	VMOVUPD (SI)(AX*8), %s", r(2))
	f.p("	VMOVUPD %d(SI)(AX*8), %s", bytes, r(3))
	load("(R10)(AX*4)", r(14)) // masked like the streams, so that x-shift is 0 there
	f.p("	VCVTPS2PD %s, %s", half(14), r(4))
	f.p("	%s $1, %s, %s", extract, r(14), half(14))
	f.p("	VCVTPS2PD %s, %s", half(14), r(5))
	if k.clip {
		for i, p := range []string{"R10", "R11", "R12"} {
			f.p("	VMOVUPS (%s)(AX*4), %s", p, r(6+i))
		}
	}
	// The next call's rows follow these: R14 is so far ahead of BX.
	stream := load
	if v.half {
		stream = widening(f, suffix)
		f.p("	LEAQ (AX*2), BX")
	} else {
		f.p("	LEAQ (AX*4), BX")
	}
	f.p("	MOVQ R13, R14")
	f.p("	IMULQ DX, R14")
	f.p("	ADDQ BX, R14")
	f.p("	MOVQ R13, R15")
	f.p("\n	PCALIGN $32")
	f.p("row%s:", suffix)
	f.p("	PREFETCHT0 (R8)(R14*1)")
	stream("(R8)(BX*1)", r(11))
	u, w := 11, 11
	if len(k.streams) == 2 {
		f.p("	PREFETCHT0 (R9)(R14*1)")
		stream("(R9)(BX*1)", r(12))
		w = 12
	}
	if k.clip {
		f.p("	VSUBPS %s, %s, %s", r(6), r(12), r(13))
		f.p("	VFMADD213PS %s, %s, %s", r(8), r(7), r(13))
		for _, c := range []struct{ predicate, bound int }{{greater, 9}, {less, 10}} {
			if v.masked {
				f.p("	VCMPPS $%d, %s, %s, K2", c.predicate, r(c.bound), r(13))
				f.p("	VMOVAPS.Z %s, K2, %s", r(u), r(u))
				continue
			}
			f.p("	VCMPPS $%d, %s, %s, %s", c.predicate, r(c.bound), r(13), r(14))
			f.p("	VANDPS %s, %s, %s", r(14), r(u), r(u))
		}
	}
	for h := range 2 {
		if h == 1 {
			f.p("	%s $1, %s, %s", extract, r(u), half(u))
		}
		f.p("	VCVTPS2PD %s, %s", half(u), r(13))
		a, b := 13, 13
		if w != u {
			if h == 1 {
				f.p("	%s $1, %s, %s", extract, r(w), half(w))
			}
			f.p("	VCVTPS2PD %s, %s", half(w), r(14))
			b = 14
		}
		f.p("	VSUBPD %s, %s, %s", r(4+h), r(b), r(b))
		f.p("	VADDPD %s, %s, %s", r(a), r(h), r(h))
		f.p("	VFMADD231PD %s, %s, %s", r(a), r(b), r(2+h))
	}
	f.p("	ADDQ DX, BX")
	f.p("	ADDQ DX, R14")
	f.p("	DECQ R15")
	f.p("	JNZ row%s", suffix)
	f.p("	VMOVUPD %s, (DI)(AX*8)", r(0))
	f.p("	VMOVUPD %s, %d(DI)(AX*8)", r(1), bytes)
	f.p("	VMOVUPD %s, (SI)(AX*8)", r(2))
	f.p("	VMOVUPD %s, %d(SI)(AX*8)", r(3), bytes)
	f.p("	ADDQ $%d, AX", v.width)
	f.p("	SUBQ $%d, CX", v.width)
	f.p("	JMP column")
}
