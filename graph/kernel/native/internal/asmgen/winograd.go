package main

import (
	"fmt"
	"math"
)

// The finite points of F(4x4, 3x3) are 0, ±a and ±b; see winograd.go of package
// native.
const (
	winogradA = 0.625
	winogradB = 1.5
)

// winogradConstants are the coefficients of the transforms. Names read as
// powers of a and b; those after n0, na and nb are divided by the products of
// differences of the points.
func winogradConstants() (names []string, values map[string]float64) {
	const a, b = winogradA, winogradB
	const aa, bb = a * a, b * b
	const na, nb = 2 * aa * (aa - bb), 2 * bb * (bb - aa)
	values = map[string]float64{}
	for _, c := range []struct {
		name  string
		value float64
	}{
		{"a", a}, {"b", b}, {"aa", aa}, {"bb", bb}, {"aaa", a * aa}, {"bbb", b * bb}, {"aa+bb", aa + bb}, {"aabb", aa * bb},
		{"1/n0", 1 / (aa * bb)}, {"1/na", 1 / na}, {"a/na", a / na}, {"aa/na", aa / na}, {"1/nb", 1 / nb}, {"b/nb", b / nb}, {"bb/nb", bb / nb},
	} {
		names = append(names, c.name)
		values[c.name] = c.value
	}
	return names, values
}

// winogradTable emits the constants, eight equal lanes each.
func winogradTable(f *file) {
	names, values := winogradConstants()
	f.p("")
	for i, name := range names {
		bits := uint64(math.Float32bits(float32(values[name])))
		for lane := range 4 {
			f.p("DATA winogradTable<>+%d(SB)/8, $%#x", 32*i+8*lane, bits<<32|bits)
		}
	}
	f.p("GLOBL winogradTable<>(SB), RODATA|NOPTR, $%d", 32*len(names))
}

// transform emits one-dimensional transforms on registers.
type transform struct {
	f         *file
	v         vectors
	constants map[string]string // operands
}

func (t *transform) reg(i int) string { return fmt.Sprintf("%s%d", t.v.reg, i) }

func (t *transform) op(name string, operands ...string) {
	line := "	" + name + " "
	for i, o := range operands {
		if i > 0 {
			line += ", "
		}
		line += o
	}
	t.f.p("%s", line)
}

func (t *transform) move(from, to int)       { t.op("VMOVAPS", t.reg(from), t.reg(to)) }
func (t *transform) add(a, b, to int)        { t.op("VADDPS", t.reg(b), t.reg(a), t.reg(to)) }
func (t *transform) sub(a, b, to int)        { t.op("VSUBPS", t.reg(b), t.reg(a), t.reg(to)) }
func (t *transform) mul(k string, a, to int) { t.op("VMULPS", t.constants[k], t.reg(a), t.reg(to)) }

// fma adds k*a to to, fnma subtracts it.
func (t *transform) fma(k string, a, to int) {
	t.op("VFMADD231PS", t.constants[k], t.reg(a), t.reg(to))
}
func (t *transform) fnma(k string, a, to int) {
	t.op("VFNMADD231PS", t.constants[k], t.reg(a), t.reg(to))
}

// pair stores e+k*o as one output and e-k*o as another. It overwrites e and
// uses register tmp.
func (t *transform) pair(k string, e, o, tmp int, plus, minus int, out func(i, r int)) {
	t.move(e, tmp)
	t.fma(k, o, tmp)
	t.fnma(k, o, e)
	out(plus, tmp)
	out(minus, e)
}

// winogradTransform is a matrix of a Winograd convolution: from registers 0 to
// in-1 it computes out results, each handed to store as soon as it is there.
// Registers up to 11 are free.
type winogradTransform struct {
	name      string
	in, out   int
	images    bool // its pixels are of an image, not of a filter
	constants []string
	body      func(t *transform, store func(i, r int))
}

