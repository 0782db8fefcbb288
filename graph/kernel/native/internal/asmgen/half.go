package main

import (
	"fmt"
	"strconv"
	"strings"
)

// The instructions of AVX512_BF16, which Go's assembler does not know, on whole
// registers without mask: EVEX-encoded, opcode map 0F38.

// dot adds to dst, lane by lane, the two products of a pair of bfloat16 in a
// and one in b: VDPBF16PS.
func dot(dst, a, b int) string { return evex(2, 0x52, dst, a, b) }

// narrow rounds 16 float32 of src to bfloat16 in the lower half of dst:
// VCVTNEPS2BF16.
func narrow(dst, src int) string { return evex(2, 0x72, dst, 0, src) }

// narrowTwo rounds 32 float32, those of a and then those of b, to bfloat16 in
// dst: VCVTNE2PS2BF16, which takes as long as the other does for 16.
func narrowTwo(dst, a, b int) string { return evex(3, 0x72, dst, b, a) }

// evex encodes an instruction on 512-bit registers; prefix is 2 for F3, 3
// for F2.
func evex(prefix, opcode, reg, vvvv, rm int) string {
	inverted := func(r, bit, to int) int { return (^r >> bit & 1) << to }
	code := []int{
		0x62,
		inverted(reg, 3, 7) | inverted(rm, 4, 6) | inverted(rm, 3, 5) | inverted(reg, 4, 4) | 2,
		(^vvvv&15)<<3 | 4 | prefix,
		2<<5 | inverted(vvvv, 4, 3),
		opcode,
		3<<6 | reg&7<<3 | rm&7,
	}
	bytes := make([]string, len(code))
	for i, b := range code {
		bytes[i] = fmt.Sprintf("BYTE $0x%02x", b)
	}
	return strings.Join(bytes, "; ")
}

// half emits what package native needs for bfloat16 beside the micro-kernels.
func half(f *file) {
	const dst, a, b = "(DI)(AX*%d)", "(SI)(AX*%d)", "(DX)(AX*%d)"
	at := func(mem string, size int) string { return fmt.Sprintf(mem, size) }
	widen := func(tail bool, mem string, r int) {
		if tail {
			f.p("	VPMOVZXWD.Z %s, K1, Z%d", at(mem, 2), r)
		} else {
			f.p("	VPMOVZXWD %s, Z%d", at(mem, 2), r)
		}
	}
	load := func(tail bool, mem string, r int) {
		if tail {
			f.p("	VMOVUPS.Z %s, K1, Z%d", at(mem, 4), r)
		} else {
			f.p("	VMOVUPS %s, Z%d", at(mem, 4), r)
		}
	}
	store := func(tail bool, r int) {
		if tail {
			f.p("	VMOVUPS Z%d, K1, %s", r, at(dst, 4))
		} else {
			f.p("	VMOVUPS Z%d, %s", r, at(dst, 4))
		}
	}
	f.vector("widenAVX512", "dst *float32, x *uint16", func(tail bool) {
		widen(tail, a, 0)
		f.p("	VPSLLD $16, Z0, Z0")
		store(tail, 0)
	})
	f.vector("narrowAVX512", "dst *uint16, x *float32", func(tail bool) {
		load(tail, a, 0)
		f.p("	%s // Z0 to bfloat16 in Y0", narrow(0, 0))
		if tail {
			f.p("	VMOVDQU16 Y0, K1, %s", at(dst, 2))
		} else {
			f.p("	VMOVDQU Y0, %s", at(dst, 2))
		}
	})
	f.vector("pairAVX512", "dst *float32, a, b *uint16", func(tail bool) {
		widen(tail, a, 0)
		widen(tail, b, 1)
		f.p("	VPSLLD $16, Z1, Z1")
		f.p("	VPORD Z1, Z0, Z0")
		store(tail, 0)
	})
	pairRows(f, "pairRowsAVX512", "uint16", 2)
	pairRows(f, "narrowRowsAVX512", "float32", 4)
	channelwise(f, halfSet)
	elementwise(f, halfSet)
	pairTable(f)
	wrappers(f, halfSet)
}

// widenHalf loads a vector of bfloat16 as float32.
func widenHalf(f *file, mem, r string) {
	f.p("	VPMOVZXWD %s, %s", mem, r)
	f.p("	VPSLLD $16, %s, %s", r, r)
}

// pairSetup loads what widenTwo needs into Z30, Z31 and K3; it uses BX.
func pairSetup(f *file) {
	f.p("	MOVL $0xaaaaaaaa, BX")
	f.p("	KMOVD BX, K3")
	f.p("	VMOVUPS pairTable<>+0(SB), Z30")
	f.p("	VMOVUPS pairTable<>+64(SB), Z31")
}

// widenTwo loads the first or the second of two neighbouring vectors of
// bfloat16 as float32, reading both: one instruction moves the 16 numbers to
// the upper halves of words and clears the lower ones.
func widenTwo(f *file, mem string, second int, r string) {
	f.p("	VPERMW.Z %s, Z%d, K3, %s", mem, 30+second, r)
}

