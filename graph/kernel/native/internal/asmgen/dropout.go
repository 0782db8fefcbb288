package main

import "fmt"

// dropout emits the mask of a dropout on a row of n elements: dst = scale*x
// where the upper half of the random word of an element is at least limit, else
// 0. The state of element i is z + i*step, and its word what SplitMix64 makes of
// it; two registers hold the states of 16.
func dropout(f *file, v vectors) {
	element := "float32"
	if v.half {
		element = "uint16"
	}
	name, params := "dropout"+v.name, fmt.Sprintf("dst, x *%s, n int, z, step, limit uint64, scale float32", element)
	f.declare("%s(%s)", name, params)
	f.p("\n// func %s(%s)", name, params)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-52", name)
	for i, s := range []struct{ p, r string }{{"dst", "DI"}, {"x", "SI"}, {"n", "CX"}} {
		f.p("	MOVQ %s+%d(FP), %s", s.p, 8*i, s.r)
	}
	broadcast := func(value string, r int) {
		f.p("	MOVQ %s, BX", value)
		f.p("	VPBROADCASTQ BX, Z%d", r)
	}
	const step, limit, scale, first, second, z0, z1 = 4, 5, 6, 7, 8, 0, 2
	broadcast("z+24(FP)", z0)
	broadcast("step+32(FP)", step)
	broadcast("limit+40(FP)", limit)
	broadcast("$0xbf58476d1ce4e5b9", first)
	broadcast("$0x94d049bb133111eb", second)
	f.p("	VBROADCASTSS scale+48(FP), Z%d", scale)
	f.p("	VPMULLQ dropoutTable<>(SB), Z%d, Z9", step)
	f.p("	VPADDQ Z9, Z%d, Z%d", z0, z0)
	f.p("	VPSLLQ $3, Z%d, Z9", step)
	f.p("	VPADDQ Z9, Z%d, Z%d", z0, z1)
	f.p("	VPSLLQ $4, Z%d, Z%d", step, step)
	size := 4 * v.width
	if v.half {
		size /= 2
	}
	single(f, v, "block", "done", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		// mix leaves in a mask which of eight elements are kept.
		mix := func(state, t, u, k int) {
			from := state
			for _, s := range []struct{ shift, factor int }{{30, first}, {27, second}, {31, 0}} {
				f.p("	VPSRLQ $%d, Z%d, Z%d", s.shift, from, u)
				f.p("	VPXORQ Z%d, Z%d, Z%d", u, from, t)
				if s.factor > 0 {
					f.p("	VPMULLQ Z%d, Z%d, Z%d", s.factor, t, t)
				}
				from = t
			}
			f.p("	VPSRLQ $32, Z%d, Z%d", t, t)
			f.p("	VPCMPUQ $5, Z%d, Z%d, K%d", limit, t, k)
			f.p("	VPADDQ Z%d, Z%d, Z%d", step, state, state)
		}
		mix(z0, 10, 11, 2)
		mix(z1, 12, 13, 3)
		f.p("	KUNPCKBW K2, K3, K2")
		if v.half {
			load, store = widening(f, suffix), narrowing(f, suffix)
		}
		load("(SI)", "Z14")
		f.p("	VMULPS.Z Z14, Z%d, K2, Z14", scale)
		store("Z14", "(DI)")
		f.p("	ADDQ $%d, SI", size)
		f.p("	ADDQ $%d, DI", size)
		f.p("	SUBQ $%d, CX", v.width)
		f.p("	JMP block")
	})
	f.p("\ndone:")
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// dropoutTable emits 0 to 7.
func dropoutTable(f *file) {
	f.p("")
	for i := range 8 {
		f.p("DATA dropoutTable<>+%d(SB)/8, $%d", 8*i, i)
	}
	f.p("GLOBL dropoutTable<>(SB), RODATA|NOPTR, $64")
}
