package main

import "fmt"

// tile emits the dense micro-kernel for a number of rows and of vectors of
// columns, of which the last is masked by tile.mask. Accumulators fill the
// registers from 0; above them are the vectors of b and two broadcasts of a. A
// half one multiplies pairs of bfloat16.
func tile(f *file, v vectors, rows, n int) {
	name := fmt.Sprintf("tile%dx%d%s", rows, n, v.name)
	f.declare("%s(t *tile)", name)
	r := func(i int) string { return fmt.Sprintf("%s%d", v.reg, i) }
	acc := func(i, j int) string { return r(i*n + j) }
	bvec := func(j int) string { return r(rows*n + j) }
	cast := func(i int) string { return r(rows*n + n + i%2) }
	size := 4 * v.width
	last := n - 1

	// Scalars of the prologue and epilogue use vector registers above the
	// accumulators as well.
	maskReg := bvec(0)
	if v.masked {
		maskReg = "K1"
	}
	loadTail := func(mem, dst string) {
		if v.masked {
			f.p("	VMOVUPS.Z %s, K1, %s", mem, dst)
		} else {
			f.p("	VMASKMOVPS %s, %s, %s", mem, maskReg, dst)
		}
	}
	setMask := func() {
		f.p("	MOVQ tile_mask(DI), AX")
		if v.masked {
			f.p("	VMOVDQU32 (AX), %s", bvec(0))
			f.p("	VPMOVD2M %s, K1", bvec(0))
		} else {
			f.p("	VMOVDQU (AX), %s", maskReg)
		}
	}

	f.p("\n// func %s(t *tile)", name)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	f.p("	MOVQ t+0(FP), DI")
	setMask()
	f.p("	MOVQ tile_c(DI), R12")
	f.p("	MOVQ tile_cRow(DI), R13")
	f.p("	SHLQ $2, R13")
	// The lines of c are fetched while the products are summed: what reads or
	// writes them and misses the cache would wait for them.
	fetch := func(result, row string, width int) {
		f.p("	MOVQ %s, AX", result)
		for i := range rows {
			for b := 0; b < width; b += 64 {
				f.p("	PREFETCHT0 %d(AX)", b)
			}
			if i < rows-1 {
				f.p("	ADDQ %s, AX", row)
			}
		}
	}
	if v.half {
		f.p("	CMPB tile_accumulate(DI), $0")
		f.p("	JNE old")
		f.p("	MOVQ tile_half(DI), DX")
		f.p("	MOVQ R13, BX")
		f.p("	SHRQ $1, BX")
		fetch("DX", "BX", n*size/2)
		f.p("	JMP fetched")
		f.p("\nold:")
	}
	fetch("R12", "R13", n*size)
	if v.half {
		f.p("\nfetched:")
	}
	f.p("	CMPB tile_accumulate(DI), $0")
	f.p("	JNE zero")
	f.p("	MOVQ tile_bias(DI), AX")
	f.p("	TESTQ AX, AX")
	f.p("	JNZ bias")
	f.p("\nzero:")
	for i := range rows * n {
		if v.masked {
			f.p("	VPXORD %s, %s, %s", r(i), r(i), r(i))
		} else {
			f.p("	VXORPS %s, %s, %s", r(i), r(i), r(i))
		}
	}
	f.p("	JMP start")
	f.p("\nbias:")
	for j := range n {
		if mem := fmt.Sprintf("%d(AX)", j*size); j == last {
			loadTail(mem, acc(0, j))
		} else {
			f.p("	VMOVUPS %s, %s", mem, acc(0, j))
		}
	}
	for i := 1; i < rows; i++ {
		for j := range n {
			f.p("	VMOVAPS %s, %s", acc(0, j), acc(i, j))
		}
	}

	// R8, R9, R10 hold 1, 3 and 5 row strides; AX and BX walk rows 0 and 7.
	f.p("\nstart:")
	f.p("	MOVQ tile_runs(DI), R11")
	f.p("	MOVQ tile_runs+8(DI), DX")
	f.p("	TESTQ DX, DX")
	f.p("	JZ done")
	f.p("	CMPQ tile_steps(DI), $0")
	f.p("	JE done")
	f.p("	MOVQ tile_aRow(DI), R8")
	f.p("	SHLQ $2, R8")
	if rows > 3 {
		f.p("	LEAQ (R8)(R8*2), R9")
	}
	if rows > 5 {
		f.p("	LEAQ (R8)(R8*4), R10")
	}
	f.p("	MOVQ tile_aStep(DI), R15")
	f.p("	SHLQ $2, R15")
	f.p("	MOVQ tile_bStep(DI), R14")
	f.p("	SHLQ $2, R14")
	f.p("\nnext:")
	f.p("	MOVQ run_a(R11), AX")
	f.p("	SHLQ $2, AX")
	f.p("	ADDQ tile_a(DI), AX")
	f.p("	MOVQ run_b(R11), SI")
	f.p("	SHLQ $2, SI")
	f.p("	ADDQ tile_b(DI), SI")
	if rows > 7 {
		f.p("	LEAQ (R9)(R8*4), BX") // 7 rows
		f.p("	ADDQ AX, BX")
	}
	f.p("	MOVQ tile_steps(DI), CX")
	f.p("\n	PCALIGN $32")
	f.p("loop:")
	for j := range n {
		f.p("	VMOVUPS %d(SI), %s", j*size, bvec(j))
	}
	for i := range rows {
		base, k := "AX", i
		if i >= 7 {
			base, k = "BX", i-7
		}
		mem := [...]string{"(%s)", "(%s)(R8*1)", "(%s)(R8*2)", "(%s)(R9*1)", "(%s)(R8*4)", "(%s)(R10*1)", "(%s)(R9*2)"}[k]
		f.p("	VBROADCASTSS "+mem+", %s", base, cast(i))
		for j := range n {
			if v.half {
				f.p("	%s // add %s*%s to %s", dot(i*n+j, rows*n+n+i%2, rows*n+j), cast(i), bvec(j), acc(i, j))
			} else {
				f.p("	VFMADD231PS %s, %s, %s", bvec(j), cast(i), acc(i, j))
			}
		}
	}
	f.p("	ADDQ R15, AX")
	if rows > 7 {
		f.p("	ADDQ R15, BX")
	}
	f.p("	ADDQ R14, SI")
	f.p("	DECQ CX")
	f.p("	JNZ loop")
	f.p("	ADDQ $run__size, R11")
	f.p("	DECQ DX")
	f.p("	JNZ next")

	f.p("\ndone:")
	f.p("	CMPB tile_accumulate(DI), $0")
	f.p("	JE clip")
	if !v.masked {
		setMask()
	}
	f.p("	MOVQ R12, AX")
	for i := range rows {
		for j := range n {
			if mem := fmt.Sprintf("%d(AX)", j*size); j == last {
				loadTail(mem, cast(0))
				f.p("	VADDPS %s, %s, %s", cast(0), acc(i, j), acc(i, j))
			} else {
				f.p("	VADDPS %s, %s, %s", mem, acc(i, j), acc(i, j))
			}
		}
		if i < rows-1 {
			f.p("	ADDQ R13, AX")
		}
	}
	f.p("\nclip:")
	// The operand that a NaN must survive from stands first.
	f.p("	CMPB tile_clip(DI), $0")
	f.p("	JE write")
	for _, c := range []struct{ field, op string }{{"lo", "VMAXPS"}, {"hi", "VMINPS"}} {
		f.p("	VBROADCASTSS tile_%s(DI), %s", c.field, cast(0))
		for i := range rows * n {
			f.p("	%s %s, %s, %s", c.op, r(i), cast(0), r(i))
		}
	}
	f.p("\nwrite:")
	rowsOut := func(tail func(acc, mem string)) {
		for i := range rows {
			for j := range n {
				if mem := fmt.Sprintf("%d(R12)", j*size); j == last {
					tail(acc(i, j), mem)
				} else {
					f.p("	VMOVUPS %s, %s", acc(i, j), mem)
				}
			}
			if i < rows-1 {
				f.p("	ADDQ R13, R12")
			}
		}
	}
	if v.half {
		f.p("	MOVQ tile_half(DI), AX")
		f.p("	TESTQ AX, AX")
		f.p("	JNZ narrow")
	}
	if v.masked {
		rowsOut(func(acc, mem string) { f.p("	VMOVUPS %s, K1, %s", acc, mem) })
	} else {
		// Masked stores of AVX2 are slow on many processors.
		f.p("	CMPB tile_whole(DI), $0")
		f.p("	JE partial")
		rowsOut(func(acc, mem string) { f.p("	VMOVUPS %s, %s", acc, mem) })
		f.p("	VZEROUPPER")
		f.p("	RET")
		f.p("\npartial:")
		setMask()
		rowsOut(func(acc, mem string) { f.p("	VMASKMOVPS %s, %s, %s", acc, maskReg, mem) })
	}
	f.p("	VZEROUPPER")
	f.p("	RET")
	if v.half {
		f.p("\nnarrow:")
		f.p("	SHRQ $1, R13")
		for i := range rows {
			for j := range n {
				k, mem := i*n+j, fmt.Sprintf("%d(AX)", j*size/2)
				f.p("	%s // Z%d to bfloat16 in Y%d", narrow(k, k), k, k)
				if j == last {
					f.p("	VMOVDQU16 Y%d, K1, %s", k, mem)
				} else {
					f.p("	VMOVDQU16 Y%d, %s", k, mem)
				}
			}
			if i < rows-1 {
				f.p("	ADDQ R13, AX")
			}
		}
		f.p("	VZEROUPPER")
		f.p("	RET")
	}
}

// tileSet emits the micro-kernels of an instruction set and their table.
func tileSet(f *file, v vectors) {
	for rows := 1; rows <= v.mr; rows++ {
		for n := 1; n <= 2; n++ {
			tile(f, v, rows, n)
		}
	}
	tileTable(f, v)
}

// tileTable declares the Go table of an instruction set's micro-kernels.
func tileTable(f *file, v vectors) {
	fmt.Fprintf(&f.decl, "\n// tiles%s holds the micro-kernels by rows-1 and vectors of columns-1.\n", v.name)
	fmt.Fprintf(&f.decl, "var tiles%s = [%d][2]func(t *tile){\n", v.name, v.mr)
	for rows := 1; rows <= v.mr; rows++ {
		fmt.Fprintf(&f.decl, "\t{tile%dx1%s, tile%dx2%s},\n", rows, v.name, rows, v.name)
	}
	fmt.Fprintf(&f.decl, "}\n")
}
