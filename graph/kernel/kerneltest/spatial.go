package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// pooled is a pooling geometry, which has the same channels on both sides.
func pooled(n, c, h, w, kh, kw, sh, sw, dh, dw int, pads [4]int, extraH, extraW int) kernel.Geometry {
	g := geometry(n, c, h, w, c, kh, kw, sh, sw, dh, dw, pads, 1)
	g.OH += extraH // ceil mode
	g.OW += extraW
	return g
}

var poolings = []struct {
	name string
	g    kernel.Geometry
}{
	{"2x2", pooled(2, 5, 6, 8, 2, 2, 2, 2, 1, 1, same(0), 0, 0)},
	{"3x3 stride 2 padded", pooled(2, 19, 11, 9, 3, 3, 2, 2, 1, 1, same(1), 0, 0)},
	{"3x3 stride 1", pooled(1, 64, 9, 8, 3, 3, 1, 1, 1, 1, same(1), 0, 0)},
	{"3x3 stride 2 ceil", pooled(1, 17, 8, 10, 3, 3, 2, 2, 1, 1, same(0), 1, 1)},
	{"3x3 stride 2 ceil padded", pooled(2, 3, 8, 10, 3, 3, 2, 2, 1, 1, same(1), 1, 1)},
	{"3x3 dilation 2", pooled(1, 6, 9, 10, 3, 3, 1, 1, 2, 2, same(1), 0, 0)},
	{"asymmetric", pooled(1, 4, 7, 8, 3, 2, 2, 1, 1, 1, [4]int{0, 1, 2, 0}, 0, 0)},
	{"whole plane", pooled(3, 33, 5, 7, 5, 7, 1, 1, 1, 1, same(0), 0, 0)},
	{"1x1 stride 2", pooled(1, 8, 5, 7, 1, 1, 2, 2, 1, 1, same(0), 0, 0)},
	{"wide", pooled(2, 40, 30, 41, 3, 3, 2, 2, 1, 1, same(1), 0, 0)},
	{"one channel", pooled(2, 1, 9, 9, 3, 3, 2, 2, 1, 1, same(1), 0, 0)},
}

// window calls f with every cell of the window of an output pixel that lies
// in the input, in row order, and returns how many cells lie in the input and
// its padding.
func window(g kernel.Geometry, oh, ow int, f func(h, w int)) (padded int) {
	for kh := range g.KH {
		for kw := range g.KW {
			h, w := oh*g.StrideH-g.PadTop+kh*g.DilationH, ow*g.StrideW-g.PadLeft+kw*g.DilationW
			if h < g.H+g.PadBottom && w < g.W+g.PadRight {
				padded++
			}
			if h >= 0 && h < g.H && w >= 0 && w < g.W {
				f(h, w)
			}
		}
	}
	return padded
}

// average calls f with the terms of an average pooling.
func average(d kernel.Pool, f func(x, y int, weight float64)) {
	g := d.Geometry
	positions(d.Y(), func(y int, p []int) {
		cells := 0
		padded := window(g, p[2], p[3], func(h, w int) { cells++ })
		if d.CountPad {
			cells = padded
		}
		window(g, p[2], p[3], func(h, w int) { f(index(g.X(), p[0], p[1], h, w), y, 1/float64(cells)) })
	})
}

// maximum returns for each output the index of its input.
func maximum(d kernel.Pool, x []float64) []int {
	from := make([]int, kernel.Len(d.Y()))
	positions(d.Y(), func(y int, p []int) {
		from[y] = -1
		window(d.Geometry, p[2], p[3], func(h, w int) {
			at := index(d.X(), p[0], p[1], h, w)
			if from[y] < 0 || x[at] > x[from[y]] || math.IsNaN(x[at]) && !math.IsNaN(x[from[y]]) {
				from[y] = at
			}
		})
	})
	return from
}

