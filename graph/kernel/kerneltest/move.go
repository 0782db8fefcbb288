package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

func testCopy(t *testing.T, dev kernel.Device) {
	cases := []struct {
		name string
		d    kernel.Copy
	}{
		{"plain", kernel.Copy{Shape: []int{40}, SrcStrides: []int{1}, DstStrides: []int{1}, SrcLen: 40, DstLen: 40}},
		{"large", kernel.Copy{Shape: []int{70, 500}, SrcStrides: []int{500, 1}, DstStrides: []int{500, 1}, SrcLen: 35000, DstLen: 35000}},
		{"scalar", kernel.Copy{Shape: []int{}, SrcStrides: []int{}, DstStrides: []int{}, SrcOffset: 2, DstOffset: 1, SrcLen: 3, DstLen: 3}},
		{"nothing", kernel.Copy{Shape: []int{3, 0}, SrcStrides: []int{1, 1}, DstStrides: []int{1, 1}, SrcLen: 3, DstLen: 3}},
		{"transpose", kernel.Copy{Shape: []int{37, 21}, SrcStrides: []int{1, 37}, DstStrides: []int{21, 1}, SrcLen: 777, DstLen: 777}},
		{"to channels-last", kernel.Copy{Shape: []int{2, 35, 9, 11}, SrcStrides: []int{3465, 99, 11, 1}, DstStrides: []int{3465, 1, 385, 35}, SrcLen: 6930, DstLen: 6930}},
		{"from channels-last", kernel.Copy{Shape: []int{2, 35, 9, 11}, SrcStrides: []int{3465, 1, 385, 35}, DstStrides: []int{3465, 99, 11, 1}, SrcLen: 6930, DstLen: 6930}},
		{"large to channels-last", kernel.Copy{Shape: []int{2, 3, 120, 90}, SrcStrides: []int{32400, 10800, 90, 1}, DstStrides: []int{32400, 1, 270, 3}, SrcLen: 64800, DstLen: 64800}},
		{"wide from channels-last", kernel.Copy{Shape: []int{2, 53, 700}, SrcStrides: []int{37100, 1, 53}, DstStrides: []int{37100, 700, 1}, SrcLen: 74200, DstLen: 74200}},
		{"channels backwards from channels-last", kernel.Copy{Shape: []int{19, 300}, SrcStrides: []int{1, 19}, DstStrides: []int{-300, 1}, DstOffset: 5400, SrcLen: 5700, DstLen: 5700}},
		{"pixels backwards from channels-last", kernel.Copy{Shape: []int{19, 300}, SrcStrides: []int{1, -19}, DstStrides: []int{300, 1}, SrcOffset: 5681, SrcLen: 5700, DstLen: 5700}},
		{"concatenate channels", kernel.Copy{Shape: []int{60, 7}, SrcStrides: []int{7, 1}, DstStrides: []int{20, 1}, DstOffset: 5, SrcLen: 420, DstLen: 1200}},
		{"slice channels", kernel.Copy{Shape: []int{60, 7}, SrcStrides: []int{20, 1}, DstStrides: []int{7, 1}, SrcOffset: 13, SrcLen: 1200, DstLen: 420}},
		{"flip", kernel.Copy{Shape: []int{6, 10}, SrcStrides: []int{10, -1}, DstStrides: []int{10, 1}, SrcOffset: 9, SrcLen: 60, DstLen: 60}},
		{"flip both", kernel.Copy{Shape: []int{6, 10}, SrcStrides: []int{-10, -1}, DstStrides: []int{10, 1}, SrcOffset: 59, SrcLen: 60, DstLen: 60}},
		{"write backwards", kernel.Copy{Shape: []int{6, 10}, SrcStrides: []int{10, 1}, DstStrides: []int{-10, 1}, DstOffset: 50, SrcLen: 60, DstLen: 60}},
		{"expand rows", kernel.Copy{Shape: []int{9, 33}, SrcStrides: []int{0, 1}, DstStrides: []int{33, 1}, SrcLen: 33, DstLen: 297}},
		{"expand columns", kernel.Copy{Shape: []int{9, 33}, SrcStrides: []int{1, 0}, DstStrides: []int{33, 1}, SrcLen: 9, DstLen: 297}},
		{"pad", kernel.Copy{Shape: []int{5, 7}, SrcStrides: []int{7, 1}, DstStrides: []int{11, 1}, DstOffset: 24, SrcLen: 35, DstLen: 99}},
		{"stride 2", kernel.Copy{Shape: []int{5, 7}, SrcStrides: []int{28, 2}, DstStrides: []int{7, 1}, SrcOffset: 1, SrcLen: 150, DstLen: 35}},
		{"into stride 2", kernel.Copy{Shape: []int{5, 7}, SrcStrides: []int{7, 1}, DstStrides: []int{28, 2}, SrcLen: 35, DstLen: 150}},
		{"five axes", kernel.Copy{Shape: []int{2, 3, 4, 5, 6}, SrcStrides: []int{1, 2, 6, 24, 120}, DstStrides: []int{360, 120, 30, 6, 1}, SrcLen: 720, DstLen: 720}},
		{"pixel shuffle", kernel.Copy{Shape: []int{4, 5, 2, 2, 3}, SrcStrides: []int{60, 12, 2, 1, 4}, DstStrides: []int{60, 6, 30, 3, 1}, SrcLen: 240, DstLen: 240}},
	}
	for _, dtype := range []kernel.DType{kernel.Float32, kernel.BFloat16, kernel.Int32, kernel.Uint64} {
		for i, c := range cases {
			d := c.d
			d.DType = dtype
			rng := newRand(dev, uint64(i))
			rng.half = rng.half || dtype == kernel.BFloat16
			x, y := make([]float64, d.SrcLen), make([]float64, d.DstLen)
			for k := range x {
				x[k] = rng.integer()
			}
			for k := range y {
				y[k] = rng.integer()
			}
			want := append([]float64(nil), y...)
			positions(d.Shape, func(_ int, pos []int) {
				from, to := d.SrcOffset, d.DstOffset
				for k, p := range pos {
					from += p * d.SrcStrides[k]
					to += p * d.DstStrides[k]
				}
				want[to] = x[from]
			})
			(&spec{name: fmt.Sprintf("%s %s", c.name, dtype), desc: d, in: [][]float64{x, y}, want: []value{{want: want}}}).test(t, dev)
		}
	}
}

