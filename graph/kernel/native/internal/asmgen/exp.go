package main

import (
	"math"
	"strconv"
)

// Rows of the table of constants that exp reads, 16 equal lanes each.
const (
	expFloor = iota // where exp(x) is below the smallest float32
	expNormal
	expLog2E
	expLn2High // few bits, so that a whole number times it is exact
	expLn2Low
	expOne
	expFactorial // 1/2!, 1/3! ... 1/7!
)

func expConstants() []float32 {
	const high = 0.693359375
	c := []float32{-104, -86, math.Log2E, high, math.Ln2 - high, 1}
	f := 1.0
	for n := 2; n <= 7; n++ {
		f *= float64(n)
		c = append(c, float32(1/f))
	}
	return c
}

func expTable(f *file) {
	f.p("")
	for i, c := range expConstants() {
		for lane := range 8 {
			bits := uint64(math.Float32bits(c))
			f.p("DATA expTable<>+%d(SB)/8, $%#x", 64*i+8*lane, bits<<32|bits)
		}
	}
	f.p("GLOBL expTable<>(SB), RODATA|NOPTR, $%d", 64*len(expConstants()))
}

// exp is e to the x for x of at most 80: with x = n*ln(2) + r, the Taylor
// series of e to the r, |r| <= ln(2)/2, times two to the n. The series ends
// after r^7, which leaves a relative error of 5e-9. NaN stays NaN; results
// below 4.5e-38, next to the smallest normal number, may be zero.
func (m *mapper) exp(x string) string {
	p := m.f.p
	c := func(i int) string { return "expTable<>+" + strconv.Itoa(64*i) + "(SB)" }
	bound, t, n, s := m.reg(), m.reg(), m.reg(), m.reg()
	p("	VMOVUPS %s, %s", c(expFloor), bound)
	p("	VMAXPS %s, %s, %s", x, bound, t)
	p("	VMULPS %s, %s, %s", c(expLog2E), t, n)
	if m.v.masked {
		p("	VRNDSCALEPS $0, %s, %s", n, n)
	} else {
		p("	VROUNDPS $0, %s, %s", n, n)
	}
	r := m.reg()
	p("	VMOVAPS %s, %s", t, r)
	p("	VFNMADD231PS %s, %s, %s", c(expLn2High), n, r)
	p("	VFNMADD231PS %s, %s, %s", c(expLn2Low), n, r)
	p("	VMOVUPS %s, %s", c(expFactorial+5), s)
	for i := 4; i >= 0; i-- {
		p("	VFMADD213PS %s, %s, %s", c(expFactorial+i), r, s)
	}
	p("	VFMADD213PS %s, %s, %s", c(expOne), r, s)
	p("	VFMADD213PS %s, %s, %s", c(expOne), r, s)
	// What would be below the normal numbers is zeroed, unless it is NaN:
	// processors take a hundred times as long for it.
	if m.v.masked {
		p("	VCMPPS $0x15, %s, %s, K2", c(expNormal), t)
		p("	VSCALEFPS.Z %s, %s, K2, %s", n, s, s)
		return s
	}
	// The exponent is added as an integer.
	p("	VCVTPS2DQ %s, %s", n, n)
	p("	VPSLLD $23, %s, %s", n, n)
	p("	VPADDD %s, %s, %s", n, s, s)
	p("	VCMPPS $0x15, %s, %s, %s", c(expNormal), t, bound)
	p("	VANDPS %s, %s, %s", bound, s, s)
	return s
}
