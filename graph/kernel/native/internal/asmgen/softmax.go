package main

import (
	"fmt"
	"math"
)

// softmaxRows is how many rows are normalised together: the logarithms or
// reciprocals of their sums fill whole registers.
const softmaxRows = 16

// softmaxStretch is how many vectors of exponentials are added in float32,
// before they go into sums in float64.
const softmaxStretch = 16

// The registers of softmax while it works on a row.
const (
	largest = iota // of the row, in every lane
	partial        // sums of exponentials in float32
	total          // and in float64
	scratch        // this one and those after it
	lowest  = 13   // -Inf
	outside = 14   // without mask registers: -Inf in the lanes behind the row
)

// softmax emits the softmax of n rows of c elements, or its logarithm, in three
// passes over every row: its maximum, its sum of exponentials, the result. A
// maximum passes over NaN, which the sum brings back. A row of -Inf alone is
// NaN through the difference of infinities.
func softmax(f *file, v vectors, log bool) {
	s := softmaxer{&mapper{f: f, v: v}}
	name, p, r := "softmax"+v.name, f.p, s.r
	if log {
		name = "logSoftmax" + v.name
	}
	f.declare("%s(y, x *float32, n, c int)", name)
	p("\n// func %s(y, x *float32, n, c int)", name)
	p("TEXT ·%s(SB), NOSPLIT, $%d-32", name, 12*softmaxRows)
	for i, a := range []struct{ p, r string }{{"y", "DI"}, {"x", "SI"}, {"n", "DX"}, {"c", "R8"}} {
		p("	MOVQ %s+%d(FP), %s", a.p, 8*i, a.r)
	}
	// R9: elements of a row in whole vectors. R10: those behind them.
	p("	MOVQ R8, CX")
	p("	ANDQ $%d, CX", v.width-1)
	p("	MOVQ CX, R10")
	p("	MOVQ R8, R9")
	p("	SUBQ CX, R9")
	laneMask(f, v)
	p("	VBROADCASTSS minusInf<>(SB), %s", r(lowest))
	if !v.masked {
		p("	VANDNPS %s, %s, %s", r(lowest), mask, r(outside))
	}
	p("	SHLQ $2, R8")

	p("\nblock:")
	p("	MOVQ $%d, R11", softmaxRows)
	p("	CMPQ DX, R11")
	p("	CMOVQLT DX, R11")
	p("	XORQ R12, R12")
	p("	MOVQ SI, R13")
	p("	MOVQ DI, R14")
	p("\nrow:")
	s.maximum()
	s.sum(!log)
	p("	ADDQ R8, R13")
	p("	ADDQ R8, R14")
	p("	INCQ R12")
	p("	CMPQ R12, R11")
	p("	JLT row")

	// Numbers in float32 take the place of the sums, from the front.
	p("	XORQ R12, R12")
	p("\nnorm:")
	p("	VMOVUPD 0(SP)(R12*8), %s", r(scratch))
	norm := r(scratch + 1)
	if log {
		norm = s.log(r(scratch))
	} else {
		p("	VMOVUPD %s, %s", logConstant(logOne), norm)
		p("	VDIVPD %s, %s, %s", r(scratch), norm, norm)
	}
	if v.masked {
		p("	VCVTPD2PS %s, Y0", norm)
		p("	VMOVUPS Y0, 0(SP)(R12*4)")
	} else {
		p("	VCVTPD2PSY %s, X0", norm)
		p("	VMOVUPS X0, 0(SP)(R12*4)")
	}
	p("	ADDQ $%d, R12", v.width/2)
	p("	CMPQ R12, R11")
	p("	JLT norm")

	p("	XORQ R12, R12")
	p("\nfinish:")
	p("	VBROADCASTSS 0(SP)(R12*4), %s", r(1))
	if log {
		p("	VBROADCASTSS %d(SP)(R12*4), %s", 8*softmaxRows, r(0))
	}
	result := func(tail bool) {
		from := "(SI)(AX*4)"
		if !log {
			from = "(DI)(AX*4)"
		}
		s.load(from, r(2), tail)
		if log {
			// Two steps: the maximum alone cancels most of x without rounding.
			p("	VSUBPS %s, %s, %s", r(0), r(2), r(2))
			p("	VSUBPS %s, %s, %s", r(1), r(2), r(2))
		} else {
			p("	VMULPS %s, %s, %s", r(1), r(2), r(2))
		}
		s.store(r(2), "(DI)(AX*4)", tail)
	}
	p("	XORQ AX, AX")
	s.vectors("result", "R9", result)
	s.tail("result", result)
	p("	ADDQ R8, SI")
	p("	ADDQ R8, DI")
	p("	INCQ R12")
	p("	CMPQ R12, R11")
	p("	JLT finish")
	p("	SUBQ R11, DX")
	p("	JNZ block")
	p("	VZEROUPPER")
	p("	RET")
}

