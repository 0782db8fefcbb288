package onednn

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
)

// An activation must not hide that a training has gone wrong.
func TestActivationKeepsNaN(t *testing.T) {
	d := openDevice(t, 2)
	for name, act := range map[string]kernel.Clip{
		"relu":  {On: true, Hi: float32(math.Inf(1))},
		"relu6": {On: true, Hi: 6},
	} {
		for shape, g := range map[string]kernel.Geometry{
			"1x1": geometry(1, 32, 4, 32, 1, 1, 1, 1), "3x3": geometry(1, 32, 4, 32, 3, 1, 1, 1), "depthwise": geometry(1, 32, 4, 32, 3, 1, 1, 32),
		} {
			t.Run(name+"/"+shape, func(t *testing.T) {
				k, err := d.Compile(kernel.Conv{Geometry: g, Act: act})
				if err != nil {
					t.Fatal(err)
				}
				var bufs []kernel.Buffer
				for _, a := range (kernel.Conv{Geometry: g}).Args() {
					bufs = append(bufs, host.Alloc(a.Size()))
				}
				host.Float32(bufs[0])[0] = float32(math.NaN())
				if n := k.Scratch(); n > 0 {
					bufs = append(bufs, host.Alloc(n))
				}
				if err := k.Run(bufs); err != nil {
					t.Fatal(err)
				}
				if y := host.Float32(bufs[2])[0]; y == y {
					t.Errorf("the sum of NaN and 0 is %v after the activation", y)
				}
			})
		}
	}
}
