package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Bench measures a device on shapes of the networks that graft trains and
// reports GB/s of arguments, and GFLOP/s where a description counts its work.
func Bench(b *testing.B, dev kernel.Device) {
	convs := []struct {
		name string
		g    kernel.Geometry
	}{
		{"3x3 64 of 56x56", geometry(4, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, same(1), 1)},
		{"3x3 512 of 30x40 dilation 2", geometry(1, 512, 30, 40, 512, 3, 3, 1, 1, 2, 2, same(2), 1)},
		{"1x1 96 to 24 of 60x80", geometry(4, 96, 60, 80, 24, 1, 1, 1, 1, 1, 1, same(0), 1)},
		{"1x1 160 to 960 of 30x40", geometry(4, 160, 30, 40, 960, 1, 1, 1, 1, 1, 1, same(0), 1)},
		{"7x7 stride 2 of 224x224", geometry(2, 3, 224, 224, 64, 7, 7, 2, 2, 1, 1, same(3), 1)},
		{"depthwise 32 of 120x160", geometry(4, 32, 120, 160, 32, 3, 3, 1, 1, 1, 1, same(1), 32)},
		{"depthwise 96 of 120x160 stride 2", geometry(4, 96, 120, 160, 96, 3, 3, 2, 2, 1, 1, same(1), 96)},
		{"depthwise 144 of 60x80", geometry(4, 144, 60, 80, 144, 3, 3, 1, 1, 1, 1, same(1), 144)},
		{"depthwise 576 of 30x40 dilation 2", geometry(4, 576, 30, 40, 576, 3, 3, 1, 1, 2, 2, same(2), 576)},
		{"depthwise 960 of 30x40 dilation 4", geometry(4, 960, 30, 40, 960, 3, 3, 1, 1, 4, 4, same(4), 960)},
	}
	for _, c := range convs {
		bench(b, dev, c.name+"/forward", kernel.Conv{Geometry: c.g}, c.g.FLOPs())
		bench(b, dev, c.name+"/data", kernel.ConvBackwardData{Geometry: c.g}, c.g.FLOPs())
		bench(b, dev, c.name+"/filter", kernel.ConvBackwardFilter{Geometry: c.g}, c.g.FLOPs())
	}
	m := kernel.MatMul{Batch: 1, M: 512, N: 512, K: 512}
	bench(b, dev, "matmul 512", m, m.FLOPs())
	const n, c, h, w = 4, 96, 60, 80
	bench(b, dev, "batch norm/stats", kernel.BatchNormStats{N: n, C: c, H: h, W: w}, 0)
	bench(b, dev, "batch norm/forward", kernel.BatchNorm{N: n, C: c, H: h, W: w, Act: kernel.Clip{On: true, Hi: 6}}, 0)
	bench(b, dev, "batch norm/reduce", kernel.BatchNormReduce{N: n, C: c, H: h, W: w}, 0)
	bench(b, dev, "batch norm/reduce of a sum", kernel.BatchNormReduce{N: n, C: c, H: h, W: w, Residual: true, Act: kernel.Clip{On: true, Hi: float32(math.Inf(1))}}, 0)
	bench(b, dev, "batch norm/backward", kernel.BatchNormBackward{N: n, C: c, H: h, W: w, Count: n * h * w}, 0)
	bench(b, dev, "batch norm/stats 24 channels", kernel.BatchNormStats{N: n, C: 24, H: 120, W: 160}, 0)
	bench(b, dev, "add", kernel.Binary{A: []int{n, c, h, w}, B: []int{n, c, h, w}, Out: []int{n, c, h, w}}, 0)
	bench(b, dev, "relu", kernel.Unary{Op: kernel.Relu, Len: n * c * h * w}, 0)
	bench(b, dev, "clamp backward", kernel.UnaryBackward{Op: kernel.Clamp, Beta: 6, Len: n * c * h * w}, 0)
	bench(b, dev, "bilinear x8 21 channels", kernel.Resample{N: 1, C: 21, Rows: linear(30, 240), Cols: linear(40, 320)}, 0)
	bench(b, dev, "bilinear x8 21 channels/gradient", kernel.Resample{N: 1, C: 21, Rows: linear(30, 240).Transpose(), Cols: linear(40, 320).Transpose()}, 0)
	bench(b, dev, "adaptive pool 2048 to 3x3", kernel.Resample{N: 1, C: 2048, Rows: adaptive(30, 3), Cols: adaptive(40, 3)}, 0)
	pool := kernel.Pool{Geometry: pooled(4, 64, 112, 112, 3, 3, 2, 2, 1, 1, same(1), 0, 0)}
	bench(b, dev, "max pool", pool, 0)
	bench(b, dev, "max pool/backward", kernel.PoolBackward{Pool: pool}, 0)
	for _, m := range []kernel.NLL{{N: 2, C: 150, H: 64, W: 64, Ignore: -1}, {N: 2, C: 21, H: 240, W: 320, Ignore: -1}, {N: 4, C: 11, H: 240, W: 320, Ignore: -1}} {
		name := fmt.Sprintf("%d classes/", m.C)
		softmax := kernel.Softmax{Outer: m.N * m.H * m.W, Axis: m.C, Inner: 1}
		bench(b, dev, name+"softmax", softmax, 0)
		softmax.Log = true
		bench(b, dev, name+"log softmax", softmax, 0)
		benchOne(b, dev, name+"log softmax of bfloat16", kernel.Mixed{Desc: softmax, DTypes: []kernel.DType{kernel.BFloat16, kernel.Float32}}, 0)
		bench(b, dev, name+"log softmax/backward", kernel.SoftmaxBackward{Softmax: softmax}, 0)
		bench(b, dev, name+"nll", m, 0)
		bench(b, dev, name+"nll/backward", kernel.NLLBackward{NLL: m}, 0)
		both := kernel.LogSoftmaxNLLBackward{NLL: m}
		bench(b, dev, name+"log softmax and nll/backward", both, 0)
		types := []kernel.DType{kernel.Float32, kernel.Int32, kernel.Float32, kernel.Float32, kernel.BFloat16}
		benchOne(b, dev, name+"log softmax and nll/backward to bfloat16", kernel.Mixed{Desc: both, DTypes: types}, 0)
	}
	bench(b, dev, "sgd", kernel.SGD{Len: 3 << 20}, 0)
	bench(b, dev, "image to channels-last", kernel.Copy{Shape: []int{4, 3, 240, 320}, SrcStrides: []int{230400, 76800, 320, 1},
		DstStrides: []int{230400, 1, 960, 3}, SrcLen: 921600, DstLen: 921600}, 0)
	bench(b, dev, "concatenate", kernel.Copy{Shape: []int{4800, 512}, SrcStrides: []int{512, 1}, DstStrides: []int{4096, 1},
		SrcLen: 4800 * 512, DstLen: 4800 * 4096}, 0)
	bench(b, dev, "reduce to channels", kernel.Reduce{In: []int{n, c, h, w}, Shape: []int{1, c, 1, 1}}, 0)
	bench(b, dev, "dropout", kernel.Dropout{Shape: []int{4, 512, 30, 40}, Ratio: 0.5}, 0)
}

