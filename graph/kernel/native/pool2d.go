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

// taps appends, for one output of the rows and one of the columns, where the
// cells of its window lie in bytes from the first one: in x, whose elements
// have size bytes, and in the rows that a maxRows of c channels holds.
func (g *pooling) taps(taps []run, size, c int, r, col window) []run {
	held := g.held()
	for i := r.lo; i < r.hi; i++ {
		down := (i - r.lo) * g.DilationH
		for j := range col.hi - col.lo {
			right := j * g.DilationW
			slot := (r.first + down) % held
			taps = append(taps, run{size * (down*g.W + right) * g.C, 4 * (slot*g.pitch(c) + right*c)})
		}
	}
	return taps
}

// held is how many rows of the input a window reaches over.
func (g *pooling) held() int { return (g.KH-1)*g.DilationH + 1 }

// pitch is how far apart rows of c channels are held: a third of a page after
// whole pages, since a load waits for stores that only the page tells apart.
func (g *pooling) pitch(c int) int {
	const page = 4096 / 4
	return ceilDiv(g.W*c, page)*page + page/3/16*16
}

func pool2d(p *program, d kernel.Pool) error {
	g, err := newPooling(d)
	if err != nil {
		return err
	}
	low := float32(math.Inf(-1))
	switch {
	case d.Op == kernel.AveragePool:
		averagePool(p, g)
	case p.inHalf(0):
		maxPool(p, g, p.isa.half.maxWindow, uint16(math.Float32bits(low)>>16), func() (x, y []uint16) { return p.h[0], p.h[1] })
	default:
		maxPool(p, g, p.isa.maxWindow, low, func() (x, y []float32) { return p.f[0], p.f[1] })
	}
	return nil
}

func averagePool(p *program, g *pooling) {
	c := g.C
	p.split(g.N*g.OH, grain/max(g.OW*c*g.KH*g.KW, 1)+1, func(lo, hi int) {
		x, y := p.f[0], p.f[1]
		for i := lo; i < hi; i++ {
			for ow, col := range g.cols {
				row := g.rows[i%g.OH]
				out := y[(i*g.OW+ow)*c : (i*g.OW+ow+1)*c]
				w := g.weight(row, col)
				clear(out)
				g.cells(i/g.OH, row, col, func(at int) { p.isa.axpy(out, x[at*c:], w) })
			}
		}
	})
}

// maxPool writes low where a window is empty.
func maxPool[T float32 | uint16](p *program, g *pooling, kernel func(t *windowTile), low T, args func() (x, y []T)) {
	c, size := g.C, int(unsafe.Sizeof(low))
	work := g.N * g.OH
	if work*g.OW*c == 0 {
		return
	}
	parts := min(p.chunks(work*g.OW*c*g.KH*g.KW, grain), work)
	tiles, taps := make([]windowTile, parts), make([]run, parts*g.KH*g.KW)
	p.stage(parts, func(part int) {
		x, y := args()
		t := &tiles[part]
		*t = windowTile{taps: taps[part*g.KH*g.KW : part*g.KH*g.KW : (part+1)*g.KH*g.KW], c: c, xStep: size * g.StrideW * c, yStep: size * c}
		from, to := span(work, part, parts, 1)
		for i := from; i < to; i++ {
			row := g.rows[i%g.OH]
			for j := 0; j < g.OW; j += t.pixels {
				col := g.cols[j]
				t.pixels = g.alike(j)
				at := (i*g.OW + j) * c
				if t.taps = g.taps(t.taps[:0], size, c, row, col); len(t.taps) == 0 {
					for k := range t.pixels * c {
						y[at+k] = low
					}
					continue
				}
				t.x, t.y = pointer(x, ((i/g.OH*g.H+row.first)*g.W+col.first)*c), pointer(y, at)
				kernel(t)
			}
		}
	})
}

// alike returns how many outputs of a row from j on see the same taps.
func (g *pooling) alike(j int) int {
	n := 1
	for first := g.cols[j]; j+n < len(g.cols); n++ {
		next := g.cols[j+n]
		if next.lo != first.lo || next.hi != first.hi || next.first != first.first+n*g.StrideW {
			break
		}
	}
	return n
}

// pointer is that to an element, of a type that the kernel knows.
func pointer[T float32 | uint16](x []T, i int) *float32 {
	return (*float32)(unsafe.Pointer(&x[i]))
}

// pool2dBackward shares by image and, where these are uneven, by blocks of
// channels: windows overlap, so no two shares may work on the same plane.
func pool2dBackward(p *program, d kernel.PoolBackward) error {
	g, err := newPooling(d.Pool)
	if err != nil {
		return err
	}
	if d.N*d.H*d.W*d.C == 0 {
		return nil
	}
	blocks, threads := 1, p.pool.threads
	for blocks < ceilDiv(d.C, 32) && d.N*blocks%threads != 0 && d.N*blocks < 4*threads {
		blocks++
	}
	shares := poolShares{pooling: g, blocks: blocks, parts: min(p.chunks(d.N*d.OH*d.OW*d.KH*d.KW*d.C, grain), d.N*blocks)}
	switch {
	case d.Op == kernel.AveragePool:
		shares.average(p)
	case p.inHalf(0):
		maxBackward(p, &shares, p.isa.half.maxBack, p.isa.narrow, func() (x, dy, dx []uint16) { return p.h[0], p.h[1], p.h[2] })
	default:
		maxBackward(p, &shares, p.isa.maxBack, func(to, from []float32) { copy(to, from) }, func() (x, dy, dx []float32) { return p.f[0], p.f[1], p.f[2] })
	}
	return nil
}

