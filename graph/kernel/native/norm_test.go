package native

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
)

// TestSumsOfManyRows holds the sums of batch normalisation to the bound that
// settleRows gives, however many rows there are: rounding every addition to
// float32 leaves it behind here. The values are such that bfloat16 holds them.
func TestSumsOfManyRows(t *testing.T) {
	const rows, c, eps = 1 << 18, 3, 1e-5
	rng := rand.New(rand.NewPCG(1, 2))
	x, dy := make([]float32, rows*c), make([]float32, rows*c)
	for i := range x {
		x[i] = float32(128+rng.IntN(128)) / 32
		dy[i] = float32(128+rng.IntN(128)) / 1024
	}
	for k := range c { // the first pixel says little about the mean
		x[k] = 0
	}
	var mean, variance, dbias, dscale, magnitude [c]float64
	for i, v := range x {
		mean[i%c] += float64(v) / rows
		dbias[i%c] += float64(dy[i])
	}
	stats := make([]float32, 3*c)
	for k, m := range mean {
		stats[k], stats[2*c+k] = float32(m), 1
	}
	for i, v := range x {
		k := i % c
		centred := float64(v) - mean[k]
		variance[k] += centred * centred / rows
		term := float64(dy[i]) * (float64(v) - float64(stats[k]))
		dscale[k] += term
		magnitude[k] += math.Abs(term)
	}
	// Each term is rounded up to twice on its way into a sum, the total once.
	const bound = (settleRows + 3) / float64(1<<24)
	within := func(t *testing.T, what string, got float32, want, magnitude float64) {
		t.Helper()
		if err := math.Abs(float64(got) - want); !(err <= bound*magnitude) {
			t.Errorf("%s is %v, want %v: off by %.2g of the terms, at most %.2g", what, got, want, err/magnitude, bound)
		}
	}
	for _, simd := range []string{"", "avx2", "off"} {
		t.Setenv("GRAFT_SIMD", simd)
		dev := New(1)
		defer dev.Close()
		run := func(d kernel.Desc, half bool, in ...[]float32) []float32 {
			if half {
				d = halved(d)
			}
			k, err := dev.Compile(d)
			if err != nil {
				t.Fatal(err)
			}
			args := buffers(d, k)
			for i, v := range in {
				if d.Args()[i].DType == kernel.BFloat16 {
					vecNarrow(host.Uint16(args[i]), v)
				} else {
					copy(host.Float32(args[i]), v)
				}
			}
			if err := k.Run(args); err != nil {
				t.Fatal(err)
			}
			return host.Float32(args[len(in)])
		}
		for _, half := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s bfloat16=%v", dev.isa.name, half), func(t *testing.T) {
				got := run(kernel.BatchNormStats{N: 1, C: c, H: 1, W: rows, Eps: eps}, half, x)
				for k := range c {
					within(t, "mean", got[k], mean[k], mean[k])
					within(t, "variance", got[c+k], variance[k], 2*variance[k])
				}
				grads := run(kernel.BatchNormReduce{N: 1, C: c, H: 1, W: rows}, half, x, dy, stats)
				for k := range c {
					within(t, "gradient of scale", grads[k], dscale[k], magnitude[k])
					within(t, "gradient of bias", grads[c+k], dbias[k], dbias[k])
				}
			})
		}
	}
}

// halved is a description with the activations x and dy in bfloat16.
func halved(d kernel.Desc) kernel.Mixed {
	m := kernel.Mixed{Desc: d}
	for _, a := range d.Args() {
		if a.Name == "x" || a.Name == "dy" {
			a.DType = kernel.BFloat16
		}
		m.DTypes = append(m.DTypes, a.DType)
	}
	return m
}