type softmaxer struct{ *mapper }

func (s softmaxer) r(i int) string { return fmt.Sprintf("%s%d", s.v.reg, i) }

// load loads a vector, with -Inf in the lanes behind the row.
func (s softmaxer) load(mem, dst string, tail bool) {
	switch {
	case !tail:
		s.f.p("	VMOVUPS %s, %s", mem, dst)
	case s.v.masked:
		s.f.p("	VMOVAPS %s, %s", s.r(lowest), dst)
		s.f.p("	VMOVUPS %s, K1, %s", mem, dst)
	default:
		s.f.p("	VMASKMOVPS %s, %s, %s", mem, mask, dst)
		s.f.p("	VORPS %s, %s, %s", s.r(outside), dst, dst)
	}
}

func (s softmaxer) store(src, mem string, tail bool) {
	if tail {
		storeMasked(s.f, s.v, src, mem)
	} else {
		s.f.p("	VMOVUPS %s, %s", src, mem)
	}
}

// vectors emits a loop over whole vectors, from element AX to the one in a
// register.
func (s softmaxer) vectors(label, end string, body func(tail bool)) {
	s.f.p("	CMPQ AX, %s", end)
	s.f.p("	JGE %sLast", label)
	s.f.p("\n	PCALIGN $32")
	s.f.p("%sLoop:", label)
	body(false)
	s.f.p("	ADDQ $%d, AX", s.v.width)
	s.f.p("	CMPQ AX, %s", end)
	s.f.p("	JLT %sLoop", label)
	s.f.p("\n%sLast:", label)
}

// tail emits code for what is behind the whole vectors, if there is anything.
func (s softmaxer) tail(label string, body func(tail bool)) {
	s.f.p("	TESTQ R10, R10")
	s.f.p("	JEQ %sDone", label)
	body(true)
	s.f.p("\n%sDone:", label)
}

// halve puts one half of a register onto the other by an operation, until a
// number of bytes are left.
func (s softmaxer) halve(op string, reg, bytes int) {
	other := reg + 1
	for size := 4 * s.v.width / 2; size >= bytes; size /= 2 {
		to := "X"
		switch size {
		case 32:
			s.f.p("	VEXTRACTF64X4 $1, Z%d, Y%d", reg, other)
			to = "Y"
		case 16:
			s.f.p("	VEXTRACTF128 $1, Y%d, X%d", reg, other)
		case 8:
			s.f.p("	VPERMILPD $1, X%d, X%d", reg, other)
		case 4:
			s.f.p("	VPERMILPS $1, X%d, X%d", reg, other)
		}
		s.f.p("	%s %s%d, %s%d, %s%d", op, to, other, to, reg, to, reg)
	}
}

// maximum finds the largest element of the row at R13.
func (s softmaxer) maximum() {
	body := func(tail bool) {
		s.load("(R13)(AX*4)", s.r(scratch), tail)
		// As the second source, the maximum so far survives a NaN.
		s.f.p("	VMAXPS %s, %s, %s", s.r(largest), s.r(scratch), s.r(largest))
	}
	s.f.p("	VMOVAPS %s, %s", s.r(lowest), s.r(largest))
	s.f.p("	XORQ AX, AX")
	s.vectors("max", "R9", body)
	s.tail("max", body)
	s.halve("VMAXPS", largest, 4)
	s.f.p("	VMOVSS X%d, %d(SP)(R12*4)", largest, 8*softmaxRows)
	s.f.p("	VBROADCASTSS X%d, %s", largest, s.r(largest))
}

