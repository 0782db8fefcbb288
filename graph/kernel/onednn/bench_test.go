package onednn

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
)

// benchmarkGeometries are layers of ResNet18dilated, MobileNetV2dilated and
// their decoders, with four images of 224 x 224.
func benchmarkGeometries() []kernel.Geometry {
	return []kernel.Geometry{
		geometry(4, 3, 224, 64, 3, 2, 1, 1),
		geometry(4, 64, 112, 128, 3, 1, 1, 1),
		geometry(4, 64, 56, 64, 3, 1, 1, 1),
		geometry(4, 64, 56, 128, 3, 2, 1, 1),
		geometry(4, 256, 28, 256, 3, 1, 2, 1),
		geometry(4, 512, 28, 512, 3, 1, 4, 1),
		geometry(4, 512, 28, 12, 1, 1, 1, 1),
		geometry(4, 64, 56, 128, 1, 2, 1, 1),
		geometry(4, 16, 112, 96, 1, 1, 1, 1),
		geometry(4, 144, 56, 24, 1, 1, 1, 1),
		geometry(4, 960, 28, 160, 1, 1, 1, 1),
		geometry(4, 512, 6, 128, 1, 1, 1, 1),
		geometry(4, 512, 1, 128, 1, 1, 1, 1),
		geometry(4, 32, 112, 32, 3, 1, 1, 32),
		geometry(4, 96, 112, 96, 3, 2, 1, 96),
		geometry(4, 144, 56, 144, 3, 1, 1, 144),
		geometry(4, 384, 28, 384, 3, 1, 2, 384),
		geometry(4, 960, 28, 960, 3, 1, 4, 960),
		geometry(4, 96, 56, 96, 5, 2, 1, 96),
		geometry(4, 128, 28, 128, 3, 1, 1, 32),
		geometry(4, 256, 14, 256, 3, 1, 1, 32),
	}
}

// BenchmarkConv compares the devices on every layer and pass; the metric says
// how many billion operations they do in a second, and the onednn rows name
// the code that ran.
func BenchmarkConv(b *testing.B) {
	dnnl := openDevice(b, 0)
	own := native.New(0)
	defer own.Close()
	for _, g := range benchmarkGeometries() {
		layer := fmt.Sprintf("%dto%d_%dpx_k%ds%dd%dg%d", g.C, g.O, g.H, g.KH, g.StrideH, g.DilationH, g.Groups)
		for _, pass := range []struct {
			name string
			desc kernel.Desc
		}{
			{"forward", kernel.Conv{Geometry: g}},
			{"data", kernel.ConvBackwardData{Geometry: g}},
			{"filter", kernel.ConvBackwardFilter{Geometry: g}},
		} {
			for _, dev := range []kernel.Device{own, dnnl} {
				b.Run(layer+"/"+pass.name+"/"+dev.Name(), func(b *testing.B) { benchmark(b, dev, pass.desc, g.FLOPs()) })
			}
		}
	}
}

func benchmark(b *testing.B, dev kernel.Device, desc kernel.Desc, flops float64) {
	k, err := dev.Compile(desc)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var bufs []kernel.Buffer
	for _, a := range desc.Args() {
		buf, err := dev.Alloc(a.Size())
		if err != nil {
			b.Fatal(err)
		}
		values(buf, rng)
		bufs = append(bufs, buf)
	}
	if n := k.Scratch(); n > 0 {
		buf, err := dev.Alloc(n)
		if err != nil {
			b.Fatal(err)
		}
		bufs = append(bufs, buf)
	}
	b.ReportAllocs()
	err = dev.Do(func() error {
		if err := k.Run(bufs); err != nil {
			return err
		}
		b.ResetTimer()
		for range b.N {
			if err := k.Run(bufs); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