func testTake(t *testing.T, dev kernel.Device) {
	cases := []struct {
		outer, axis, inner int
		index              []int
	}{
		{1, 1, 1, []int{0}}, {3, 5, 7, []int{4, 0, -1, 2, 2, 4}}, {2, 4, 1, []int{3, 3, 3, 1}}, {40, 6, 33, []int{5, 4, 3, 2, 1, 0, -1}},
		{1, 3, 5000, []int{1, 1, 0}}, {2, 3, 4, []int{-1, -1}}, {2, 3, 4, nil},
	}
	for i, c := range cases {
		rng := newRand(dev, uint64(i))
		n := len(c.index)
		x, dy := normal(rng, c.outer*c.axis*c.inner), normal(rng, c.outer*n*c.inner)
		y := value{want: make([]float64, len(dy))}
		dx := value{make([]float64, len(x)), make([]float64, len(x))}
		for o := range c.outer {
			for j, k := range c.index {
				for i := range c.inner {
					if to := (o*n+j)*c.inner + i; k >= 0 {
						from := (o*c.axis+k)*c.inner + i
						y.want[to] = x[from]
						dx.want[from] += dy[to]
						dx.mag[from] += math.Abs(dy[to])
					}
				}
			}
		}
		name := fmt.Sprintf("%dx%dx%d %v", c.outer, c.axis, c.inner, c.index)
		(&spec{name: name, desc: kernel.Take{Outer: c.outer, Axis: c.axis, Inner: c.inner, Index: c.index}, in: [][]float64{x, nil}, want: []value{y}}).test(t, dev)
		(&spec{name: name + " backward", desc: kernel.TakeBackward{Outer: c.outer, Axis: c.axis, Inner: c.inner, Index: c.index},
			in: [][]float64{dy, nil}, want: []value{dx}, point: x, loss: func(x []float64) float64 {
				s := 0.0
				for o := range c.outer {
					for j, k := range c.index {
						for i := range c.inner {
							if k >= 0 {
								s += dy[(o*n+j)*c.inner+i] * x[(o*c.axis+k)*c.inner+i]
							}
						}
					}
				}
				return s
			}}).test(t, dev)
	}
}
