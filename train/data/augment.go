package data

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/graft-onnx/graft/train/config"
)

// cropTries is how often a crop is drawn again when one category fills more
// of it than allowed; the last one is taken as it is.
const cropTries = 10

// layer is a canvas's picture or mask. Steps read now, which may be the
// cache's, and write into their own two buffers in turn.
type layer[T any] struct {
	now  []T
	own  [2][]T
	turn int
}

// next returns room for n values that are not those of now.
func (l *layer[T]) next(n int) []T {
	l.own[l.turn] = grow(l.own[l.turn], n)
	return l.own[l.turn]
}

// take makes what next returned, filled by now, the layer's values.
func (l *layer[T]) take(made []T) {
	l.now = made
	l.turn ^= 1
}

// canvas is a training picture with its mask on the way into a batch. Every
// step does the same to both.
type canvas struct {
	pix  layer[uint8]  // (h,w,3)
	mask layer[uint16] // (h,w): class+1, 0 for ignored
	w, h int
	// toW and toH are the size that is owed: scalings are gathered, and done
	// by one resampling before the first step that needs the pixels.
	toW, toH int
	// frameW and frameH are the least room in the batch: a crop of a smaller
	// picture is padded as pictures of unlike size are.
	frameW, frameH int
}

// start puts a sample on the canvas, to be resized to (h,w).
func (c *canvas) start(s Sample, w, h int) {
	c.pix.now, c.mask.now = s.Picture.Pix, s.Mask.Pix
	c.w, c.h = s.Picture.Width, s.Picture.Height
	c.toW, c.toH, c.frameW, c.frameH = w, h, 0, 0
}

// augmenter does a list of steps to canvases; one per goroutine.
type augmenter struct {
	opt    *Options
	resize resizer
	xs, ys []int32
	counts []int
	blur   blurrer
}

// run does all steps to a canvas. Its numbers are those of a record in a pass
// over the set, whichever batch and goroutine it is in.
func (a *augmenter) run(c *canvas, flip bool, record, pass int) error {
	if flip { // before resizing, as the reference does
		c.flip()
	}
	g := generator(a.opt.Seed, streamAugment, uint64(pass)<<32|uint64(record))
	for _, s := range a.opt.Augment {
		if unit(g) < s.P() {
			a.step(c, s, g)
		}
		if int64(c.toW)*int64(c.toH) > int64(a.opt.MaxPixels) {
			return fmt.Errorf("DATASET.augment scales it to %d x %d pixels, more than the %d of DATASET.max_pixels; lower the max of scale", c.toW, c.toH, a.opt.MaxPixels)
		}
	}
	a.settle(c)
	return nil
}

func (a *augmenter) step(c *canvas, s config.Step, g *rand.PCG) {
	switch s.Name {
	case config.StepScale:
		c.scale(between(g, s.Number("min"), s.Number("max")))
	case config.StepCrop:
		a.settle(c)
		h, w := s.Range("size")
		a.crop(c, int(w), int(h), s.Number("category_max_ratio"), g)
	case config.StepFlip:
		c.flip()
	case config.StepRotate:
		a.settle(c)
		most := s.Number("degrees")
		c.rotate(between(g, -most, most)*math.Pi/180, a.opt.meanColour())
	case config.StepColor:
		a.settle(c)
		around := func(key string) float64 { return between(g, 1-s.Number(key), 1+s.Number(key)) }
		j := jitter{brightness: around("brightness"), contrast: around("contrast"), saturation: around("saturation")}
		j.hue = between(g, -s.Number("hue"), s.Number("hue"))
		made := c.pix.next(len(c.pix.now))
		j.apply(made, c.pix.now)
		c.pix.take(made)
	case config.StepBlur:
		a.settle(c)
		low, high := s.Range("sigma")
		made := c.pix.next(len(c.pix.now))
		a.blur.apply(made, c.pix.now, c.w, c.h, between(g, low, high))
		c.pix.take(made)
	case config.StepNoise:
		a.settle(c)
		low, high := s.Range("std")
		made := c.pix.next(len(c.pix.now))
		addNoise(made, c.pix.now, 255*between(g, low, high), g)
		c.pix.take(made)
	}
}

func between(g *rand.PCG, low, high float64) float64 { return low + (high-low)*unit(g) }

// meanColour is the colour that normalises to about 0.
func (o *Options) meanColour() (c [3]uint8) {
	for i, m := range o.Mean {
		c[i] = uint8(min(max(m*255+0.5, 0), 255))
	}
	return c
}

