package native

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// TestDepthwiseKeepsNaN checks, for all instruction sets, that a pixel that is
// not a number makes all nine outputs that see it so, behind an activation too:
// a network that has diverged must not look sound.
func TestDepthwiseKeepsNaN(t *testing.T) {
	const channels, row, column, channel = 70, 4, 6, 37
	for _, simd := range []string{"off", "avx2", "avx512", ""} {
		t.Setenv(EnvSIMD, simd)
		dev := New(2)
		defer dev.Close()
		for _, stride := range []int{1, 2} {
			for _, act := range []kernel.Clip{{}, {On: true, Hi: 6}} {
				g := square(1, channels, 11, 13, channels, 3, stride, 1, channels)
				desc := kernel.Conv{Geometry: g, Act: act}
				for _, d := range []kernel.Mixed{mixed(desc), {Desc: desc, DTypes: slices.Repeat([]kernel.DType{kernel.Float32}, len(desc.Args()))}} {
					y := runOnce(t, dev, d, func(arg, i int, _ *rand.Rand) float32 {
						if arg == 0 && i == (row*g.W+column)*channels+channel {
							return float32(math.NaN())
						}
						return 1
					})
					for i, v := range y {
						k, at := i%channels, i/channels
						sees := k == channel && abs(at/g.OW*stride-row) <= 1 && abs(at%g.OW*stride-column) <= 1
						if sees != math.IsNaN(float64(v)) {
							t.Errorf("%s: element %d is %v", fmt.Sprint(dev.isa.name, d.DTypes, stride, act), i, v)
							break
						}
					}
				}
			}
		}
	}
}
