package native

import (
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Winograd's convolution F(4x4, 3x3): a tile of 4 by 4 outputs takes 36
// products for every pair of channels where the definition takes 144. With d
// the 6 by 6 pixels under a tile and g the filter,
//
//	y  = A^T [ (G g G^T) * (B^T d B) ] A
//	dg = G^T [ (A dy A^T) * (B^T d B) ] G  summed over the tiles
//
// where * goes element by element and what it gives is summed over the
// channels: 36 matrix products, one for each element, which is called a
// frequency here. The gradient by the data is a convolution of dy with the
// flipped filter.
//
// The matrices evaluate polynomials at 0, ±5/8, ±3/2 and infinity. These points
// were chosen for their error, which is 2.0 to 2.5 times that of the definition
// in the mean square, for images of 64 to 2560 channels after a ReLU (see
// TestWinogradError); at the usual 0, ±1, ±2 it is four times. All powers that
// the transforms of images need are exact. A NaN in an input or a filter
// reaches every output that depends on it, and may reach others of the same
// tile; an infinity becomes NaN.
//
// A dilated convolution falls into as many dense ones as the dilation has
// phases, in each direction; only the addresses of a tile's pixels know of it.
//
// Of bfloat16 are the pixels of images alone: transforms widen what they read
// and narrow what they write. Frequencies, products and filters are float32, so
// that the error stays far below half a unit of bfloat16.
const (
	winogradOut    = 4
	winogradTaps   = 3
	winogradIn     = winogradOut + winogradTaps - 1
	winogradPlanes = winogradIn * winogradIn
)

// winogradTile is one call of a transform between pixels and frequencies, for
// a run of channels. Those to frequencies read pixels, in row-major order, and
// write plane + f*pitch for frequency f; those from frequencies the reverse.
// Frequencies are read and written in whole vectors, pixels in as many lanes
// as there are. Assembly reads the fields by name and trusts them.
type winogradTile struct {
	pixels    [winogradPlanes]unsafe.Pointer // as many as there are
	size      int                            // bytes of a pixel's number in one channel
	plane     *float32
	pitch     int      // floats
	lanes     int      // channels, the last vector counted as far as it is used
	start     int      // bytes from pixels to the first channel
	pixelStep int      // bytes from one vector of channels to the next
	planeStep int      // the same among the frequencies
	temp      *float32 // 36 vectors
	// The output's: y = min(max(y + bias, lo), hi).
	bias   *float32
	lo, hi float32
}

// winogradKernels are the transforms by what they have as pixels. Those for
// bfloat16 lack the two of filters.
type winogradKernels struct {
	image          func(t *winogradTile) // 6 by 6 to frequencies: B^T d B
	gradient       func(t *winogradTile) // 4 by 4 to frequencies: A dy A^T
	filter         func(t *winogradTile) // 3 by 3 to frequencies: G g G^T
	output         func(t *winogradTile) // frequencies to 4 by 4: A^T m A
	filterGradient func(t *winogradTile) // frequencies to 3 by 3: G^T m G
}

// winogradAxis is where the tiles of an axis lie in an image.
type winogradAxis struct {
	n     int   // length
	step  int   // from one pixel of a tile to the next
	first []int // of each tile
}

// winogradView is the pixels of all tiles in an image.
type winogradView struct {
	h, w winogradAxis
	c    int
}

// winogradTiles lists the tiles of an axis of out outputs: every phase of the
// dilation has its own.
func winogradTiles(out, dilation int) (first []int) {
	for phase := range min(dilation, out) {
		for i := phase; i < out; i += winogradOut * dilation {
			first = append(first, i)
		}
	}
	return first
}

// shift returns the tiles moved by a distance, in an image of another length.
func (a winogradAxis) shift(by, n int) winogradAxis {
	b := winogradAxis{n: n, step: a.step}
	for _, i := range a.first {
		b.first = append(b.first, i+by)
	}
	return b
}

// pixels is where the images of an argument lie, and the bytes of a number.
type pixels struct {
	base unsafe.Pointer
	size int
}

// pixels returns argument i of the current Run.
func (p *program) pixels(i int) pixels {
	if p.inHalf(i) {
		return pixels{unsafe.Pointer(unsafe.SliceData(p.h[i])), 2}
	}
	return pixels{unsafe.Pointer(unsafe.SliceData(p.f[i])), 4}
}

// winogradOf returns the transforms between frequencies and argument i.
func (p *program) winogradOf(i int) *winogradKernels {
	if p.inHalf(i) {
		return &p.isa.half.winograd
	}
	return &p.isa.winograd
}

// point sets the pixels of a tile of size by size to channel c of an image,
// those beyond its edges to outside.
func (v *winogradView) point(t *winogradTile, x pixels, tile, size, c int, outside *float32) {
	t.size = x.size
	w0 := v.w.first[tile%len(v.w.first)]
	tile /= len(v.w.first)
	h := v.h.first[tile%len(v.h.first)]
	n := tile / len(v.h.first)
	p := t.pixels[:size*size]
	for i := range size {
		row := p[i*size : (i+1)*size]
		if h < 0 || h >= v.h.n {
			for j := range row {
				row[j] = unsafe.Pointer(outside)
			}
		} else {
			base := (n*v.h.n + h) * v.w.n
			w := w0
			for j := range row {
				if w < 0 || w >= v.w.n {
					row[j] = unsafe.Pointer(outside)
				} else {
					row[j] = unsafe.Add(x.base, ((base+w)*v.c+c)*x.size)
				}
				w += v.w.step
			}
		}
		h += v.h.step
	}
}

// spectrum is a matrix for every frequency, in scratch. Its columns lie in
// panels of width.
type spectrum struct {
	at, pitch  int // of frequency 0; from one to the next
	row, panel int // from one row, and from one panel, to the next
	width      int
}

// newSpectrum reserves a spectrum. The pitch is an odd number of cache lines,
// so that the frequencies of an element fall into different sets of the cache.
func newSpectrum(p *program, rows, columns, width int) spectrum {
	width = min(width, roundUp(columns, p.isa.lanes))
	s := spectrum{row: width, panel: rows * width, width: width}
	if columns <= width {
		s.row = (ceilDiv(width, 16) | 1) * 16
		s.panel = rows * s.row
	}
	s.pitch = ceilDiv(ceilDiv(columns, width)*s.panel, 16) | 1
	s.pitch *= 16
	s.at = p.reserve(winogradPlanes * s.pitch)
	return s
}

// element is where an element lies in scratch.
func (s *spectrum) element(f, row, column int) int {
	return s.at + f*s.pitch + row*s.row + column/s.width*s.panel + column%s.width
}

// transform runs a kernel between the pixels of t and the first n columns of a
// row.
func (s *spectrum) transform(p *program, t *winogradTile, row, n int, k func(t *winogradTile)) {
	lanes := p.isa.lanes
	t.pitch = s.pitch
	if n <= s.width {
		t.plane = &p.s[s.element(0, row, 0)]
		t.lanes, t.pixelStep, t.planeStep = n, t.size*lanes, 4*lanes
		k(t)
		return
	}
	// One vector of every panel at a time.
	t.pixelStep, t.planeStep = t.size*s.width, 4*s.panel
	for at := 0; at < s.width; at += lanes {
		t.plane, t.start = &p.s[s.element(0, row, at)], t.size*at
		last := (n - at - 1) / s.width // panel
		t.lanes = last*lanes + min(lanes, n-at-last*s.width)
		k(t)
	}
	t.start = 0
}

// winograd is a convolution, or its gradient by the data, by tiles: image is
// where they read, output where they write.
type winograd struct {
	image, output winogradView
	tiles         int
	flipped       bool // the gradient: source channels lead in the filter
	winogradPlan
}

// conv compiles a convolution.
func (w *winograd) conv(p *program, c kernel.Conv) {
	bias := -1
	if c.Bias {
		bias = 2
	}
	w.gather(p, 0, 1, bias, len(p.args)-1, c.Act)
}

// convBackwardData compiles the gradient by the data.
func (w *winograd) convBackwardData(p *program) { w.gather(p, 0, 1, -1, 2, kernel.Clip{}) }

// gather compiles a convolution or its gradient by the data. For every
// block of the output it goes through the source channels, block by block: one
// stage transforms pixels and filter, the next adds the products to the sums.
// A last stage transforms the sums.
func (w *winograd) gather(p *program, src, filter, bias, dst int, act kernel.Clip) {
	isa := p.isa
	mr, nr, lanes := isa.mr, isa.nr, isa.lanes
	sc, dc := w.image.c, w.output.c
	tileBlock := min(w.tiles, w.tileBlock)
	outputBlock := roundUp(min(dc, w.outputBlock), nr)
	depth := roundUp(min(sc, w.inputBlock), lanes)

	v := newSpectrum(p, tileBlock, depth, depth+lanes)
	wide := nr
	if w.flipped {
		wide = outputBlock
	}
	u := newSpectrum(p, depth, outputBlock, wide)
	m := newSpectrum(p, tileBlock, outputBlock, outputBlock+lanes)
	parts := p.chunks(winogradPlanes*w.tiles*sc*dc, isa.dense)
	threads := p.on(parts)
	temp := p.reserve(threads * winogradPlanes * lanes)
	spill := p.reserve(threads * ceilDiv(dc, 16) * 16) // outputs beyond the edges
	taps := 9 * depth * lanes
	turned := 0
	if !w.flipped {
		turned = p.reserve(threads * taps)
	}
	zeros := make([]float32, max(sc, dc)+lanes)
	tiles := make([]winogradTile, threads)
	workers := make([]tile, threads)
	runs := make([]run, 1)
	image, output := p.winogradOf(src).image, p.winogradOf(dst).output

	for tb := range ceilDiv(w.tiles, tileBlock) {
		t0, t1 := cut(w.tiles, tileBlock, tb)
		for ob := range ceilDiv(dc, outputBlock) {
			o0, o1 := cutAligned(dc, outputBlock, ob, nr)
			for ib := range ceilDiv(sc, depth) {
				c0, c1 := cutAligned(sc, depth, ib, lanes)
				p.stageOn(parts, func(thread, part int) {
					t := &tiles[thread]
					t.temp = &p.s[temp+thread*winogradPlanes*lanes]
					lo, hi := span(t1-t0, part, parts, 1)
					for i := lo; i < hi; i++ {
						w.image.point(t, p.pixels(src), t0+i, winogradIn, c0, &zeros[0])
						v.transform(p, t, i, c1-c0, image)
					}
					t.size = 4
					if w.flipped {
						lo, hi = span(c1-c0, part, parts, 1)
						for s := lo; s < hi; s++ {
							for k := range 9 {
								t.pixels[k] = unsafe.Pointer(&p.f[filter][((c0+s)*9+8-k)*dc+o0])
							}
							u.transform(p, t, s, o1-o0, isa.winograd.filter)
						}
						return
					}
					lo, hi = span(o1-o0, part, parts, lanes)
					for o := lo; o < hi; o += lanes {
						to := p.s[turned+thread*taps:]
						for k := range 9 {
							from := p.f[filter][((o0+o)*9+k)*sc+c0:]
							isa.interleave(to[k*(c1-c0)*lanes:(k+1)*(c1-c0)*lanes], from, min(lanes, hi-o), c1-c0, lanes, 9*sc)
							t.pixels[k] = unsafe.Pointer(&to[k*(c1-c0)*lanes])
						}
						t.plane, t.pitch = &p.s[u.element(0, 0, o)], u.pitch
						t.lanes, t.pixelStep, t.planeStep = (c1-c0)*lanes, 4*lanes, 4*u.row
						isa.winograd.filter(t)
					}
				})
				panels := ceilDiv(o1-o0, nr)
				p.stageOn(parts, func(thread, part int) {
					g := &workers[thread]
					*g = tile{}
					g.runs, g.steps = runs, c1-c0
					g.aRow, g.aStep, g.bStep, g.cRow = v.row, 1, u.row, m.row
					g.accumulate = c0 > 0
					lo, hi := span(winogradPlanes*panels, part, parts, 1)
					pieces := ceilDiv(t1-t0, mr)
					for q := lo; q < hi; q++ {
						f, panel := q/panels, q%panels
						g.b = p.s[u.element(f, 0, panel*nr):]
						g.cols = min(nr, roundUp(o1-o0, lanes)-panel*nr)
						for k := range pieces {
							i0, i1 := cut(t1-t0, mr, k)
							g.rows = i1 - i0
							g.a = p.s[v.element(f, i0, 0):]
							g.c = p.s[m.element(f, i0, panel*nr):]
							isa.tile(g)
						}
					}
				})
			}
			p.stageOn(parts, func(thread, part int) {
				t := &tiles[thread]
				t.temp = &p.s[temp+thread*winogradPlanes*lanes]
				t.bias = &zeros[0]
				if bias >= 0 {
					t.bias = &p.f[bias][o0]
				}
				t.setClip(act)
				lo, hi := span(t1-t0, part, parts, 1)
				for i := lo; i < hi; i++ {
					w.output.point(t, p.pixels(dst), t0+i, winogradOut, o0, &p.s[spill+thread*roundUp(dc, 16)])
					m.transform(p, t, i, o1-o0, output)
				}
			})
		}
	}
}

// cutAligned is cut with pieces of multiples of align, but for the last.
func cutAligned(n, size, i, align int) (lo, hi int) {
	lo, hi = cut(ceilDiv(n, align), size/align, i)
	return lo * align, min(n, hi*align)
}

// newWinograd returns the tiles of a convolution or of its gradient by the
// data.
func newWinograd(g kernel.Geometry, gradient bool) *winograd {
	w := &winograd{flipped: gradient}
	oh, ow, ih, iw := g.OH, g.OW, g.H, g.W
	w.image.c, w.output.c = g.C, g.O
	top, left := -g.PadTop, -g.PadLeft
	if gradient {
		oh, ow, ih, iw = ih, iw, oh, ow
		w.image.c, w.output.c = g.O, g.C
		top, left = g.PadTop-2*g.DilationH, g.PadLeft-2*g.DilationW
	}
	w.output.h = winogradAxis{oh, g.DilationH, winogradTiles(oh, g.DilationH)}
	w.output.w = winogradAxis{ow, g.DilationW, winogradTiles(ow, g.DilationW)}
	w.image.h = w.output.h.shift(top, ih)
	w.image.w = w.output.w.shift(left, iw)
	w.tiles = g.N * len(w.output.h.first) * len(w.output.w.first)
	return w
}
