package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// mixed is a device whose tests run in mixed precision.
type mixed struct{ kernel.Device }

// bfloat16 rounds to the nearest number that bfloat16 holds, ties to even.
func bfloat16(x float64) float64 {
	b := math.Float32bits(float32(x))
	if x != x || math.IsInf(x, 0) {
		return x
	}
	return float64(math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff))
}

// activation tells the arguments that mixed precision stores as bfloat16 from
// weights and statistics.
func activation(a kernel.Arg) bool {
	return a.DType == kernel.Float32 && slices.Contains([]string{"x", "y", "a", "b", "dx", "dy", "dsum", "logprob", "dlogprob"}, a.Name)
}

// mix returns the spec with the activations among its arguments stored as
// bfloat16, as far as that holds what the test wants to put in.
func (s *spec) mix() *spec {
	m := *s
	args := s.desc.Args()
	d := kernel.Mixed{Desc: s.desc}
	for i, a := range args {
		t := a.DType
		if activation(a) && (s.in[i] == nil || !slices.ContainsFunc(s.in[i], func(v float64) bool { return v == v && bfloat16(v) != v })) {
			t = kernel.BFloat16
		}
		d.DTypes = append(d.DTypes, t)
	}
	m.desc, m.loss = d, nil // the references met finite differences before
	m.alias = slices.DeleteFunc(slices.Clone(s.alias), func(p [2]int) bool { return d.DTypes[p[0]] != d.DTypes[p[1]] })
	return &m
}

// rounding returns the relative error that the type of the r'th result has room
// for: half a unit in the last place of bfloat16, which has 8 bits.
func (s *spec) rounding(r int) float64 {
	for _, a := range s.desc.Args() {
		if a.Dir == kernel.In {
			continue
		}
		if r--; r < 0 && a.DType == kernel.BFloat16 {
			return 1.0 / 256
		} else if r < 0 {
			break
		}
	}
	return 0
}

// testCast checks rounding, and what becomes of NaN, infinities and numbers that
// are too large.
func testCast(t *testing.T, dev kernel.Device) {
	nan, inf := math.NaN(), math.Inf(1)
	x := []float64{0, math.Copysign(0, -1), 1, -1, 1 + 1.0/256, 1 + 3.0/256, 1 + 1.0/256 + 1.0/(1<<20), 1 + 1.0/256 - 1.0/(1<<20),
		math.MaxFloat32, -math.MaxFloat32, inf, -inf, nan, 3e38, 1e-30, -2.5, 65535, 0x1p-126}
	y := []float64{0, math.Copysign(0, -1), 1, -1, 1, 1 + 4.0/256, 1 + 2.0/256, 1,
		inf, -inf, inf, -inf, nan, bfloat16(3e38), bfloat16(1e-30), -2.5, 65536, 0x1p-126}
	for _, n := range []int{1, 7, len(x), 20003} {
		in, out := make([]float64, n), make([]float64, n)
		for i := range in {
			in[i], out[i] = x[i%len(x)], y[i%len(x)]
		}
		(&spec{name: fmt.Sprintf("narrow %d", n), desc: kernel.Cast(kernel.Float32, kernel.BFloat16, n), in: [][]float64{in, nil}, want: []value{{want: out}}}).test(t, dev)
		(&spec{name: fmt.Sprintf("widen %d", n), desc: kernel.Cast(kernel.BFloat16, kernel.Float32, n), in: [][]float64{out, nil}, want: []value{{want: out}}}).test(t, dev)
	}
}