// sum adds up the exponentials of the row at R13; with keep it stores them at
// R14.
func (s softmaxer) sum(keep bool) {
	p := s.f.p
	zero := func(i int) { p("	VXORPS X%d, X%d, X%d", i, i, i) }
	body := func(tail bool) {
		x := s.r(scratch)
		s.load("(R13)(AX*4)", x, tail)
		p("	VSUBPS %s, %s, %s", s.r(largest), x, x)
		s.next = scratch + 1
		e := s.exp(x)
		if keep {
			s.store(e, "(R14)(AX*4)", tail)
		}
		p("	VADDPS %s, %s, %s", e, s.r(partial), s.r(partial))
	}
	settle := func() {
		if s.v.masked {
			p("	VEXTRACTF64X4 $1, Z%d, Y%d", partial, scratch)
			p("	VCVTPS2PD Y%d, Z%d", partial, scratch+1)
			p("	VCVTPS2PD Y%d, Z%d", scratch, scratch)
		} else {
			p("	VEXTRACTF128 $1, Y%d, X%d", partial, scratch)
			p("	VCVTPS2PD X%d, Y%d", partial, scratch+1)
			p("	VCVTPS2PD X%d, Y%d", scratch, scratch)
		}
		p("	VADDPD %s, %s, %s", s.r(scratch+1), s.r(total), s.r(total))
		p("	VADDPD %s, %s, %s", s.r(scratch), s.r(total), s.r(total))
	}
	zero(total)
	p("	XORQ AX, AX")
	p("\nstretch:")
	zero(partial)
	p("	LEAQ %d(AX), CX", softmaxStretch*s.v.width)
	p("	CMPQ CX, R9")
	p("	CMOVQGT R9, CX")
	s.vectors("exp", "CX", body)
	p("	CMPQ AX, R9")
	p("	JEQ rest")
	settle()
	p("	JMP stretch")
	p("\nrest:")
	s.tail("exp", body)
	settle()
	s.halve("VADDPD", total, 8)
	p("	VMOVSD X%d, 0(SP)(R12*8)", total)
}

// Rows of the table of float64 constants that log reads, 8 equal lanes each.
const (
	logFraction = iota // bits of the fraction
	logOne
	logExponent // two to the 52, in whose last bits an exponent goes
	logBias     // and what is to subtract then
	logLn2
	logSeries // 2/3, 2/5 ... 2/21
)

func logConstants() []uint64 {
	b := math.Float64bits
	c := []uint64{1<<52 - 1, b(1), b(1 << 52), b(1<<52 + 1023), b(math.Ln2)}
	for n := 3; n <= 21; n += 2 {
		c = append(c, b(2/float64(n)))
	}
	return c
}

func logConstant(i int) string { return fmt.Sprintf("logTable<>+%d(SB)", 64*i) }

// log is the logarithm of normal positive float64: with x = m*2^e and
// s = (m-1)/(m+1), 0 <= s < 1/3, it is e*ln(2) + 2s(1 + s^2/3 + s^4/5 ...). The
// series ends after s^20/21, which leaves a relative error of 2e-12. NaN stays
// NaN.
func (s softmaxer) log(x string) string {
	p := s.f.p
	s.next = scratch + 1
	e, m, t, q, sum := s.reg(), s.reg(), s.reg(), s.reg(), s.reg()
	p("	VPSRLQ $52, %s, %s", x, e)
	p("	VORPD %s, %s, %s", logConstant(logExponent), e, e)
	p("	VSUBPD %s, %s, %s", logConstant(logBias), e, e)
	p("	VANDPD %s, %s, %s", logConstant(logFraction), x, m)
	p("	VORPD %s, %s, %s", logConstant(logOne), m, m)
	p("	VADDPD %s, %s, %s", logConstant(logOne), m, t)
	p("	VSUBPD %s, %s, %s", logConstant(logOne), m, m)
	p("	VDIVPD %s, %s, %s", t, m, t) // s
	p("	VMULPD %s, %s, %s", t, t, q) // its square
	last := len(logConstants()) - 1
	p("	VMOVUPD %s, %s", logConstant(last), sum)
	for i := last - 1; i >= logSeries; i-- {
		p("	VFMADD213PD %s, %s, %s", logConstant(i), q, sum)
	}
	// 2s + s^3*(2/3 + ...), where 2s is s+s.
	p("	VMULPD %s, %s, %s", t, q, q)
	p("	VADDPD %s, %s, %s", t, t, t)
	p("	VFMADD231PD %s, %s, %s", q, sum, t)
	p("	VFMADD231PD %s, %s, %s", logConstant(logLn2), e, t)
	p("	VSUBPD %s, %s, %s", x, x, x) // 0, or NaN
	p("	VADDPD %s, %s, %s", x, t, t)
	return t
}

// softmaxTables emits the constants of softmax.
func softmaxTables(f *file) {
	f.p("\nDATA minusInf<>+0(SB)/4, $%#x", math.Float32bits(float32(math.Inf(-1))))
	f.p("GLOBL minusInf<>(SB), RODATA|NOPTR, $4\n")
	for i, c := range logConstants() {
		for lane := range 8 {
			f.p("DATA logTable<>+%d(SB)/8, $%#x", 64*i+8*lane, c)
		}
	}
	f.p("GLOBL logTable<>(SB), RODATA|NOPTR, $%d", 64*len(logConstants()))
	expTable(f)
	lanesTable(f)
}