var winogradTransforms = []winogradTransform{
	// B^T: pixels of the image.
	{"winogradImage", 6, 6, true, []string{"a", "b", "aa", "bb", "aa+bb", "aabb"}, func(t *transform, store func(i, r int)) {
		t.move(4, 6)
		t.fnma("aa+bb", 2, 6)
		t.fma("aabb", 0, 6)
		store(0, 6)
		t.fnma("aa+bb", 3, 5)
		t.fma("aabb", 1, 5)
		store(5, 5)
		t.move(4, 7)
		t.fnma("bb", 2, 7)
		t.move(3, 8)
		t.fnma("bb", 1, 8)
		t.pair("a", 7, 8, 9, 1, 2, store)
		t.fnma("aa", 2, 4)
		t.fnma("aa", 1, 3)
		t.pair("b", 4, 3, 10, 3, 4, store)
	}},
	// A: pixels of the output's gradient.
	{"winogradGradient", 4, 6, true, []string{"a", "b", "aa", "bb", "aaa", "bbb"}, func(t *transform, store func(i, r int)) {
		store(0, 0)
		store(5, 3)
		for i, k := range []string{"a", "b"} {
			e, o, tmp := 4+3*i, 5+3*i, 6+3*i
			t.move(0, e)
			t.fma(k+k, 2, e)
			t.mul(k, 1, o)
			t.fma(k+k+k, 3, o)
			t.add(e, o, tmp)
			t.sub(e, o, e)
			store(1+2*i, tmp)
			store(2+2*i, e)
		}
	}},
	// G: taps of the filter.
	{"winogradFilter", 3, 6, false, []string{"1/n0", "1/na", "a/na", "aa/na", "1/nb", "b/nb", "bb/nb"}, func(t *transform, store func(i, r int)) {
		t.mul("1/n0", 0, 3)
		store(0, 3)
		store(5, 2)
		for i, k := range []string{"a", "b"} {
			e, o, tmp := 4+3*i, 5+3*i, 6+3*i
			t.mul("1/n"+k, 0, e)
			t.fma(k+k+"/n"+k, 2, e)
			t.mul(k+"/n"+k, 1, o)
			t.add(e, o, tmp)
			t.sub(e, o, e)
			store(1+2*i, tmp)
			store(2+2*i, e)
		}
	}},
	// A^T: pixels of the output.
	{"winogradOutput", 6, 4, true, []string{"a", "b", "aa", "bb", "aaa", "bbb"}, func(t *transform, store func(i, r int)) {
		t.add(1, 2, 6)
		t.sub(1, 2, 1)
		t.add(3, 4, 7)
		t.sub(3, 4, 3)
		t.add(0, 6, 0)
		t.add(0, 7, 0)
		store(0, 0)
		t.mul("a", 1, 2)
		t.fma("b", 3, 2)
		store(1, 2)
		t.mul("aa", 6, 4)
		t.fma("bb", 7, 4)
		store(2, 4)
		t.fma("aaa", 1, 5)
		t.fma("bbb", 3, 5)
		store(3, 5)
	}},
	// G^T: taps of the filter's gradient.
	{"winogradFilterGradient", 6, 3, false, []string{"1/n0", "1/na", "a/na", "aa/na", "1/nb", "b/nb", "bb/nb"}, func(t *transform, store func(i, r int)) {
		t.add(1, 2, 6)
		t.sub(1, 2, 1)
		t.add(3, 4, 7)
		t.sub(3, 4, 3)
		t.mul("1/n0", 0, 8)
		t.fma("1/na", 6, 8)
		t.fma("1/nb", 7, 8)
		store(0, 8)
		t.mul("a/na", 1, 2)
		t.fma("b/nb", 3, 2)
		store(1, 2)
		t.fma("aa/na", 6, 5)
		t.fma("bb/nb", 7, 5)
		store(2, 5)
	}},
}

// winograd emits the two-dimensional transforms, for bfloat16 those of images.
// Those with six results read
// pixels and write frequencies, those from six read frequencies and write
// pixels; between the passes along the two axes numbers wait in
// winogradTile.temp.
func winograd(f *file, v vectors) {
	for _, w := range winogradTransforms {
		if !v.half || w.images {
			w.emit(f, v)
		}
	}
}