func testPool(t *testing.T, dev kernel.Device) {
	for i, c := range poolings {
		rng := newRand(dev, uint64(i))
		d := kernel.Pool{Geometry: c.g, Op: kernel.MaxPool}
		dy := normal(rng, kernel.Len(d.Y()))
		for _, ties := range []bool{false, true} {
			x := distinct(rng, kernel.Len(d.X()))
			if ties {
				for k := range x {
					x[k] = math.Mod(x[k], 2)
				}
			}
			from := maximum(d, x)
			y := value{want: make([]float64, len(dy))}
			dx := value{make([]float64, len(x)), make([]float64, len(x))}
			for k, at := range from {
				y.want[k] = x[at]
				dx.want[at] += dy[k]
				dx.mag[at] += math.Abs(dy[k])
			}
			name := fmt.Sprintf("max %s ties=%v", c.name, ties)
			(&spec{name: name, desc: d, in: [][]float64{x, nil}, want: []value{y}}).test(t, dev)
			back := &spec{name: name + " backward", desc: kernel.PoolBackward{Pool: d}, in: [][]float64{x, dy, nil}, want: []value{dx}}
			if !ties && len(x) < 5000 {
				back.point, back.loss = x, func(x []float64) float64 {
					s := 0.0
					for k, at := range maximum(d, x) {
						s += dy[k] * x[at]
					}
					return s
				}
			}
			back.test(t, dev)
		}
		for _, countPad := range []bool{false, true} {
			d := kernel.Pool{Geometry: c.g, Op: kernel.AveragePool, CountPad: countPad}
			x := normal(rng, kernel.Len(d.X()))
			y := value{make([]float64, len(dy)), make([]float64, len(dy))}
			dx := value{make([]float64, len(x)), make([]float64, len(x))}
			average(d, func(i, k int, weight float64) {
				y.want[k] += weight * x[i]
				y.mag[k] += weight * math.Abs(x[i])
				dx.want[i] += weight * dy[k]
				dx.mag[i] += weight * math.Abs(dy[k])
			})
			name := fmt.Sprintf("average %s countpad=%v", c.name, countPad)
			(&spec{name: name, desc: d, in: [][]float64{x, nil}, want: []value{y}}).test(t, dev)
			(&spec{name: name + " backward", desc: kernel.PoolBackward{Pool: d}, in: [][]float64{x, dy, nil}, want: []value{dx},
				point: x[:min(len(x), 600)], loss: func(v []float64) float64 {
					s := 0.0
					average(d, func(i, k int, weight float64) {
						if i < len(v) {
							s += dy[k] * weight * v[i]
						}
					})
					return s
				}}).test(t, dev)
		}
	}
	testPoolNaN(t, dev)
	testPoolEmpty(t, dev)
}

// testPoolEmpty has windows that see nothing but padding.
func testPoolEmpty(t *testing.T, dev kernel.Device) {
	g := pooled(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, same(1), 0, 0) // 1x1 to 3x3
	dy := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}
	for op, outside := range []float64{kernel.MaxPool: math.Inf(-1), kernel.AveragePool: 0} {
		d := kernel.Pool{Geometry: g, Op: kernel.PoolOp(op)}
		want := []float64{outside, outside, outside, outside, 7, outside, outside, outside, outside}
		(&spec{name: fmt.Sprintf("empty windows %d", op), desc: d, in: [][]float64{{7}, nil}, want: []value{{want: want}}}).test(t, dev)
		(&spec{name: fmt.Sprintf("empty windows %d backward", op), desc: kernel.PoolBackward{Pool: d}, in: [][]float64{{7}, dy, nil}, want: []value{{want: []float64{5}}}}).test(t, dev)
	}
}

// testPoolNaN checks that a NaN is the maximum wherever it stands.
func testPoolNaN(t *testing.T, dev kernel.Device) {
	d := kernel.Pool{Geometry: pooled(1, 18, 8, 8, 2, 2, 2, 2, 1, 1, same(0), 0, 0), Op: kernel.MaxPool}
	rng := newRand(dev, 5)
	x, dy := distinct(rng, kernel.Len(d.X())), normal(rng, kernel.Len(d.Y()))
	for _, i := range rng.Perm(len(x))[:40] {
		x[i] = math.NaN()
	}
	y, dx := value{want: make([]float64, len(dy))}, value{want: make([]float64, len(x))}
	for k, at := range maximum(d, x) {
		y.want[k] = x[at]
		dx.want[at] += dy[k]
	}
	(&spec{name: "max of NaN", desc: d, in: [][]float64{x, nil}, want: []value{y}}).test(t, dev)
	(&spec{name: "max of NaN backward", desc: kernel.PoolBackward{Pool: d}, in: [][]float64{x, dy, nil}, want: []value{dx}}).test(t, dev)
}

// linear is bilinear resizing of one axis, half-pixel centres.
func linear(in, out int) kernel.Taps {
	t := kernel.Taps{In: in, Start: []int{0}}
	for o := range out {
		at := min(max((float64(o)+0.5)*float64(in)/float64(out)-0.5, 0), float64(in-1))
		i := int(at)
		f := float32(at - float64(i))
		t.Index, t.Weight = append(t.Index, i), append(t.Weight, 1-f)
		if f > 0 {
			t.Index, t.Weight = append(t.Index, i+1), append(t.Weight, f)
		}
		t.Start = append(t.Start, len(t.Index))
	}
	return t
}

// nearest repeats or skips inputs.
func nearest(in, out int) kernel.Taps {
	t := kernel.Taps{In: in, Start: []int{0}}
	for o := range out {
		t.Index, t.Weight = append(t.Index, o*in/out), append(t.Weight, 1)
		t.Start = append(t.Start, o+1)
	}
	return t
}

// adaptive averages in/out cells, overlapping as adaptive pooling does.
func adaptive(in, out int) kernel.Taps {
	t := kernel.Taps{In: in, Start: []int{0}}
	for o := range out {
		lo, hi := o*in/out, ((o+1)*in+out-1)/out
		for i := lo; i < hi; i++ {
			t.Index, t.Weight = append(t.Index, i), append(t.Weight, 1/float32(hi-lo))
		}
		t.Start = append(t.Start, len(t.Index))
	}
	return t
}

