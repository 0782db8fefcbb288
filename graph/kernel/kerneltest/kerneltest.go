// Package kerneltest is the suite that every kernel.Device must pass.
//
// Each description is run on random and edge-case shapes and compared, element
// by element, with a float64 reference written from the definition on logical
// indices. A difference is measured against the magnitude of what was added
// up: |got - want| <= tol * sum|terms|, where tol is sumTol unless a case says
// otherwise, and operations that only move or choose values must be exact. The
// gradients are compared with finite differences of the forward reference as
// well. Everything runs once more in mixed precision (kernel.Mixed), on numbers
// that bfloat16 holds: there a result may be off by the rounding at its end as
// well, half a unit in the last place. Around every run the suite checks what the contract promises beside
// the numbers: outputs are written whole, inputs and the bytes around all
// arguments stay as they were, a second run gives the same bits, and outputs
// may share the buffers that the documentation says they may.
package kerneltest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// sumTol bounds the error of a float32 result relative to the sum of the
// magnitudes of its terms: about 80 units in the last place, which leaves room
// for any order of summation of the few thousand terms tested here.
const sumTol = 1e-5

// funcTol is the same for functions of one element, whose kernels may use
// polynomials: about 64 units in the last place of max(|f(x)|, 0.1).
const funcTol = 4e-6

// Run tests a device.
func Run(t *testing.T, dev kernel.Device) {
	groups := []struct {
		name string
		run  func(t *testing.T, dev kernel.Device)
	}{
		{"Device", testDevice},
		{"Conv", testConv},
		{"MatMul", testMatMul},
		{"Unary", testUnary},
		{"Binary", testBinary},
		{"Reduce", testReduce},
		{"Copy", testCopy},
		{"Take", testTake},
		{"Dropout", testDropout},
		{"BatchNorm", testBatchNorm},
		{"Pool", testPool},
		{"Resample", testResample},
		{"Softmax", testSoftmax},
		{"NLL", testNLL},
		{"Loss", testLoss},
		{"SGD", testSGD},
		{"AdamW", testAdamW},
		{"Average", testAverage},
		{"Cast", testCast},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) { g.run(t, dev) })
	}
	for _, g := range groups[1 : len(groups)-1] { // those of computations
		t.Run("Mixed "+g.name, func(t *testing.T) { g.run(t, mixed{dev}) })
	}
}

// value is a reference result: the numbers and, for each, the magnitude that
// its tolerance is relative to. A nil mag asks for equality.
type value struct{ want, mag []float64 }

// spec is one test of a description.
type spec struct {
	name string
	desc kernel.Desc
	// in holds the arguments by position in logical order, nil for those that
	// are only written.
	in [][]float64
	// want holds the results of the arguments that are written, in order.
	want []value
	tol  float64 // sumTol if 0
	// alias lists pairs (written argument, argument whose buffer it may take).
	alias [][2]int
	// loss, if set, is a function of the differentiated variable whose
	// gradient at point is result gradOf.
	loss   func(v []float64) float64
	point  []float64
	gradOf int
}

// test runs a spec with all its checks.
func (s *spec) test(t *testing.T, dev kernel.Device) {
	t.Helper()
	t.Run(s.name, func(t *testing.T) {
		t.Helper()
		if _, ok := dev.(mixed); ok {
			s = s.mix()
		}
		k, err := dev.Compile(s.desc)
		if err != nil {
			t.Fatalf("compile %+v: %v", s.desc, err)
		}
		first := s.exec(t, dev, k, [2]int{-1, -1}, 0xff)
		s.compare(t, first, "")
		again := s.exec(t, dev, k, [2]int{-1, -1}, 0x4b)
		for i := range first {
			if !sameBits(first[i], again[i]) {
				t.Errorf("%+v: a second run with other garbage in outputs and scratch gives other bits in result %d", s.desc, i)
			}
		}
		for _, a := range s.alias {
			shared := s.exec(t, dev, k, a, 0xff)
			s.compare(t, shared, fmt.Sprintf(" with argument %d in the buffer of %d", a[0], a[1]))
		}
		s.differences(t, first)
	})
}

// guard is how many bytes around each argument must stay untouched.
const guard = 256

// argument is a buffer between guards.
type argument struct {
	whole, buf kernel.Buffer
	before     []byte
}