// poolShares is how the work of a gradient is shared.
type poolShares struct {
	*pooling
	blocks, parts int
}

// each calls f with the images and the channels of a share.
func (s *poolShares) each(part int, f func(n, lo, hi int)) {
	from, to := span(s.N*s.blocks, part, s.parts, 1)
	for q := from; q < to; q++ {
		if lo, hi := span(s.C, q%s.blocks, s.blocks, 16); lo < hi {
			f(q/s.blocks, lo, hi)
		}
	}
}

func (s *poolShares) average(p *program) {
	c := s.C
	p.stage(s.parts, func(part int) {
		dy, dx := p.f[1], p.f[2]
		s.each(part, func(n, lo, hi int) {
			for pixel := n * s.H * s.W; pixel < (n+1)*s.H*s.W; pixel++ {
				clear(dx[pixel*c+lo : pixel*c+hi])
			}
			for oh, row := range s.rows {
				for ow, col := range s.cols {
					out := ((n*s.OH+oh)*s.OW+ow)*c + lo
					w := s.weight(row, col)
					s.cells(n, row, col, func(at int) { p.isa.axpy(dx[at*c+lo:at*c+hi], dy[out:], w) })
				}
			}
		})
	})
}

// maxBackward adds up the rows of dx that a window reaches over in float32 and
// writes each as soon as no further window reaches it.
func maxBackward[T float32 | uint16](p *program, s *poolShares, kernel func(t *windowTile), write func(to []T, from []float32), args func() (x, dy, dx []T)) {
	c, held := s.C, s.held()
	var zero T
	size := int(unsafe.Sizeof(zero))
	length := held * s.pitch(c)
	at := p.reserve(s.parts * length)
	window := s.KH * s.KW
	tiles, taps := make([]windowTile, s.parts), make([]run, s.parts*window)
	p.stage(s.parts, func(part int) {
		x, dy, dx := args()
		rows := p.s[at+part*length : at+(part+1)*length]
		clear(rows)
		t := &tiles[part]
		*t = windowTile{taps: taps[part*window : part*window : (part+1)*window], xStep: size * s.StrideW * c, yStep: size * c}
		s.each(part, func(n, lo, hi int) {
			t.c, t.dxStep = hi-lo, 4*s.StrideW*(hi-lo)
			written := 0
			// finish writes the rows before one and zeroes them.
			finish := func(row int) {
				for ; written < min(row, s.H); written++ {
					sums := rows[written%held*s.pitch(t.c):][:s.W*t.c]
					to := dx[(n*s.H+written)*s.W*c:]
					if t.c == c {
						write(to[:len(sums)], sums)
					} else {
						for j := range s.W {
							write(to[j*c+lo:j*c+hi], sums[j*t.c:])
						}
					}
					clear(sums)
				}
			}
			for oh, row := range s.rows {
				finish(oh*s.StrideH - s.PadTop)
				for j := 0; j < s.OW; j += t.pixels {
					col := s.cols[j]
					t.pixels = s.alike(j)
					if t.taps = s.taps(t.taps[:0], size, t.c, row, col); len(t.taps) == 0 {
						continue
					}
					t.x = pointer(x, ((n*s.H+row.first)*s.W+col.first)*c+lo)
					t.y = pointer(dy, ((n*s.OH+oh)*s.OW+j)*c+lo)
					t.dx = &rows[col.first*t.c]
					kernel(t)
				}
			}
			finish(s.H)
		})
	})
}

// windowTile is one call of the kernels of a max pooling: a row of pixels whose
// windows have the same taps. maxWindow computes, in every channel,
//
//	y[k] = max over taps of x[taps.a + k]
//
// and maxBack adds y to dx[taps.b + k] at the first of the taps where x is the
// maximum. The first NaN is the maximum if there is one. Distances are in
// bytes; x and y may hold bfloat16, for kernels of their own. Assembly reads
// the fields by name.
type windowTile struct {
	x, y, dx             *float32
	taps                 []run
	c, pixels            int
	xStep, yStep, dxStep int // from one pixel to the next
}

// maxWindowGo is maxWindow in Go.
func maxWindowGo(t *windowTile) {
	t.walk(func(x, y, _ *float32) {
		_, *y = t.largest(x)
	})
}

// maxBackGo is maxBack in Go.
func maxBackGo(t *windowTile) {
	t.walk(func(x, y, dx *float32) {
		best, _ := t.largest(x)
		*beyond(dx, t.taps[best].b) += *y
	})
}

// walk visits every channel of every pixel.
func (t *windowTile) walk(visit func(x, y, dx *float32)) {
	for i := range t.pixels {
		for k := range t.c {
			var dx *float32
			if t.dx != nil {
				dx = beyond(t.dx, i*t.dxStep+4*k)
			}
			visit(beyond(t.x, i*t.xStep+4*k), beyond(t.y, i*t.yStep+4*k), dx)
		}
	}
}

// largest returns the tap that holds the maximum, and the maximum.
func (t *windowTile) largest(x *float32) (tap int, m float32) {
	for i, r := range t.taps {
		if v := *beyond(x, r.a); i == 0 || v > m || v != v && m == m {
			tap, m = i, v
		}
	}
	return tap, m
}

// beyond is the address so many bytes from another.
func beyond(p *float32, bytes int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), bytes)) }
