package native

import (
	"fmt"
	"math"
	"unsafe"

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

// pool2dBackward shares by image and, where those are few, by blocks of
// channels: windows overlap, so no two shares may work on the same plane.
func pool2dBackward(p *program, d kernel.PoolBackward) error {
	g, err := newPooling(d.Pool)
	if err != nil {
		return err
	}
	c := d.C
	if d.N*d.H*d.W*c == 0 {
		return nil
	}
	blocks := min(ceilDiv(4*p.pool.threads, d.N), ceilDiv(c, 16))
	work := d.N * blocks
	parts := min(p.parts(d.N*d.OH*d.OW*d.KH*d.KW*c, grain), work)
	tiles, taps := make([]windowTile, parts), make([]int, parts*d.KH*d.KW)
	p.stage(parts, func(part int) {
		x, dy, dx := p.f[0], p.f[1], p.f[2]
		t := &tiles[part]
		*t = windowTile{taps: taps[part*d.KH*d.KW : part*d.KH*d.KW : (part+1)*d.KH*d.KW]}
		from, to := span(work, part, parts, 1)
		for q := from; q < to; q++ {
			n := q / blocks
			lo, hi := span(c, q%blocks, blocks, 16)
			if lo == hi {
				continue
			}
			t.c = hi - lo
			for pixel := n * d.H * d.W; pixel < (n+1)*d.H*d.W; pixel++ {
				clear(dx[pixel*c+lo : pixel*c+hi])
			}
			for oh, row := range g.rows {
				for ow, col := range g.cols {
					out := ((n*d.OH+oh)*d.OW+ow)*c + lo
					if d.Op == kernel.AveragePool {
						w := g.weight(row, col)
						g.cells(n, row, col, func(at int) { p.isa.axpy(dx[at*c+lo:at*c+hi], dy[out:], w) })
						continue
					}
					first := -1
					t.taps = t.taps[:0]
					g.cells(n, row, col, func(at int) {
						if first < 0 {
							first = at
						}
						t.taps = append(t.taps, 4*c*(at-first))
					})
					if first >= 0 {
						t.x, t.dx, t.dy = &x[first*c+lo], &dx[first*c+lo], &dy[out]
						p.isa.maxBack(t)
					}
				}
			}
		}
	})
	return nil
}

// windowTile is the gradient of one window of a max pooling: in every channel,
// dy is added to dx at the first of the taps (in bytes from x and dx) where x
// is the maximum, the first NaN if there is one. Assembly reads the fields by
// name.
type windowTile struct {
	x, dx, dy *float32
	taps      []int
	c         int
}

// maxBackGo is the same in Go.
func maxBackGo(t *windowTile) {
	at := func(p *float32, bytes int) *float32 {
		return (*float32)(unsafe.Add(unsafe.Pointer(p), bytes))
	}
	for k := range t.c {
		best := t.taps[0]
		m := *at(t.x, best+4*k)
		for _, tap := range t.taps[1:] {
			if v := *at(t.x, tap+4*k); v > m || v != v && m == m {
				m, best = v, tap
			}
		}
		*at(t.dx, best+4*k) += *at(t.dy, 4*k)
	}
}