// settle does the resizing that is owed: the picture bilinear as Pillow has
// it, the mask by nearest neighbour.
func (a *augmenter) settle(c *canvas) {
	if c.w == c.toW && c.h == c.toH {
		return
	}
	c.pix.take(a.resize.rgb(c.pix.next(3*c.toW*c.toH), c.pix.now, c.w, c.h, c.toW, c.toH))
	a.xs = nearestIndex(a.xs, c.w, c.toW)
	a.ys = nearestIndex(a.ys, c.h, c.toH)
	made := c.mask.next(c.toW * c.toH)
	for y, from := range a.ys {
		row, out := c.mask.now[int(from)*c.w:][:c.w], made[y*c.toW:][:c.toW]
		for x, at := range a.xs {
			out[x] = row[at]
		}
	}
	c.mask.take(made)
	c.w, c.h = c.toW, c.toH
}

// scale multiplies the size that is owed.
func (c *canvas) scale(factor float64) {
	times := func(n int) int { return max(1, int(float64(n)*factor+0.5)) }
	c.toW, c.toH = times(c.toW), times(c.toH)
	if c.frameW > 0 {
		c.frameW, c.frameH = times(c.frameW), times(c.frameH)
	}
}

// flip mirrors left to right.
func (c *canvas) flip() {
	pix, mask := c.pix.next(len(c.pix.now)), c.mask.next(len(c.mask.now))
	flipRGB(pix, c.pix.now, c.w, c.h)
	for y := range c.h {
		from, to := c.mask.now[y*c.w:][:c.w], mask[y*c.w:][:c.w]
		for x, v := range from {
			to[c.w-1-x] = v
		}
	}
	c.pix.take(pix)
	c.mask.take(mask)
}

// crop cuts out at most (h,w). It draws again, up to cropTries times, while a
// single category has more than the share most of the pixels that are not
// ignored.
func (a *augmenter) crop(c *canvas, w, h int, most float64, g *rand.PCG) {
	c.frameW, c.frameH = w, h
	w, h = min(w, c.w), min(h, c.h)
	var x, y int
	for range cropTries {
		x, y = below(g, c.w-w+1), below(g, c.h-h+1)
		if most >= 1 || a.largestShare(c, x, y, w, h) <= most {
			break
		}
	}
	pix, mask := c.pix.next(3*w*h), c.mask.next(w*h)
	for i := range h {
		at := (y+i)*c.w + x
		copy(pix[3*i*w:3*(i+1)*w], c.pix.now[3*at:])
		copy(mask[i*w:(i+1)*w], c.mask.now[at:])
	}
	c.pix.take(pix)
	c.mask.take(mask)
	c.w, c.h, c.toW, c.toH = w, h, w, h
}

// largestShare is the share of the commonest category in a part of the mask;
// 1 where every pixel is ignored.
func (a *augmenter) largestShare(c *canvas, x, y, w, h int) float64 {
	a.counts = grow(a.counts, a.opt.Labels.Classes+1)
	clear(a.counts)
	for i := range h {
		for _, v := range c.mask.now[(y+i)*c.w+x:][:w] {
			a.counts[v]++
		}
	}
	largest, all := 0, 0
	for _, n := range a.counts[1:] {
		largest, all = max(largest, n), all+n
	}
	if all == 0 {
		return 1
	}
	return float64(largest) / float64(all)
}

// rotate turns counter-clockwise about the centre, at the same size. The
// picture is interpolated between its four nearest pixels, the mask takes the
// nearest one; what comes from outside is filled and ignored.
func (c *canvas) rotate(angle float64, fill [3]uint8) {
	sin, cos := math.Sincos(angle)
	midX, midY := float64(c.w-1)/2, float64(c.h-1)/2
	pix, mask := c.pix.next(3*c.w*c.h), c.mask.next(c.w*c.h)
	for y := range c.h {
		for x := range c.w {
			dx, dy := float64(x)-midX, float64(y)-midY
			fx, fy := midX+cos*dx-sin*dy, midY+sin*dx+cos*dy
			nx, ny := int(math.Floor(fx+0.5)), int(math.Floor(fy+0.5))
			at := y*c.w + x
			if nx < 0 || ny < 0 || nx >= c.w || ny >= c.h {
				pix[3*at], pix[3*at+1], pix[3*at+2] = fill[0], fill[1], fill[2]
				mask[at] = 0
				continue
			}
			mask[at] = c.mask.now[ny*c.w+nx]
			// A nearest pixel inside means at most half a pixel beyond the
			// border, where the border's colour is repeated.
			x0, y0 := int(math.Floor(fx)), int(math.Floor(fy))
			wx, wy := fx-float64(x0), fy-float64(y0)
			x1, y1 := min(x0+1, c.w-1), min(y0+1, c.h-1)
			x0, y0 = max(x0, 0), max(y0, 0)
			for ch := range 3 {
				p := func(x, y int) float64 { return float64(c.pix.now[3*(y*c.w+x)+ch]) }
				top := p(x0, y0)*(1-wx) + p(x1, y0)*wx
				bottom := p(x0, y1)*(1-wx) + p(x1, y1)*wx
				pix[3*at+ch] = uint8(top*(1-wy) + bottom*wy + 0.5)
			}
		}
	}
	c.pix.take(pix)
	c.mask.take(mask)
}
