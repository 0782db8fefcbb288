package main

import "fmt"

// stencils emits the depthwise micro-kernels of filters with up to 3x3 taps,
// which keep the taps of a block of channels in registers while they walk along
// a row of pixels, and the table that holds them by rows-1 and columns-1 of
// taps. Those called stencil compute outputs, those called stencilSum add to
// the sums of the filter's gradient.
func stencils(f *file, v vectors) {
	for _, name := range []string{"stencil", "stencilSum"} {
		table := fmt.Sprintf("\nvar %ss%s = [3][3]func(t *spreadTile){", name, v.name)
		for rows := 1; rows <= 3; rows++ {
			table += "\n\t{"
			for cols := 1; cols <= 3; cols++ {
				s := &stencil{f, v, rows, cols, name == "stencilSum"}
				full := fmt.Sprintf("%s%dx%d%s", name, rows, cols, v.name)
				s.emit(full, s.walk)
				if cols > 1 {
					table += ", "
				}
				table += full
			}
			table += "},"
		}
		fmt.Fprintf(&f.decl, "%s\n}\n", table)
	}
}

// stencil is one such micro-kernel.
type stencil struct {
	*file
	vectors
	rows, cols int
	dots       bool
}

func (s *stencil) r(i int) string { return fmt.Sprintf("%s%d", s.reg, i) }

// rowPointers hold where the rows of taps of a pixel begin.
var rowPointers = [3]string{"SI", "DX", "BX"}

// emit emits a kernel whose walk takes n vectors of channels along the row of
// pixels and advances to the next channels.
func (s *stencil) emit(name string, walk func(n int, suffix string, load func(mem, dst string), store func(src, mem string))) {
	s.declare("%s(t *spreadTile)", name)
	s.p("\n// func %s(t *spreadTile)", name)
	s.p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	s.p("	MOVQ t+0(FP), DI")
	for _, l := range []struct{ field, r string }{
		{"y", "R8"}, {"x", "R9"}, {"w", "R10"}, {"bias", "R11"}, {"colStep", "R12"}, {"xStep", "R13"}, {"yStep", "R14"}, {"c", "CX"},
	} {
		s.p("	MOVQ spreadTile_%s(DI), %s", l.field, l.r)
	}
	if s.half {
		pairSetup(s.file)
	}
	if s.masked { // enough registers for two vectors
		s.p("\npair:")
		s.p("	CMPQ CX, $%d", 2*s.width)
		s.p("	JLT block1")
		load := func(mem, dst string) { s.p("	VMOVUPS %s, %s", mem, dst) }
		walk(2, "Pair", load, func(src, mem string) { s.p("	VMOVUPS %s, %s", src, mem) })
		s.p("	JMP pair")
	}
	single(s.file, s.vectors, "block1", "done", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		walk(1, suffix, load, store)
		s.p("	JMP block1")
	})
	s.p("\ndone:")
	s.p("	VZEROUPPER")
	s.p("	RET")
}

// memory is an operand so many bytes and indices from a base.
func memory(base, index string, times, displacement int) string {
	mem := fmt.Sprintf("%d(%s)", displacement, base)
	if times > 0 {
		mem += fmt.Sprintf("(%s*%d)", index, times)
	}
	return mem
}

// in is how many bytes a vector of activations has.
func (s *stencil) in() int {
	if s.half {
		return 2 * s.width
	}
	return 4 * s.width
}

// read loads the i'th of n vectors of a pixel, so many columns of taps from
// base on.
func (s *stencil) read(n int, suffix, base string, columns, i int, load func(mem, dst string), dst string) {
	mem := memory(base, "R12", columns, i*s.in())
	switch {
	case s.half && n == 2:
		widenTwo(s.file, memory(base, "R12", columns, 0), i, dst)
	case s.half:
		widening(s.file, suffix)(mem, dst)
	default:
		load(mem, dst)
	}
}

// write stores the n outputs in registers from the given one on.
func (s *stencil) write(n int, suffix string, outputs int, store func(src, mem string)) {
	if s.half && n == 2 {
		r := s.r(outputs)
		s.p("	%s // %s and %s to bfloat16", narrowTwo(outputs, outputs, outputs+1), r, s.r(outputs+1))
		s.p("	VMOVUPS %s, (AX)", r)
		return
	}
	if s.half {
		store = narrowing(s.file, suffix)
	}
	for i := range n {
		store(s.r(outputs+i), memory("AX", "", 0, i*s.in()))
	}
}