// pairTable emits the permutations of widenTwo: word i comes from number i, or
// 16+i.
func pairTable(f *file) {
	f.p("")
	for i := range 16 {
		f.p("DATA pairTable<>+%d(SB)/8, $%#x", 8*i, (2*i+1)<<48|2*i<<16)
	}
	f.p("GLOBL pairTable<>(SB), RODATA|NOPTR, $128")
}

// widening is load for bfloat16, and narrowing store; both mask by K1 where the
// suffix says so.
func widening(f *file, suffix string) func(mem, dst string) {
	return func(mem, dst string) {
		if suffix != "Masked" {
			widenHalf(f, mem, dst)
			return
		}
		f.p("	VPMOVZXWD.Z %s, K1, %s", mem, dst)
		f.p("	VPSLLD $16, %s, %s", dst, dst)
	}
}

func narrowing(f *file, suffix string) func(src, mem string) {
	return func(src, mem string) {
		n := number(src)
		f.p("	%s // %s to bfloat16 in Y%d", narrow(n, n), src, n)
		if suffix == "Masked" {
			f.p("	VMOVDQU16 Y%d, K1, %s", n, mem)
		} else {
			f.p("	VMOVDQU16 Y%d, %s", n, mem)
		}
	}
}

// number is that of a register.
func number(r string) int {
	n, err := strconv.Atoi(r[1:])
	if err != nil {
		panic(err)
	}
	return n
}

// pairRows emits a loop that packs rows of words: n of them, dstStep bytes apart,
// of c elements (32 at most) of two rows that lie second bytes apart; the next two
// rows lie step bytes on. size is that of the elements: bfloat16, or float32, which
// is narrowed, with zeros after c up to 32.
func pairRows(f *file, name, element string, size int) {
	params := "dst *float32, x *" + element + ", n, dstStep, step, second, c int"
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-56", name)
	for i, s := range []struct{ p, r string }{{"dst", "DI"}, {"x", "SI"}, {"n", "DX"}, {"dstStep", "R10"}, {"step", "R8"}, {"second", "R9"}, {"c", "CX"}} {
		f.p("	MOVQ %s+%d(FP), %s", s.p, 8*i, s.r)
	}
	f.p("	MOVQ $1, BX")
	f.p("	SHLQ CX, BX")
	f.p("	DECQ BX")
	f.p("	KMOVW BX, K1")
	f.p("	SHRQ $16, BX")
	f.p("	KMOVW BX, K2")
	f.p("\nloop:")
	for r := range 4 {
		mem := memory("SI", "R9", r/2, r%2*16*size)
		if size == 2 {
			f.p("	VPMOVZXWD.Z %s, K%d, Z%d", mem, 1+r%2, r)
			continue
		}
		f.p("	VMOVUPS.Z %s, K%d, Z%d", mem, 1+r%2, r)
		f.p("	%s // Z%d to bfloat16 in Y%d", narrow(r, r), r, r)
		f.p("	VPMOVZXWD Y%d, Z%d", r, r)
	}
	for r := range 2 {
		f.p("	VPSLLD $16, Z%d, Z%d", 2+r, 2+r)
		f.p("	VPORD Z%d, Z%d, Z%d", 2+r, r, r)
		mask := ""
		if size == 2 {
			mask = fmt.Sprintf("K%d, ", 1+r)
		}
		f.p("	VMOVUPS Z%d, %s%d(DI)", r, mask, 64*r)
	}
	f.p("	ADDQ R10, DI")
	f.p("	ADDQ R8, SI")
	f.p("	DECQ DX")
	f.p("	JNZ loop")
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// vector emits a function of up to three pointers (in DI, SI, DX) and a length,
// with a loop over vectors of 16 elements that AX counts and a masked rest.
func (f *file) vector(name, params string, body func(tail bool)) {
	params += ", n int"
	n := strings.Count(params, ",")
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-%d", name, 8*(n+1))
	for i, p := range strings.Split(params, ",")[:n] {
		f.p("	MOVQ %s+%d(FP), %s", strings.Fields(p)[0], 8*i, pointers[i])
	}
	f.p("	MOVQ n+%d(FP), CX", 8*n)
	f.p("	XORQ AX, AX")
	f.p("	SUBQ $16, CX")
	f.p("	JLT tail")
	f.p("\n	PCALIGN $32")
	f.p("loop:")
	body(false)
	f.p("	ADDQ $16, AX")
	f.p("	SUBQ $16, CX")
	f.p("	JGE loop")
	f.p("\ntail:")
	f.p("	ADDQ $16, CX")
	f.p("	JZ done")
	f.p("	MOVL $1, BX")
	f.p("	SHLL CX, BX")
	f.p("	DECL BX")
	f.p("	KMOVW BX, K1")
	body(true)
	f.p("\ndone:")
	f.p("	VZEROUPPER")
	f.p("	RET")
}