// sparse has empty rows, repeated indices and negative weights.
func sparse(in int) kernel.Taps {
	return kernel.Taps{In: in, Start: []int{0, 0, 3, 3, 4, 6, 6},
		Index: []int{in - 1, 0, 0, in / 2, 1, 0}, Weight: []float32{0.5, -2, 1, -1, 0.25, 3}}
}

func testResample(t *testing.T, dev kernel.Device) {
	cases := []struct {
		name string
		d    kernel.Resample
	}{
		{"linear up", kernel.Resample{N: 2, C: 3, Rows: linear(5, 11), Cols: linear(4, 9)}},
		{"linear up many channels", kernel.Resample{N: 2, C: 37, Rows: linear(6, 24), Cols: linear(7, 28)}},
		{"linear down", kernel.Resample{N: 1, C: 16, Rows: linear(13, 5), Cols: linear(17, 6)}},
		{"nearest up", kernel.Resample{N: 1, C: 20, Rows: nearest(3, 12), Cols: nearest(5, 10)}},
		{"nearest down", kernel.Resample{N: 2, C: 5, Rows: nearest(9, 3), Cols: nearest(9, 4)}},
		{"one axis", kernel.Resample{N: 1, C: 9, Rows: nearest(6, 6), Cols: linear(5, 8)}},
		{"adaptive to 1", kernel.Resample{N: 2, C: 40, Rows: adaptive(7, 1), Cols: adaptive(9, 1)}},
		{"adaptive to 3", kernel.Resample{N: 3, C: 33, Rows: adaptive(7, 3), Cols: adaptive(10, 3)}},
		{"sparse", kernel.Resample{N: 2, C: 18, Rows: sparse(4), Cols: sparse(5)}},
		{"one channel", kernel.Resample{N: 2, C: 1, Rows: linear(8, 16), Cols: linear(9, 20)}},
	}
	terms := func(d kernel.Resample, f func(x, y int, w float64)) {
		shapes := d.Args()
		positions(shapes[1].Shape, func(y int, p []int) {
			for k := d.Rows.Start[p[2]]; k < d.Rows.Start[p[2]+1]; k++ {
				for l := d.Cols.Start[p[3]]; l < d.Cols.Start[p[3]+1]; l++ {
					f(index(shapes[0].Shape, p[0], p[1], d.Rows.Index[k], d.Cols.Index[l]), y, float64(d.Rows.Weight[k])*float64(d.Cols.Weight[l]))
				}
			}
		})
	}
	for i, c := range cases {
		rng := newRand(dev, uint64(i))
		args := c.d.Args()
		x, dy := normal(rng, kernel.Len(args[0].Shape)), normal(rng, kernel.Len(args[1].Shape))
		y := value{make([]float64, len(dy)), make([]float64, len(dy))}
		dx := value{make([]float64, len(x)), make([]float64, len(x))}
		terms(c.d, func(i, k int, w float64) {
			y.want[k] += w * x[i]
			y.mag[k] += math.Abs(w * x[i])
			dx.want[i] += w * dy[k]
			dx.mag[i] += math.Abs(w * dy[k])
		})
		(&spec{name: c.name, desc: c.d, in: [][]float64{x, nil}, want: []value{y}}).test(t, dev)
		back := kernel.Resample{N: c.d.N, C: c.d.C, Rows: c.d.Rows.Transpose(), Cols: c.d.Cols.Transpose()}
		(&spec{name: c.name + " transposed", desc: back, in: [][]float64{dy, nil}, want: []value{dx}, point: x,
			loss: func(x []float64) float64 {
				s := 0.0
				terms(c.d, func(i, k int, w float64) { s += dy[k] * w * x[i] })
				return s
			}}).test(t, dev)
		within := func(n int) kernel.Channels { return kernel.Channels{First: n, Of: n + c.d.C + 3} }
		partly := c.d
		partly.From, partly.To = within(4), within(2)
		wide := widen(args[0].Shape, partly.From, x)
		got := value{widen(args[1].Shape, partly.To, y.want), widen(args[1].Shape, partly.To, y.mag)}
		before := widen(args[1].Shape, partly.To, dy)
		(&spec{name: c.name + " of some channels", desc: partly, in: [][]float64{wide, before}, want: []value{got}}).test(t, dev)
	}
}

// widen puts v, of a shape, among the channels of a wider tensor of ones.
func widen(shape []int, to kernel.Channels, v []float64) []float64 {
	plane := shape[2] * shape[3]
	w := slices.Repeat([]float64{1}, shape[0]*to.Of*plane)
	for n := range shape[0] {
		copy(w[(n*to.Of+to.First)*plane:], v[n*shape[1]*plane:(n+1)*shape[1]*plane])
	}
	return w
}
