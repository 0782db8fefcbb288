package native

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
)

// tileDevices returns a device that multiplies tiles and one that multiplies
// pairs instead, or skips the test.
func tileDevices(t *testing.T, threads int) (tiles, pairs *Device) {
	t.Setenv(EnvSIMD, "avx512")
	pairs = New(threads)
	t.Setenv(EnvSIMD, "")
	tiles = New(threads)
	t.Cleanup(func() { tiles.Close(); pairs.Close() })
	if tiles.isa.half == nil || !tiles.isa.half.amx {
		t.Skip("no AMX here")
	}
	pairs.winograd = false
	return tiles, pairs
}

// runOnce compiles a description and runs it on pseudo-random numbers; scratch and
// output hold NaN before. It returns the last argument.
func runOnce(t *testing.T, dev *Device, d kernel.Mixed, number func(arg, i int, rng *rand.Rand) float32) []float32 {
	t.Helper()
	k, err := dev.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	args := buffers(d, k)
	rng := rand.New(rand.NewPCG(3, 4))
	out := len(d.DTypes) - 1
	for i, a := range args {
		dtype := kernel.Float32 // scratch
		if i <= out {
			dtype = d.DTypes[i]
		}
		write(a, dtype, func(j int) float32 {
			if i >= out {
				return float32(math.NaN())
			}
			return number(i, j, rng)
		})
	}
	if err := k.Run(args); err != nil {
		t.Fatal(err)
	}
	if d.DTypes[out] == kernel.Float32 {
		return host.Float32(args[out])
	}
	y := make([]float32, len(host.Uint16(args[out])))
	vecWiden(y, host.Uint16(args[out]))
	return y
}

func normalNumber(_, _ int, rng *rand.Rand) float32 { return float32(rng.NormFloat64()) }

// square is a convolution whose padding keeps the size for stride 1.
func square(n, c, h, w, o, k, stride, dilation, groups int) kernel.Geometry {
	pad := (k - 1) / 2 * dilation
	size := func(in int) int { return (in+2*pad-(k-1)*dilation-1)/stride + 1 }
	return kernel.Geometry{N: n, C: c, H: h, W: w, O: o, OH: size(h), OW: size(w), KH: k, KW: k, StrideH: stride, StrideW: stride,
		DilationH: dilation, DilationW: dilation, PadTop: pad, PadLeft: pad, PadBottom: pad, PadRight: pad, Groups: groups}
}

// TestTilesAgreeWithPairs compares AMX with AVX512_BF16, which the common suite
// compares with float64, on shapes that are too large for that one: channels and
// pixels that fill no tile, several blocks of channels, of pixels and of rows.
// The sums differ in order alone, the results by one unit of bfloat16 at most.
func TestTilesAgreeWithPairs(t *testing.T) {
	valid := square(1, 520, 9, 70, 33, 3, 1, 1, 1)
	valid.PadTop, valid.PadLeft, valid.PadBottom, valid.PadRight, valid.OH, valid.OW = 0, 0, 0, 0, 7, 68
	uneven := square(2, 34, 13, 10, 48, 3, 2, 1, 1)
	uneven.PadTop, uneven.PadLeft, uneven.OH, uneven.OW = 0, 2, 6, 6
	geometries := []kernel.Geometry{
		square(1, 1, 5, 7, 1, 3, 1, 1, 1), square(2, 3, 33, 31, 17, 7, 2, 1, 1), square(3, 17, 7, 7, 31, 3, 1, 1, 1),
		square(2, 31, 15, 20, 33, 3, 1, 1, 1), square(2, 33, 14, 15, 48, 1, 1, 1, 1), square(1, 48, 19, 40, 64, 3, 2, 1, 1),
		square(2, 64, 30, 40, 50, 3, 1, 1, 1), square(1, 66, 17, 23, 130, 3, 1, 2, 1), square(2, 40, 12, 13, 20, 3, 1, 9, 1),
		square(2, 64, 15, 17, 96, 3, 1, 1, 2), square(1, 72, 9, 33, 36, 1, 2, 1, 1), square(1, 36, 11, 9, 72, 5, 3, 1, 1),
		square(1, 1030, 20, 21, 40, 3, 1, 1, 1), square(8, 96, 7, 7, 70, 3, 1, 1, 1), square(1, 24, 3, 600, 16, 3, 1, 1, 1),
		square(5, 600, 1, 1, 130, 1, 1, 1, 1), square(3, 1, 9, 11, 37, 1, 1, 1, 1), square(1, 2560, 6, 8, 33, 3, 1, 1, 1), valid, uneven,
	}
	for _, threads := range []int{1, 3} {
		tiles, pairs := tileDevices(t, threads)
		for _, g := range geometries {
			for name, desc := range directions(g) {
				d := mixed(desc)
				want, got := runOnce(t, pairs, d, normalNumber), runOnce(t, tiles, d, normalNumber)
				most := 0.0
				for _, v := range want {
					most = max(most, math.Abs(float64(v)))
				}
				unit := 1.0 / 128
				if d.DTypes[len(d.DTypes)-1] == kernel.Float32 {
					unit = 0
				}
				for i, v := range want {
					if diff := math.Abs(float64(v - got[i])); !(diff <= unit*math.Abs(float64(v))+2e-6*most) {
						t.Errorf("%d threads, %s of %+v: element %d of %d is %v, want %v", threads, name, g, i, len(want), got[i], v)
						break
					}
				}
			}
		}
	}
}

// TestTilesKeepNaN checks that what depends on a number that is not finite is
// not finite either, that nothing else is (but other taps of a filter), and that
// the same run gives the same bits.
func TestTilesKeepNaN(t *testing.T) {
	tiles, pairs := tileDevices(t, 2)
	for _, g := range []kernel.Geometry{square(2, 34, 9, 9, 40, 3, 1, 1, 1), square(2, 50, 9, 11, 20, 3, 2, 1, 1), square(1, 36, 9, 9, 40, 1, 1, 1, 1)} {
		for name, desc := range directions(g) {
			d := mixed(desc)
			for _, bad := range []float64{math.NaN(), math.Inf(1)} {
				for input := range 2 {
					spoil := func(arg, i int, rng *rand.Rand) float32 {
						v := normalNumber(arg, i, rng)
						if arg == input && i == 301 {
							v = float32(bad)
						}
						return v
					}
					want, got, again := runOnce(t, pairs, d, spoil), runOnce(t, tiles, d, spoil), runOnce(t, tiles, d, spoil)
					spoiled := 0
					for i := range want {
						finite := func(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
						// Zeros stand beside the output's gradient here, beside the source there.
						lost := finite(got[i]) && !finite(want[i]) && (name != "filter" || input == 0)
						spread := finite(want[i]) && !finite(got[i]) && (name != "filter" || input == 1)
						if (lost || spread) && name != "fused" {
							t.Fatalf("%s of %+v with %v in argument %d: element %d is %v, want %v", name, g, bad, input, i, got[i], want[i])
						}
						if math.Float32bits(got[i]) != math.Float32bits(again[i]) {
							t.Fatalf("%s of %+v: element %d is %v, then %v", name, g, i, got[i], again[i])
						}
						if !finite(want[i]) {
							spoiled++
						}
					}
					if spoiled == 0 && name != "fused" {
						t.Errorf("%s of %+v: nothing depends on element 301 of argument %d", name, g, input)
					}
				}
			}
		}
	}
}
