package main

import "fmt"

// slides emits the depthwise micro-kernels of filters with three columns of
// taps for pixels that follow each other as the taps do (xStep is colStep):
// every column of the input is loaded once, for the three outputs that see it.
// Those called slide compute outputs, those called slideSum add to the sums of
// the filter's gradient, for two pixels or more.
func slides(f *file, v vectors) {
	for _, name := range []string{"slide", "slideSum"} {
		table := fmt.Sprintf("\nvar %ss%s = [3]func(t *spreadTile){", name, v.name)
		for rows := 1; rows <= 3; rows++ {
			s := slide{stencil{f, v, rows, 3, name == "slideSum"}}
			full := fmt.Sprintf("%s%d%s", name, rows, v.name)
			s.emit(full, s.walk)
			if rows > 1 {
				table += ", "
			}
			table += full
		}
		fmt.Fprintf(&f.decl, "%s}\n", table)
	}
}

type slide struct{ stencil }

// walk emits code that takes n vectors of channels along the row, and advances
// to the next channels. Registers hold the taps, then the bias, or nothing for
// sums; then the outputs, or their gradients, that see the column: the oldest
// first.
func (s *slide) walk(n int, suffix string, load func(mem, dst string), store func(src, mem string)) {
	p, taps := s.p, s.rows*3*n
	outputs := taps + n
	if s.dots {
		outputs = taps
	}
	temp := outputs + 3*n
	output := func(age, i int) string { return s.r(outputs + (2-age)*n + i) }
	// column multiplies the next column of the input with some of the taps'
	// columns: output of age u sees it through column u.
	column := func(first, last int) {
		for k := range s.rows {
			for i := range n {
				x := s.r(temp + (k*n+i)%(30-temp))
				s.read(n, suffix, rowPointers[k], 0, i, load, x)
				for u := first; u <= last; u++ {
					tap, out := s.r((k*3+u)*n+i), output(u, i)
					if s.dots {
						tap, out = out, tap
					}
					p("	VFMADD231PS %s, %s, %s", x, tap, out)
				}
			}
		}
		s.step()
	}
	begin := func() { // an output
		for i := range n {
			if s.dots {
				s.read(n, suffix, "AX", 0, i, load, output(0, i))
			} else {
				p("	VMOVAPS %s, %s", s.r(taps+i), output(0, i))
			}
		}
		if s.dots {
			p("	ADDQ R14, AX")
		}
	}
	grow := func() { // older
		for u := 2; u > 0; u-- {
			for i := range n {
				p("	VMOVAPS %s, %s", output(u-1, i), output(u, i))
			}
		}
	}
	s.filter(n, load)
	if !s.dots {
		s.bias(n, suffix, taps, load)
	}
	s.begin()
	begin()
	column(0, 0)
	grow()
	begin()
	column(0, 1)
	if s.dots {
		p("	SUBQ $2, R15")
		p("	JZ last%s", suffix)
	}
	p("\n	PCALIGN $32")
	p("pixel%s:", suffix)
	grow()
	begin()
	column(0, 2)
	if !s.dots {
		// The operand that a NaN must survive from stands first.
		lo, hi := s.r(temp), s.r(temp+1)
		p("	VBROADCASTSS spreadTile_lo(DI), %s", lo)
		p("	VBROADCASTSS spreadTile_hi(DI), %s", hi)
		for i := range n {
			p("	VMAXPS %s, %s, %s", output(2, i), lo, output(2, i))
			p("	VMINPS %s, %s, %s", output(2, i), hi, output(2, i))
		}
		s.write(n, suffix, outputs, store)
		p("	ADDQ R14, AX")
	}
	p("	DECQ R15")
	p("	JNZ pixel%s", suffix)
	if s.dots {
		p("\nlast%s:", suffix)
		grow()
		column(1, 2)
		grow()
		column(2, 2)
		s.filter(n, func(mem, r string) { store(r, mem) })
	}
	s.advance(n)
}
