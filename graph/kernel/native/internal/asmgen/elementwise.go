package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mapKernel computes one vector of destinations from vectors of sources,
// element by element.
type mapKernel struct {
	name    string
	ptrs    []string // arguments in order
	scalars []string
	body    func(m *mapper)
}

// row reports whether an argument is one row, which repeats along the others.
func (k mapKernel) row(ptr string) bool { return slices.Contains(rowArguments[k.name], ptr) }

// of reports whether the instruction set has the kernel.
func (k mapKernel) of(v vectors) bool { return !v.half || halfArguments[k.name] != nil }

// element is the Go type of an argument's elements.
func (k mapKernel) element(v vectors, ptr string) string {
	if v.half && slices.Contains(halfArguments[k.name], ptr) {
		return "uint16"
	}
	return "float32"
}

// mapper emits the body of a mapKernel for full or for masked vectors.
type mapper struct {
	f      *file
	v      vectors
	k      mapKernel
	next   int // free register
	tail   bool
	scalar map[string]string

	pair  int      // 1 or 2: which of two vectors of bfloat16; 0 for one
	first []string // what store keeps of the first
}

var pointers = []string{"DI", "SI", "DX", "R8", "R9", "R10", "R11", "R12"}

func (m *mapper) reg() string {
	r := fmt.Sprintf("%s%d", m.v.reg, m.next)
	m.next++
	return r
}

func (m *mapper) mem(ptr string) string {
	for i, p := range m.k.ptrs {
		if p == ptr {
			index, size, at := "AX", 4, ""
			if m.k.row(ptr) {
				index = "R13"
			}
			if m.half(ptr) {
				size = 2
			} else if m.pair == 2 {
				at = strconv.Itoa(4 * m.v.width)
			}
			return fmt.Sprintf("%s(%s)(%s*%d)", at, pointers[i], index, size)
		}
	}
	panic("asmgen: no pointer " + ptr)
}

// mask is the register that masks the tail on AVX2.
const mask = "Y15"

func (m *mapper) half(ptr string) bool { return m.k.element(m.v, ptr) == "uint16" }

func (m *mapper) suffix() string {
	if m.tail {
		return "Masked"
	}
	return ""
}

func (m *mapper) load(ptr string) string {
	r := m.reg()
	switch {
	case m.half(ptr) && m.pair > 0:
		widenTwo(m.f, m.mem(ptr), m.pair-1, r)
	case m.half(ptr):
		widening(m.f, m.suffix())(m.mem(ptr), r)
	case !m.tail:
		m.f.p("	VMOVUPS %s, %s", m.mem(ptr), r)
	case m.v.masked:
		m.f.p("	VMOVUPS.Z %s, K1, %s", m.mem(ptr), r)
	default:
		m.f.p("	VMASKMOVPS %s, %s, %s", m.mem(ptr), mask, r)
	}
	return r
}

func (m *mapper) store(ptr, r string) {
	switch {
	case m.half(ptr) && m.pair == 1:
		m.first = append(m.first, r)
	case m.half(ptr) && m.pair == 2:
		m.f.p("	%s // %s and %s to bfloat16", narrowTwo(number(r), number(m.first[0]), number(r)), m.first[0], r)
		m.f.p("	VMOVUPS %s, %s", r, m.mem(ptr))
		m.first = m.first[1:]
	case m.half(ptr):
		narrowing(m.f, m.suffix())(r, m.mem(ptr))
	case !m.tail:
		m.f.p("	VMOVUPS %s, %s", r, m.mem(ptr))
	case m.v.masked:
		m.f.p("	VMOVUPS %s, K1, %s", r, m.mem(ptr))
	default:
		m.f.p("	VMASKMOVPS %s, %s, %s", r, mask, m.mem(ptr))
	}
}

// op emits a three-operand instruction in Intel's order: dst = a op b.
func (m *mapper) op(name, a, b string) string {
	r := m.reg()
	m.f.p("	%s %s, %s, %s", name, b, a, r)
	return r
}

func (m *mapper) add(a, b string) string { return m.op("VADDPS", a, b) }
func (m *mapper) sub(a, b string) string { return m.op("VSUBPS", a, b) }
func (m *mapper) mul(a, b string) string { return m.op("VMULPS", a, b) }