func (w *winogradTransform) emit(f *file, v vectors) {
	name, size := w.name+v.name, 4*v.width
	f.declare("%s(t *winogradTile)", name)
	f.p("\n// func %s(t *winogradTile)", name)
	f.p("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	f.p("	MOVQ t+0(FP), DI")
	f.p("	LEAQ winogradTile_pixels(DI), SI")
	f.p("	MOVQ winogradTile_temp(DI), DX")
	f.p("	MOVQ winogradTile_plane(DI), R8")
	f.p("	MOVQ winogradTile_pitch(DI), R9")
	f.p("	SHLQ $2, R9")
	f.p("	LEAQ (R9)(R9*2), R10")
	f.p("	LEAQ (R9)(R9*4), R11")
	f.p("	MOVQ winogradTile_lanes(DI), CX")
	f.p("	MOVQ winogradTile_start(DI), AX")

	t := &transform{f: f, v: v, constants: map[string]string{}}
	names, _ := winogradConstants()
	next := 31
	for _, k := range w.constants {
		for i, n := range names {
			if n != k {
				continue
			}
			mem := fmt.Sprintf("winogradTable<>+%d(SB)", 32*i)
			if v.masked {
				f.p("	VBROADCASTSS %s, %s", mem, t.reg(next))
				mem = t.reg(next)
				next--
			}
			t.constants[k] = mem
		}
	}
	const lo, hi, bias = 12, 13, 14
	if w.clips() {
		f.p("	MOVQ winogradTile_bias(DI), R15")
		f.p("	VBROADCASTSS winogradTile_lo(DI), %s", t.reg(lo))
		f.p("	VBROADCASTSS winogradTile_hi(DI), %s", t.reg(hi))
	}

	temp := func(i int) string { return fmt.Sprintf("%d(DX)", i*size) }
	move := func(from, to string) { f.p("	VMOVUPS %s, %s", from, to) }
	frequency := func(j int) string {
		return [...]string{"(R12)", "(R12)(R9*1)", "(R12)(R9*2)", "(R12)(R10*1)", "(R12)(R9*4)", "(R12)(R11*1)"}[j]
	}
	pixel := func(i int) string {
		f.p("	MOVQ %d(SI), R13", 8*i)
		return "(R13)(AX*1)"
	}
	single(f, v, "block", "done", func(suffix string, load func(mem, dst string), store func(src, mem string)) {
		float, scale := load, 1 // of the bias; to its bytes from those of pixels
		if v.half {
			load, store, scale = widening(f, suffix), narrowing(f, suffix), 2
		}
		f.p("	MOVQ R8, R12")
		if w.out == 6 {
			for j := range w.in {
				for i := range w.in {
					load(pixel(i*w.in+j), t.reg(i))
				}
				w.body(t, func(i, r int) { move(t.reg(r), temp(i*w.in+j)) })
			}
			for i := range 6 {
				for j := range w.in {
					move(temp(i*w.in+j), t.reg(j))
				}
				w.body(t, func(j, r int) { move(t.reg(r), frequency(j)) })
				if i < 5 {
					f.p("	LEAQ (R12)(R10*2), R12")
				}
			}
		} else {
			if w.clips() {
				float(fmt.Sprintf("(R15)(AX*%d)", scale), t.reg(bias))
			}
			for i := range 6 {
				for j := range 6 {
					move(frequency(j), t.reg(j))
				}
				w.body(t, func(j, r int) { move(t.reg(r), temp(i*w.out+j)) })
				if i < 5 {
					f.p("	LEAQ (R12)(R10*2), R12")
				}
			}
			for j := range w.out {
				for i := range 6 {
					move(temp(i*w.out+j), t.reg(i))
				}
				w.body(t, func(i, r int) {
					if w.clips() {
						// The operand that a NaN must survive from stands first.
						t.add(r, bias, r)
						t.op("VMAXPS", t.reg(r), t.reg(lo), t.reg(r))
						t.op("VMINPS", t.reg(r), t.reg(hi), t.reg(r))
					}
					store(t.reg(r), pixel(i*w.out+j))
				})
			}
		}
		f.p("	ADDQ winogradTile_pixelStep(DI), AX")
		f.p("	ADDQ winogradTile_planeStep(DI), R8")
		f.p("	SUBQ $%d, CX", v.width)
		f.p("	JMP block")
	})
	f.p("\ndone:")
	f.p("	VZEROUPPER")
	f.p("	RET")
}

// clips reports whether the results get a bias and an activation.
func (w *winogradTransform) clips() bool { return w.name == "winogradOutput" }