func place(t *testing.T, dev kernel.Device, content []byte) argument {
	t.Helper()
	padded := bytes.Repeat([]byte{0xa5}, len(content)+2*guard)
	copy(padded[guard:], content)
	whole, err := dev.Alloc(len(padded))
	if err == nil {
		err = dev.Upload(whole, padded)
	}
	if err != nil {
		t.Fatal(err)
	}
	return argument{whole, whole.Slice(guard, len(content)), padded}
}

// read returns the argument's bytes after checking what must not change.
func (a argument) read(t *testing.T, dev kernel.Device, name string, written bool) []byte {
	t.Helper()
	after := make([]byte, len(a.before))
	if err := dev.Download(after, a.whole); err != nil {
		t.Fatal(err)
	}
	end := len(after) - guard
	if !bytes.Equal(after[:guard], a.before[:guard]) || !bytes.Equal(after[end:], a.before[end:]) {
		t.Errorf("argument %s: the kernel wrote outside the buffer", name)
	}
	if !written && !bytes.Equal(after, a.before) {
		t.Errorf("argument %s: the kernel changed an input", name)
	}
	return after[guard:end]
}

// exec runs a kernel once and returns what it wrote, in logical order. Outputs
// and scratch start out filled with the byte garbage.
func (s *spec) exec(t *testing.T, dev kernel.Device, k kernel.Kernel, alias [2]int, garbage byte) [][]float64 {
	t.Helper()
	out, err := s.tryExec(t, dev, k, alias, garbage)
	if err != nil {
		t.Fatalf("run %+v: %v", s.desc, err)
	}
	return out
}

func (s *spec) tryExec(t *testing.T, dev kernel.Device, k kernel.Kernel, alias [2]int, garbage byte) ([][]float64, error) {
	t.Helper()
	args := s.desc.Args()
	placed := make([]argument, len(args))
	run := make([]kernel.Buffer, len(args), len(args)+1)
	for i, a := range args {
		content := bytes.Repeat([]byte{garbage}, a.Size())
		if a.Dir != kernel.Out {
			content = encode(a, s.in[i])
		}
		placed[i] = place(t, dev, content)
		run[i] = placed[i].buf
	}
	if alias[0] >= 0 {
		placed[alias[0]] = placed[alias[1]]
		run[alias[0]] = run[alias[1]]
	}
	var scratch argument
	if n := k.Scratch(); n > 0 {
		scratch = place(t, dev, bytes.Repeat([]byte{garbage}, n))
		run = append(run, scratch.buf)
	}
	if err := dev.Do(func() error { return k.Run(run) }); err != nil {
		return nil, err
	}
	if scratch.buf != nil {
		scratch.read(t, dev, "scratch", true)
	}
	var out [][]float64
	for i, a := range args {
		written := a.Dir != kernel.In
		data := placed[i].read(t, dev, a.Name, written || i == alias[1])
		if written {
			out = append(out, decode(a, data))
		}
	}
	return out, nil
}

// compare checks results against the reference.
func (s *spec) compare(t *testing.T, got [][]float64, how string) {
	t.Helper()
	if len(got) != len(s.want) {
		t.Fatalf("%d results, the test expects %d", len(got), len(s.want))
	}
	tol := s.tol
	if tol == 0 {
		tol = sumTol
	}
	for r, v := range s.want {
		bad, worst, at := 0, 0.0, -1
		rounding := s.rounding(r)
		for i, want := range v.want {
			limit := 0.0
			if v.mag != nil {
				limit = tol*v.mag[i] + rounding*math.Abs(want)
			}
			if !near(got[r][i], want, limit) {
				bad++
				if d := math.Abs(got[r][i]-want) - limit; at < 0 || d > worst {
					worst, at = d, i
				}
			}
		}
		if bad > 0 {
			t.Errorf("%+v%s: result %d: %d of %d elements differ, element %d most: got %v, want %v",
				s.desc, how, r, bad, len(v.want), at, got[r][at], v.want[at])
		}
	}
}

// near compares numbers; NaN agrees with NaN, an infinity with itself.
func near(got, want, limit float64) bool {
	if math.IsNaN(want) || math.IsInf(want, 0) {
		return got == want || math.IsNaN(got) && math.IsNaN(want)
	}
	return math.Abs(got-want) <= limit
}

