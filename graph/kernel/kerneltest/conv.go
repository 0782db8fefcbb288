package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// outSize is the usual length of a convolved axis.
func outSize(in, k, stride, dilation, before, after int) int {
	return (in+before+after-(k-1)*dilation-1)/stride + 1
}

// geometry fills in the output size; pads are top, left, bottom, right.
func geometry(n, c, h, w, o, kh, kw, sh, sw, dh, dw int, pads [4]int, groups int) kernel.Geometry {
	return kernel.Geometry{N: n, C: c, H: h, W: w, O: o, KH: kh, KW: kw,
		OH: outSize(h, kh, sh, dh, pads[0], pads[2]), OW: outSize(w, kw, sw, dw, pads[1], pads[3]),
		StrideH: sh, StrideW: sw, DilationH: dh, DilationW: dw,
		PadTop: pads[0], PadLeft: pads[1], PadBottom: pads[2], PadRight: pads[3], Groups: groups}
}

func same(p int) [4]int { return [4]int{p, p, p, p} }

var geometries = []struct {
	name string
	g    kernel.Geometry
}{
	{"1x1", geometry(2, 7, 5, 6, 9, 1, 1, 1, 1, 1, 1, same(0), 1)},
	{"1x1 wide", geometry(2, 33, 11, 13, 66, 1, 1, 1, 1, 1, 1, same(0), 1)},
	{"1x1 stride 2", geometry(2, 16, 7, 9, 20, 1, 1, 2, 2, 1, 1, same(0), 1)},
	{"1x1 padded", geometry(1, 3, 4, 4, 5, 1, 1, 1, 1, 1, 1, same(1), 1)},
	{"1x1 on 1x1", geometry(3, 40, 1, 1, 24, 1, 1, 1, 1, 1, 1, same(0), 1)},
	{"1x1 deep", geometry(1, 1300, 26, 41, 5, 1, 1, 1, 1, 1, 1, same(0), 1)},
	{"1x1 deep on few pixels", geometry(2, 1024, 3, 5, 128, 1, 1, 1, 1, 1, 1, same(0), 1)},
	{"1x1 deep stride 2", geometry(1, 512, 9, 7, 40, 1, 1, 2, 2, 1, 1, same(0), 1)},
	{"3x3 deep", geometry(1, 230, 7, 150, 9, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 deeper", geometry(1, 720, 4, 60, 5, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 deep on few pixels", geometry(1, 300, 5, 6, 130, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 deep no padding", geometry(1, 720, 3, 66, 2, 3, 3, 1, 1, 1, 1, same(0), 1)},
	{"3x3 deep stride 2 on few odd pixels", geometry(1, 256, 3, 3, 512, 3, 3, 2, 2, 1, 1, same(1), 1)},
	{"3x3", geometry(2, 16, 9, 11, 32, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 no padding", geometry(1, 5, 8, 7, 6, 3, 3, 1, 1, 1, 1, same(0), 1)},
	{"3x3 one channel", geometry(2, 1, 9, 9, 1, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 three channels stride 2", geometry(2, 3, 17, 15, 18, 3, 3, 2, 2, 1, 1, same(1), 1)},
	{"3x3 many channels", geometry(1, 70, 9, 31, 75, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 wide row", geometry(1, 40, 3, 150, 33, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 dilation 2", geometry(2, 12, 10, 9, 14, 3, 3, 1, 1, 2, 2, same(2), 1)},
	{"3x3 dilation 4 over the edge", geometry(1, 18, 5, 6, 17, 3, 3, 1, 1, 4, 4, same(4), 1)},
	{"3x3 wide and deep", geometry(2, 64, 13, 18, 48, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 dilation 2 deep", geometry(1, 48, 14, 17, 66, 3, 3, 1, 1, 2, 2, same(2), 1)},
	{"3x3 dilation 3 uneven pads", geometry(1, 67, 19, 16, 40, 3, 3, 1, 1, 3, 3, [4]int{1, 4, 3, 0}, 1)},
	{"3x3 of many tiles and channels", geometry(1, 128, 35, 43, 128, 3, 3, 1, 1, 1, 1, same(1), 1)},
	{"3x3 stride 2 dilation 2", geometry(1, 6, 11, 12, 8, 3, 3, 2, 2, 2, 2, same(2), 1)},
	{"3x3 stride 3", geometry(1, 4, 13, 14, 6, 3, 3, 3, 3, 1, 1, same(1), 1)},
	{"2x2 stride 3 leaves gaps", geometry(1, 4, 11, 12, 6, 2, 2, 3, 3, 1, 1, same(0), 1)},
	{"3x2 asymmetric", geometry(2, 5, 8, 9, 7, 3, 2, 2, 1, 1, 2, [4]int{1, 0, 2, 3}, 1)},
	{"5x1", geometry(1, 9, 12, 5, 10, 5, 1, 1, 1, 1, 1, [4]int{2, 0, 2, 0}, 1)},
	{"1x7", geometry(1, 9, 5, 12, 10, 1, 7, 1, 1, 1, 1, [4]int{0, 3, 0, 3}, 1)},
	{"7x7 stride 2", geometry(1, 3, 21, 23, 17, 7, 7, 2, 2, 1, 1, same(3), 1)},
	{"filter larger than input", geometry(2, 4, 2, 3, 5, 5, 5, 1, 1, 1, 1, same(2), 1)},
	{"groups", geometry(2, 12, 7, 6, 18, 3, 3, 1, 1, 1, 1, same(1), 3)},
	{"groups stride 2", geometry(1, 8, 9, 8, 4, 3, 3, 2, 2, 1, 1, same(1), 2)},
	{"groups 1x1", geometry(2, 40, 4, 5, 80, 1, 1, 1, 1, 1, 1, same(0), 2)},
	{"groups of many", geometry(1, 72, 4, 5, 70, 3, 3, 1, 1, 1, 1, same(1), 2)},
	{"depthwise", geometry(2, 20, 9, 8, 20, 3, 3, 1, 1, 1, 1, same(1), 20)},
	{"depthwise stride 2", geometry(2, 32, 9, 11, 32, 3, 3, 2, 2, 1, 1, same(1), 32)},
	{"depthwise dilation 2", geometry(1, 48, 8, 9, 48, 3, 3, 1, 1, 2, 2, same(2), 48)},
	{"depthwise dilation over the edge", geometry(1, 16, 3, 4, 16, 3, 3, 1, 1, 4, 4, same(4), 16)},
	{"depthwise 5x5 asymmetric", geometry(1, 17, 9, 7, 17, 5, 5, 2, 1, 1, 1, [4]int{2, 1, 3, 4}, 17)},
	{"depthwise wide", geometry(1, 100, 6, 40, 100, 3, 3, 1, 1, 1, 1, same(1), 100)},
	{"depthwise 2x3 stride 2 dilation 3", geometry(2, 50, 11, 13, 50, 2, 3, 2, 1, 3, 2, [4]int{1, 2, 2, 1}, 50)},
	{"depthwise 3x1", geometry(1, 33, 7, 9, 33, 3, 1, 1, 2, 2, 1, [4]int{3, 0, 1, 0}, 33)},
	{"depthwise multiplier 2", geometry(1, 6, 6, 5, 12, 3, 3, 1, 1, 1, 1, same(1), 6)},
	{"output past the padding", kernel.Geometry{N: 1, C: 3, H: 4, W: 4, O: 2, OH: 5, OW: 6, KH: 3, KW: 3,
		StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, PadTop: 1, PadLeft: 1, PadBottom: 2, PadRight: 3, Groups: 1}},
}

// products calls f for every product of a convolution with the logical
// indices of its input, weight and output elements.
func products(g kernel.Geometry, f func(x, w, y int)) {
	cg, og := g.C/g.Groups, g.O/g.Groups
	y := 0
	for n := range g.N {
		for o := range g.O {
			for oh := range g.OH {
				for ow := range g.OW {
					for c := range cg {
						plane := (n*g.C + o/og*cg + c) * g.H
						for kh := range g.KH {
							h := oh*g.StrideH - g.PadTop + kh*g.DilationH
							if h < 0 || h >= g.H {
								continue
							}
							filter := ((o*cg+c)*g.KH + kh) * g.KW
							for kw := range g.KW {
								w := ow*g.StrideW - g.PadLeft + kw*g.DilationW
								if w >= 0 && w < g.W {
									f((plane+h)*g.W+w, filter+kw, y)
								}
							}
						}
					}
					y++
				}
			}
		}
	}
}

// bilinear sums a[i]*b[j] into element k of a result, over all terms.
func bilinear(n int, a, b []float64, terms func(add func(i, j, k int))) value {
	v := value{make([]float64, n), make([]float64, n)}
	terms(func(i, j, k int) {
		p := a[i] * b[j]
		v.want[k] += p
		v.mag[k] += math.Abs(p)
	})
	return v
}

func testConv(t *testing.T, dev kernel.Device) {
	for i, c := range geometries {
		g := c.g
		rng := newRand(dev, uint64(i))
		x, w := normal(rng, kernel.Len(g.X())), normal(rng, kernel.Len(g.Filter()))
		dy, bias := normal(rng, kernel.Len(g.Y())), normal(rng, g.O)
		forward := func(x, w []float64) value {
			return bilinear(len(dy), x, w, func(add func(i, j, k int)) { products(g, add) })
		}
		small := g.FLOPs() < 2e5
		y := forward(x, w)
		(&spec{name: c.name + "/forward", desc: kernel.Conv{Geometry: g}, in: [][]float64{x, w, nil}, want: []value{y}}).test(t, dev)

		clip := kernel.Clip{On: true, Lo: -0.5, Hi: 1.5}
		fused := value{make([]float64, len(dy)), make([]float64, len(dy))}
		plane := g.OH * g.OW
		for k := range fused.want {
			b := bias[k/plane%g.O]
			fused.want[k] = min(max(y.want[k]+b, -0.5), 1.5)
			fused.mag[k] = y.mag[k] + math.Abs(b)
		}
		conv := kernel.Conv{Geometry: g, Bias: true, Act: clip}
		(&spec{name: c.name + "/fused", desc: conv, in: [][]float64{x, w, bias, nil}, want: []value{fused}}).test(t, dev)
		if n := kernel.PackedFilter(dev, conv); n > 0 {
			pack, conv := conv.Pack(n)
			(&spec{name: c.name + "/packed", desc: conv, in: [][]float64{x, packed(t, dev, pack, w), bias, nil}, want: []value{fused}}).test(t, dev)
		}

		dx := bilinear(len(x), dy, w, func(add func(i, j, k int)) {
			products(g, func(x, w, y int) { add(y, w, x) })
		})
		back := &spec{name: c.name + "/data", desc: kernel.ConvBackwardData{Geometry: g}, in: [][]float64{dy, w, nil}, want: []value{dx}}
		if small {
			back.point, back.loss = x, func(x []float64) float64 { return dot(dy, forward(x, w).want) }
		}
		back.test(t, dev)

		dw := bilinear(len(w), x, dy, func(add func(i, j, k int)) {
			products(g, func(x, w, y int) { add(x, y, w) })
		})
		filter := &spec{name: c.name + "/filter", desc: kernel.ConvBackwardFilter{Geometry: g}, in: [][]float64{x, dy, nil}, want: []value{dw}}
		if small {
			filter.point, filter.loss = w, func(w []float64) float64 { return dot(dy, forward(x, w).want) }
		}
		filter.test(t, dev)
	}
	testConvNaN(t, dev)
	testConvOfNothing(t, dev)
}

// testConvOfNothing compiles every direction on inputs without pixels, which
// padding may still make outputs of.
func testConvOfNothing(t *testing.T, dev kernel.Device) {
	for _, size := range [][2]int{{0, 3}, {3, 0}, {0, 0}} {
		for _, padding := range []int{0, 1} {
			g := geometry(1, 2, size[0], size[1], 3, 1, 1, 1, 1, 1, 1, same(padding), 1)
			y := value{want: make([]float64, kernel.Len(g.Y()))}
			x, w := make([]float64, kernel.Len(g.X())), make([]float64, kernel.Len(g.Filter()))
			name := fmt.Sprintf("nothing of %v, padded by %d", size, padding)
			(&spec{name: name + "/forward", desc: kernel.Conv{Geometry: g}, in: [][]float64{x, w, nil}, want: []value{y}}).test(t, dev)
			(&spec{name: name + "/data", desc: kernel.ConvBackwardData{Geometry: g}, in: [][]float64{y.want, w, nil}, want: []value{{want: x}}}).test(t, dev)
			(&spec{name: name + "/filter", desc: kernel.ConvBackwardFilter{Geometry: g}, in: [][]float64{x, y.want, nil}, want: []value{{want: w}}}).test(t, dev)
		}
	}
}

// packed returns a filter as the device packs it.
func packed(t *testing.T, dev kernel.Device, d kernel.PackFilter, w []float64) []float64 {
	t.Helper()
	k, err := dev.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return (&spec{desc: d, in: [][]float64{w, nil}}).exec(t, dev, k, [2]int{-1, -1}, 0xff)[0]
}

// testConvNaN checks that a fused activation hides no NaN.
func testConvNaN(t *testing.T, dev kernel.Device) {
	g := geometry(1, 2, 1, 20, 16, 1, 1, 1, 1, 1, 1, same(0), 1)
	rng := newRand(dev, 99)
	x, w := normal(rng, 40), normal(rng, 32)
	x[3] = math.NaN()
	y := bilinear(320, x, w, func(add func(i, j, k int)) { products(g, add) })
	for k, v := range y.want {
		if v < 0 {
			y.want[k] = 0
		}
	}
	(&spec{name: "NaN passes the activation", desc: kernel.Conv{Geometry: g, Act: kernel.Clip{On: true, Hi: float32(math.Inf(1))}},
		in: [][]float64{x, w, nil}, want: []value{y}}).test(t, dev)
}

func testMatMul(t *testing.T, dev kernel.Device) {
	sizes := []struct{ batch, m, n, k int }{
		{1, 1, 1, 1}, {1, 5, 7, 3}, {2, 16, 32, 9}, {3, 33, 17, 40}, {1, 1, 50, 129}, {1, 70, 1, 13}, {2, 130, 65, 31}, {1, 14, 96, 257}, {1, 6, 5, 0},
	}
	for i, s := range sizes {
		for mode := range 16 {
			if mode >= 4 && s.batch == 1 {
				break
			}
			d := kernel.MatMul{Batch: s.batch, M: s.m, N: s.n, K: s.k,
				TransA: mode&1 != 0, TransB: mode&2 != 0, SharedA: mode&4 != 0, SharedB: mode&8 != 0}
			rng := newRand(dev, uint64(100*i+mode))
			args := d.Args()
			a, b := normal(rng, kernel.Len(args[0].Shape)), normal(rng, kernel.Len(args[1].Shape))
			y := bilinear(s.batch*s.m*s.n, a, b, func(add func(i, j, k int)) {
				for q := range s.batch {
					for r := range s.m {
						for c := range s.n {
							for k := range s.k {
								ai, bi := r*s.k+k, k*s.n+c
								if d.TransA {
									ai = k*s.m + r
								}
								if d.TransB {
									bi = c*s.k + k
								}
								if !d.SharedA {
									ai += q * s.m * s.k
								}
								if !d.SharedB {
									bi += q * s.k * s.n
								}
								add(ai, bi, (q*s.m+r)*s.n+c)
							}
						}
					}
				}
			})
			name := fmt.Sprintf("%dx%dx%dx%d mode %d", s.batch, s.m, s.n, s.k, mode)
			(&spec{name: name, desc: d, in: [][]float64{a, b, nil}, want: []value{y}}).test(t, dev)
		}
	}
}