// fma adds a*b to c, which it overwrites.
func (m *mapper) fma(a, b, c string) string {
	m.f.p("	VFMADD231PS %s, %s, %s", a, b, c)
	return c
}

// fnma subtracts a*b from c, which it overwrites.
func (m *mapper) fnma(a, b, c string) string {
	m.f.p("	VFNMADD231PS %s, %s, %s", a, b, c)
	return c
}

// clamp bounds x by the scalars lo and hi; as the second source, a NaN in x
// survives.
func (m *mapper) clamp(x string) string {
	return m.op("VMINPS", m.scalar["hi"], m.op("VMAXPS", m.scalar["lo"], x))
}

// maximum is max(a, b) that a NaN in either survives.
func (m *mapper) maximum(a, b string) string {
	r := m.op("VMAXPS", a, b) // b if either is NaN
	if m.v.masked {
		m.f.p("	VCMPPS $3, %s, %s, K2", a, a)
		m.f.p("	VMOVAPS %s, K2, %s", a, r)
		return r
	}
	nan := m.reg()
	m.f.p("	VCMPPS $3, %s, %s, %s", a, a, nan)
	m.f.p("	VBLENDVPS %s, %s, %s, %s", nan, a, r, r)
	return r
}

// Comparison predicates: ordered, quiet.
const (
	less        = 0x11
	lessOrEqual = 0x12
	greater     = 0x1e
)

// between keeps x where lo < a < hi, the scalars, and zeroes it elsewhere.
func (m *mapper) between(x, a string) string {
	if !m.v.masked {
		return m.where(m.where(x, a, greater, m.scalar["lo"]), a, less, m.scalar["hi"])
	}
	r := m.reg()
	m.f.p("	VCMPPS $%d, %s, %s, K2", greater, m.scalar["lo"], a)
	m.f.p("	VCMPPS $%d, %s, %s, K2, K2", less, m.scalar["hi"], a)
	m.f.p("	VMOVAPS.Z %s, K2, %s", x, r)
	return r
}

// where keeps x where a (predicate) b holds and zeroes it elsewhere.
func (m *mapper) where(x, a string, predicate int, b string) string {
	r := m.reg()
	if m.v.masked {
		m.f.p("	VCMPPS $%d, %s, %s, K2", predicate, b, a)
		m.f.p("	VMOVAPS.Z %s, K2, %s", x, r)
		return r
	}
	m.f.p("	VCMPPS $%d, %s, %s, %s", predicate, b, a, r)
	m.f.p("	VANDPS %s, %s, %s", x, r, r)
	return r
}

// rowArguments are the arguments that hold one row and repeat along the others.
var rowArguments = map[string][]string{
	"mapNorm": {"mean", "a", "b"}, "mapNormAdd": {"mean", "a", "b"},
	"mapNormBack": {"mean", "k", "m", "q"}, "mapNormBackClip": {"mean", "k", "m", "q", "b"},
}

// halfArguments are the arguments in bfloat16 of the half set, which has these
// kernels only.
var halfArguments = map[string][]string{
	"mapNorm": {"y", "x"}, "mapNormAdd": {"y", "x", "r"}, "mapNormBack": {"dx", "dy", "x"}, "mapNormBackClip": {"dx", "dy", "x"},
	"mapAdd": {"dst", "a", "b"}, "mapAddClamp": {"dst", "a", "b"}, "mapClamp": {"dst", "x"}, "mapAbove": {"dst", "dy", "x"}, "mapInside": {"dst", "dy", "x"},
	"mapScale": {"x"}, "mapAxpy": {"x"}, "mapBlend": {"dst"},
}