// differences compares a gradient with central differences of the loss at up
// to 24 points. The step's own error is about 1e-8 relative.
func (s *spec) differences(t *testing.T, got [][]float64) {
	t.Helper()
	if s.loss == nil {
		return
	}
	const h = 1e-4
	grad, rng := got[s.gradOf], newRand(nil, uint64(len(s.point)))
	v := append([]float64(nil), s.point...)
	for range min(24, len(v)) {
		i := rng.IntN(len(v))
		keep := v[i]
		v[i] = keep + h
		up := s.loss(v)
		v[i] = keep - h
		down := s.loss(v)
		v[i] = keep
		want := (up - down) / (2 * h)
		mag := math.Abs(want)
		if m := s.want[s.gradOf].mag; m != nil {
			mag += m[i]
		}
		if !near(grad[i], want, 2e-5*mag+1e-6) {
			t.Errorf("%+v: gradient %d is %v, finite differences say %v", s.desc, i, grad[i], want)
			return
		}
	}
}

// encode lays out logical values in an argument's physical form.
func encode(a kernel.Arg, v []float64) []byte {
	b := make([]byte, a.Size())
	if len(v) != kernel.Len(a.Shape) {
		panic(fmt.Sprintf("kerneltest: argument %s of shape %v given %d values", a.Name, a.Shape, len(v)))
	}
	kernel.Walk(a.Shape, func(logical, physical int) {
		x := v[logical]
		switch a.DType {
		case kernel.Float32:
			binary.LittleEndian.PutUint32(b[4*physical:], math.Float32bits(float32(x)))
		case kernel.Int32:
			binary.LittleEndian.PutUint32(b[4*physical:], uint32(int32(x)))
		case kernel.Uint64:
			binary.LittleEndian.PutUint64(b[8*physical:], uint64(x))
		case kernel.BFloat16:
			binary.LittleEndian.PutUint16(b[2*physical:], uint16(math.Float32bits(float32(x))>>16))
		}
	})
	return b
}

// decode is the inverse of encode.
func decode(a kernel.Arg, b []byte) []float64 {
	v := make([]float64, kernel.Len(a.Shape))
	kernel.Walk(a.Shape, func(logical, physical int) {
		switch a.DType {
		case kernel.Float32:
			v[logical] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*physical:])))
		case kernel.Int32:
			v[logical] = float64(int32(binary.LittleEndian.Uint32(b[4*physical:])))
		case kernel.Uint64:
			v[logical] = float64(binary.LittleEndian.Uint64(b[8*physical:]))
		case kernel.BFloat16:
			v[logical] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*physical:])) << 16))
		}
	})
	return v
}

func sameBits(a, b []float64) bool {
	for i, v := range a {
		if math.Float64bits(v) != math.Float64bits(b[i]) {
			return false
		}
	}
	return true
}

// numbers are reproducible and random. Those for a test in mixed precision are
// some that bfloat16 holds.
type numbers struct {
	*rand.Rand
	half bool
}

func newRand(dev kernel.Device, seed uint64) numbers {
	_, half := dev.(mixed)
	return numbers{rand.New(rand.NewPCG(seed, 0x6772616674)), half}
}

// hold rounds to what the test's arguments hold.
func (r numbers) hold(x float64) float64 {
	if r.half {
		return bfloat16(x)
	}
	return float64(float32(x))
}

// normal returns n random numbers of mean 0 and deviation 1.
func normal(rng numbers, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = rng.hold(rng.NormFloat64())
	}
	return v
}

// uniform returns n random numbers from lo to hi.
func uniform(rng numbers, n int, lo, hi float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = rng.hold(lo + (hi-lo)*rng.Float64())
	}
	return v
}

// distinct returns a random order of n numbers 1/8 apart: no ties, and no
// ordering that a small step would change. Those that bfloat16 holds have to lie
// closer, and there are no more than 2^14 of them here.
func distinct(rng numbers, n int) []float64 {
	v := make([]float64, n)
	for i, k := range rng.Perm(n) {
		if rng.half {
			v[i] = float64(math.Float32frombits(uint32(0x3c00+k%(1<<14)) << 16))
		} else {
			v[i] = float64(k-n/2) / 8
		}
	}
	return v
}

// integer returns a random one below 60000 that the test's arguments hold.
func (r numbers) integer() float64 {
	if r.half {
		return float64(r.IntN(257))
	}
	return float64(r.IntN(60000))
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// index is the row-major index of a position in a logical shape.
func index(shape []int, pos ...int) int {
	i := 0
	for k, n := range shape {
		i = i*n + pos[k]
	}
	return i
}