// bench measures a description in float32 and in mixed precision.
func bench(b *testing.B, dev kernel.Device, name string, d kernel.Desc, flops float64) {
	benchOne(b, dev, name, d, flops)
	m := kernel.Mixed{Desc: d}
	for _, a := range d.Args() {
		if activation(a) {
			a.DType = kernel.BFloat16
		}
		m.DTypes = append(m.DTypes, a.DType)
	}
	benchOne(b, dev, name+" mixed", m, flops)
}

func benchOne(b *testing.B, dev kernel.Device, name string, d kernel.Desc, flops float64) {
	b.Run(name, func(b *testing.B) {
		k, err := dev.Compile(d)
		if err != nil {
			b.Fatal(err)
		}
		var args []kernel.Buffer
		total := 0
		rng := newRand(dev, 1)
		for _, a := range d.Args() {
			v := make([]float64, kernel.Len(a.Shape))
			if a.DType == kernel.Float32 || a.DType == kernel.BFloat16 {
				v = uniform(rng, len(v), 0.5, 1)
			}
			buf, err := dev.Alloc(a.Size())
			if err == nil {
				err = dev.Upload(buf, encode(a, v))
			}
			if err != nil {
				b.Fatal(err)
			}
			args = append(args, buf)
			total += a.Size()
		}
		if n := k.Scratch(); n > 0 {
			buf, err := dev.Alloc(n)
			if err != nil {
				b.Fatal(err)
			}
			args = append(args, buf)
		}
		b.ReportAllocs()
		err = dev.Do(func() error {
			for b.Loop() {
				if err := k.Run(args); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		perOp := b.Elapsed().Seconds() / float64(b.N)
		if flops > 0 {
			b.ReportMetric(flops/perOp/1e9, "GFLOP/s")
		}
		b.ReportMetric(float64(total)/perOp/1e9, "GB/s")
	})
}