var mapKernels = []mapKernel{
	{"mapAdd", []string{"dst", "a", "b"}, nil,
		func(m *mapper) { m.store("dst", m.add(m.load("a"), m.load("b"))) }},
	{"mapAddClamp", []string{"dst", "a", "b"}, []string{"lo", "hi"},
		func(m *mapper) { m.store("dst", m.clamp(m.add(m.load("a"), m.load("b")))) }},
	{"mapMul", []string{"dst", "a", "b"}, nil,
		func(m *mapper) { m.store("dst", m.mul(m.load("a"), m.load("b"))) }},
	{"mapSub", []string{"dst", "a", "b"}, nil,
		func(m *mapper) { m.store("dst", m.sub(m.load("a"), m.load("b"))) }},
	{"mapDiv", []string{"dst", "a", "b"}, nil,
		func(m *mapper) { m.store("dst", m.op("VDIVPS", m.load("a"), m.load("b"))) }},
	{"mapMax", []string{"dst", "a", "b"}, nil,
		func(m *mapper) { m.store("dst", m.maximum(m.load("a"), m.load("b"))) }},
	{"mapMulAdd", []string{"dst", "a", "b"}, nil,
		func(m *mapper) { m.store("dst", m.fma(m.load("a"), m.load("b"), m.load("dst"))) }},
	{"mapScale", []string{"dst", "x"}, []string{"a"},
		func(m *mapper) { m.store("dst", m.mul(m.load("x"), m.scalar["a"])) }},
	{"mapAxpy", []string{"dst", "x"}, []string{"a"},
		func(m *mapper) { m.store("dst", m.fma(m.load("x"), m.scalar["a"], m.load("dst"))) }},
	{"mapBlend", []string{"dst", "a", "b"}, []string{"u", "v"},
		func(m *mapper) { m.store("dst", m.fma(m.load("b"), m.scalar["v"], m.mul(m.load("a"), m.scalar["u"]))) }},
	{"mapAffine", []string{"dst", "x"}, []string{"a", "b"},
		func(m *mapper) { m.store("dst", m.add(m.mul(m.load("x"), m.scalar["a"]), m.scalar["b"])) }},
	{"mapClamp", []string{"dst", "x"}, []string{"lo", "hi"},
		func(m *mapper) { m.store("dst", m.clamp(m.load("x"))) }},
	{"mapAbove", []string{"dst", "dy", "x"}, []string{"lo"},
		func(m *mapper) {
			m.store("dst", m.where(m.load("dy"), m.load("x"), greater, m.scalar["lo"]))
		}},
	{"mapInside", []string{"dst", "dy", "x"}, []string{"lo", "hi"},
		func(m *mapper) {
			x := m.load("x")
			m.store("dst", m.between(m.load("dy"), x))
		}},
	{"mapNorm", []string{"y", "x", "mean", "a", "b"}, []string{"lo", "hi"},
		func(m *mapper) {
			centred := m.sub(m.load("x"), m.load("mean"))
			m.store("y", m.clamp(m.fma(centred, m.load("a"), m.load("b"))))
		}},
	{"mapNormAdd", []string{"y", "x", "mean", "a", "b", "r"}, []string{"lo", "hi"},
		func(m *mapper) {
			centred := m.sub(m.load("x"), m.load("mean"))
			m.store("y", m.clamp(m.add(m.fma(centred, m.load("a"), m.load("b")), m.load("r"))))
		}},
	{"mapNormBackClip", []string{"dx", "dy", "x", "mean", "k", "m", "q", "b"}, []string{"lo", "hi"},
		func(m *mapper) {
			centred, k := m.sub(m.load("x"), m.load("mean")), m.load("k")
			y := m.fma(centred, k, m.load("b")) // as mapNorm computes it
			r := m.sub(m.mul(k, m.between(m.load("dy"), y)), m.load("q"))
			m.store("dx", m.fnma(m.load("m"), centred, r))
		}},
	{"mapNormBack", []string{"dx", "dy", "x", "mean", "k", "m", "q"}, nil,
		func(m *mapper) {
			r := m.mul(m.load("k"), m.load("dy"))
			r = m.sub(r, m.load("q"))
			m.store("dx", m.fnma(m.load("m"), m.sub(m.load("x"), m.load("mean")), r))
		}},
	{"mapGate", []string{"dst", "x"}, []string{"a", "b", "lo", "hi"},
		func(m *mapper) {
			x := m.load("x")
			m.store("dst", m.mul(x, m.clamp(m.add(m.mul(x, m.scalar["a"]), m.scalar["b"]))))
		}},
	{"mapExp", []string{"dst", "x"}, []string{"shift"},
		func(m *mapper) { m.store("dst", m.exp(m.sub(m.load("x"), m.scalar["shift"]))) }},
	{"mapExpAxpy", []string{"dst", "x"}, []string{"a"},
		func(m *mapper) { m.store("dst", m.fma(m.exp(m.load("x")), m.scalar["a"], m.load("dst"))) }},
	{"mapSGD", []string{"param", "velocity", "grad"}, []string{"rate", "momentum", "decay"},
		func(m *mapper) {
			w := m.load("param")
			g := m.fma(w, m.scalar["decay"], m.load("grad"))
			v := m.fma(m.load("velocity"), m.scalar["momentum"], g)
			m.store("velocity", v)
			m.store("param", m.fnma(v, m.scalar["rate"], w))
		}},
}