// filter visits the taps' places in w; n neighbouring registers each.
func (s *stencil) filter(n int, visit func(mem string, r string)) {
	s.p("	MOVQ R10, SI")
	s.p("	MOVQ spreadTile_wCol(DI), DX")
	for k := range s.rows {
		if k > 0 {
			s.p("	ADDQ spreadTile_wRow(DI), SI")
		}
		for u := range s.cols {
			for i := range n {
				visit(memory("SI", "DX", u, 4*i*s.width), s.r((k*s.cols+u)*n+i))
			}
		}
	}
}

// bias loads it, or zeros, into n registers from the given one on.
func (s *stencil) bias(n int, suffix string, first int, load func(mem, dst string)) {
	s.p("	TESTQ R11, R11")
	s.p("	JZ zero%s", suffix)
	for i := range n {
		load(memory("R11", "", 0, 4*i*s.width), s.r(first+i))
	}
	s.p("	ADDQ $%d, R11", 4*n*s.width)
	s.p("	JMP start%s", suffix)
	s.p("\nzero%s:", suffix)
	for i := range n {
		r := s.r(first + i)
		s.p("	VXORPS %s, %s, %s", r, r, r)
	}
	s.p("\nstart%s:", suffix)
}

// begin points to the first pixel.
func (s *stencil) begin() {
	s.p("	MOVQ R9, SI")
	for k := 1; k < s.rows; k++ {
		s.p("	MOVQ %s, %s", rowPointers[k-1], rowPointers[k])
		s.p("	ADDQ spreadTile_rowStep(DI), %s", rowPointers[k])
	}
	s.p("	MOVQ R8, AX")
	s.p("	MOVQ spreadTile_pixels(DI), R15")
}

// step goes on to the next pixel's taps.
func (s *stencil) step() {
	for k := range s.rows {
		s.p("	ADDQ R13, %s", rowPointers[k])
	}
}

// advance goes on to the next channels.
func (s *stencil) advance(n int) {
	s.p("	ADDQ $%d, R8", n*s.in())
	s.p("	ADDQ $%d, R9", n*s.in())
	s.p("	ADDQ $%d, R10", 4*n*s.width)
	s.p("	SUBQ $%d, CX", n*s.width)
}

func (s *stencil) walk(n int, suffix string, load func(mem, dst string), store func(src, mem string)) {
	taps := s.rows * s.cols * n          // registers 0 to taps-1
	lo, hi := s.r(taps+n), s.r(taps+n+1) // behind the bias
	acc := taps + n + 2
	spare := acc + n
	if s.dots {
		acc, spare = taps, taps+n
	}
	limit := 15 // the last is the mask
	if s.masked {
		limit = 30 // the last two serve widenTwo
	}
	next := spare
	temp := func() string {
		r := s.r(next)
		if next++; next == limit {
			next = spare
		}
		return r
	}
	s.filter(n, load)
	if !s.dots {
		s.bias(n, suffix, taps, load)
		s.p("	VBROADCASTSS spreadTile_lo(DI), %s", lo)
		s.p("	VBROADCASTSS spreadTile_hi(DI), %s", hi)
	}
	s.begin()
	s.p("\n	PCALIGN $32")
	s.p("pixel%s:", suffix)
	for i := range n {
		if s.dots {
			s.read(n, suffix, "AX", 0, i, load, s.r(acc+i))
		} else {
			s.p("	VMOVAPS %s, %s", s.r(taps+i), s.r(acc+i))
		}
	}
	for k := range s.rows {
		for u := range s.cols {
			for i := range n {
				x := memory(rowPointers[k], "R12", u, i*s.in())
				if s.half || suffix == "Masked" {
					x = temp()
					s.read(n, suffix, rowPointers[k], u, i, load, x)
				}
				tap, sum := s.r((k*s.cols+u)*n+i), s.r(acc+i)
				if s.dots {
					tap, sum = sum, tap
				}
				s.p("	VFMADD231PS %s, %s, %s", x, tap, sum)
			}
		}
	}
	if !s.dots {
		for i := range n {
			r := s.r(acc + i)
			s.p("	VMAXPS %s, %s, %s", r, lo, r)
			s.p("	VMINPS %s, %s, %s", r, hi, r)
		}
		s.write(n, suffix, acc, store)
	}
	s.step()
	s.p("	ADDQ R14, AX")
	s.p("	DECQ R15")
	s.p("	JNZ pixel%s", suffix)
	if s.dots {
		s.filter(n, func(mem, r string) { store(r, mem) })
	}
	s.advance(n)
}
