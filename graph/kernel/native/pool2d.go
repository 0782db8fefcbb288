package native

import (
	"fmt"
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// window is the range of taps of one axis that fall into the input, for one
// output position.
type window struct {
	first  int // input position of tap lo
	lo, hi int // taps
	padded int // taps inside the input and its padding, for CountPad
}

// windows lists the windows of one axis.
func windows(out, in, k, stride, dilation, before, after int) []window {
	w := make([]window, out)
	for o := range w {
		start := o*stride - before
		v := window{lo: k, hi: 0}
		for t := range k {
			at := start + t*dilation
			if at >= 0 && at < in {
				v.lo, v.hi = min(v.lo, t), t+1
			}
			if at < in+after {
				v.padded++
			}
		}
		if v.lo >= v.hi {
			v.lo, v.hi = 0, 0
		}
		v.first = start + v.lo*dilation
		w[o] = v
	}
	return w
}

// pooling is the shape of a Pool as its kernels use it.
type pooling struct {
	kernel.Pool
	rows, cols []window
}

func newPooling(d kernel.Pool) (*pooling, error) {
	if d.Op > kernel.AveragePool {
		return nil, fmt.Errorf("native: pooling %d: %w", d.Op, kernel.ErrUnsupported)
	}
	return &pooling{d,
		windows(d.OH, d.H, d.KH, d.StrideH, d.DilationH, d.PadTop, d.PadBottom),
		windows(d.OW, d.W, d.KW, d.StrideW, d.DilationW, d.PadLeft, d.PadRight)}, nil
}

// cells calls f with the pixel index of every cell of a window.
func (g *pooling) cells(n int, r, c window, f func(pixel int)) {
	for i := r.lo; i < r.hi; i++ {
		row := (n*g.H + r.first + (i-r.lo)*g.DilationH) * g.W
		for j := c.lo; j < c.hi; j++ {
			f(row + c.first + (j-c.lo)*g.DilationW)
		}
	}
}

// weight is the factor of every cell of an average.
func (g *pooling) weight(r, c window) float32 {
	n := (r.hi - r.lo) * (c.hi - c.lo)
	if g.CountPad {
		n = r.padded * c.padded
	}
	if n == 0 {
		return 0
	}
	return 1 / float32(n)
}

func pool2d(p *program, d kernel.Pool) error {
	g, err := newPooling(d)
	if err != nil {
		return err
	}
	c := d.C
	low := float32(math.Inf(-1))
	p.split(d.N*d.OH, grain/max(d.OW*c*d.KH*d.KW, 1)+1, func(lo, hi int) {
		x, y := p.f[0], p.f[1]
		for i := lo; i < hi; i++ {
			for ow, col := range g.cols {
				row := g.rows[i%d.OH]
				out := y[(i*d.OW+ow)*c : (i*d.OW+ow+1)*c]
				first := true
				if d.Op == kernel.MaxPool {
					fillRow(out, low)
					g.cells(i/d.OH, row, col, func(at int) {
						if first {
							copy(out, x[at*c:])
							first = false
							return
						}
						p.isa.max(out, out, x[at*c:])
					})
					continue
				}
				w := g.weight(row, col)
				clear(out)
				g.cells(i/d.OH, row, col, func(at int) { p.isa.axpy(out, x[at*c:], w) })
			}
		}
	})
	return nil
}

// pool2dBackward shares by image and by blocks of channels: windows overlap,
// so no two shares may work on the same plane.
func pool2dBackward(p *program, d kernel.PoolBackward) error {
	g, err := newPooling(d.Pool)
	if err != nil {
		return err
	}
	const block = 16
	blocks := (d.C + block - 1) / block
	p.split(d.N*blocks, grain/max(d.OH*d.OW*d.KH*d.KW*block, 1)+1, func(from, to int) {
		x, dy, dx := p.f[0], p.f[1], p.f[2]
		for i := from; i < to; i++ {
			n, lo := i/blocks, i%blocks*block
			hi := min(lo+block, d.C)
			for at := range d.H * d.W {
				pixel := (n*d.H*d.W + at) * d.C
				clear(dx[pixel+lo : pixel+hi])
			}
			for oh, row := range g.rows {
				for ow, col := range g.cols {
					out := ((n*d.OH+oh)*d.OW + ow) * d.C
					if d.Op == kernel.AveragePool {
						w := g.weight(row, col)
						g.cells(n, row, col, func(at int) {
							p.isa.axpy(dx[at*d.C+lo:at*d.C+hi], dy[out+lo:], w)
						})
						continue
					}
					var best [block]float32
					var from [block]int
					for k := range from {
						from[k] = -1
					}
					g.cells(n, row, col, func(at int) {
						cell := x[at*d.C+lo : at*d.C+hi]
						for k, v := range cell {
							// The first of equals; a NaN is larger than all.
							if from[k] < 0 || v > best[k] || (v != v && best[k] == best[k]) {
								best[k], from[k] = v, at
							}
						}
					})
					for k := range hi - lo {
						if from[k] >= 0 {
							dx[from[k]*d.C+lo+k] += dy[out+lo+k]
						}
					}
				}
			}
		}
	})
	return nil
}