func elementwise(f *file, v vectors) {
	for _, k := range mapKernels {
		if !k.of(v) {
			continue
		}
		name := k.name + v.name
		var params []string
		for _, p := range k.ptrs {
			params = append(params, p+" *"+k.element(v, p))
		}
		params = append(params, "n int")
		rows := rowArguments[k.name] != nil
		if rows {
			params = append(params, "row int")
		}
		if len(k.scalars) > 0 {
			params = append(params, strings.Join(k.scalars, ", ")+" float32")
		}
		f.declare("%s(%s)", name, strings.Join(params, ", "))
		at := 8 * (len(k.ptrs) + 1)
		if rows {
			at += 8
		}
		f.p("\n// func %s(%s)", name, strings.Join(params, ", "))
		f.p("TEXT ·%s(SB), NOSPLIT, $0-%d", name, at+4*len(k.scalars))
		for i, p := range k.ptrs {
			f.p("	MOVQ %s+%d(FP), %s", p, 8*i, pointers[i])
		}
		count := "CX" // elements left, with rows those of this row
		if rows {
			count = "R14"
			f.p("	MOVQ row+%d(FP), R15", at-8)
		}
		f.p("	MOVQ n+%d(FP), %s", 8*len(k.ptrs), count)
		m := &mapper{f: f, v: v, k: k, scalar: map[string]string{}}
		for i, s := range k.scalars {
			r := m.reg()
			m.scalar[s] = r
			f.p("	VBROADCASTSS %s+%d(FP), %s", s, at+4*i, r)
		}
		first := m.next
		if v.half {
			pairSetup(f)
		}
		f.p("	XORQ AX, AX")
		if rows {
			f.p("\nrow:")
			f.p("	XORQ R13, R13")
			f.p("	MOVQ R15, CX")
			f.p("	CMPQ CX, R14")
			f.p("	CMOVQGT R14, CX")
			f.p("	SUBQ CX, R14")
		}
		// loop emits one over whole vectors, one or a pair at a time.
		loop := func(label, end string, step int, body func()) {
			f.p("	SUBQ $%d, CX", step)
			f.p("	JLT %s", end)
			f.p("\n	PCALIGN $32")
			f.p("%s:", label)
			body()
			f.p("	ADDQ $%d, AX", step)
			if rows {
				f.p("	ADDQ $%d, R13", step)
			}
			f.p("	SUBQ $%d, CX", step)
			f.p("	JGE %s", label)
			f.p("\n%s:", end)
			f.p("	ADDQ $%d, CX", step)
		}
		if v.half {
			loop("pair", "single", 2*v.width, func() {
				m.pair = 1
				k.body(m)
				m.pair = 2
				k.body(m)
				m.pair, m.next = 0, first
			})
		}
		loop("loop", "tail", v.width, func() { k.body(m) })
		f.p("	JZ done")
		laneMask(f, v)
		m.next, m.tail = first, true
		k.body(m)
		if rows {
			f.p("	ADDQ CX, AX")
		}
		f.p("\ndone:")
		if rows {
			f.p("	TESTQ R14, R14")
			f.p("	JNZ row")
		}
		f.p("	VZEROUPPER")
		f.p("	RET")
	}
}
