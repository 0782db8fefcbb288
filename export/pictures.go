package export

import (
	"image"
	"math/rand/v2"

	"github.com/graft-onnx/graft/export/ort"
)

// batch is a number of pictures in each form that a network may take.
type batch struct {
	n, height, width int
	packed           []uint8   // (N,H,W,3)
	floats           []float32 // (N,3,H,W), normalised
}

// pictures makes the next batch, of the given pictures in turn or of generated
// ones.
func (v *verifier) pictures(n, height, width int) batch {
	b := batch{n: n, height: height, width: width,
		packed: make([]uint8, n*height*width*3), floats: make([]float32, n*3*height*width)}
	plane := height * width
	for i := range n {
		pixels := b.packed[i*plane*3:][:plane*3]
		if len(v.opts.Pictures) > 0 {
			scale(pixels, v.opts.Pictures[v.shown%len(v.opts.Pictures)], height, width)
		} else {
			generate(pixels, v.opts.Seed+uint64(v.shown), height, width)
		}
		v.shown++
		for j, p := range pixels {
			c := j % 3
			b.floats[(i*3+c)*plane+j/3] = (float32(p)/255 - v.mean[c]) / v.std[c]
		}
	}
	return b
}

// tensor returns the batch as a deployed file of the given layout takes it.
func (b batch) tensor(layout Layout) ort.Tensor {
	switch layout {
	case PixelsNHWC:
		return ort.New(b.packed, b.n, b.height, b.width, 3)
	case PixelsNCHW:
		planar, plane := make([]uint8, len(b.packed)), b.height*b.width
		for i, p := range b.packed {
			planar[(i/(3*plane)*3+i%3)*plane+i/3%plane] = p
		}
		return ort.New(planar, b.n, 3, b.height, b.width)
	}
	return ort.New(b.floats, b.n, 3, b.height, b.width)
}

// scale copies a picture into (H,W,3), taking the nearest pixel.
func scale(dst []uint8, src image.Image, height, width int) {
	r := src.Bounds()
	if r.Empty() {
		return
	}
	for y := range height {
		for x := range width {
			c := src.At(r.Min.X+x*r.Dx()/width, r.Min.Y+y*r.Dy()/height)
			red, green, blue, _ := c.RGBA()
			at := (y*width + x) * 3
			dst[at], dst[at+1], dst[at+2] = uint8(red>>8), uint8(green>>8), uint8(blue>>8)
		}
	}
}

// generate paints a picture that has what photographs have: slow gradients,
// edges, and fine grain.
func generate(dst []uint8, seed uint64, height, width int) {
	r := rand.New(rand.NewPCG(seed, 0x67726166))
	type rectangle struct {
		image.Rectangle
		colour [3]float64
	}
	shapes := make([]rectangle, 12)
	for i := range shapes {
		x, y := r.IntN(width), r.IntN(height)
		shapes[i].Rectangle = image.Rect(x, y, x+1+r.IntN(1+width/2), y+1+r.IntN(1+height/2))
		for c := range 3 {
			shapes[i].colour[c] = 255 * r.Float64()
		}
	}
	var from, across, down [3]float64
	for c := range 3 {
		from[c], across[c], down[c] = 255*r.Float64(), 200*r.Float64()-100, 200*r.Float64()-100
	}
	for y := range height {
		for x := range width {
			colour := [3]float64{}
			for c := range 3 {
				colour[c] = from[c] + across[c]*float64(x)/float64(width) + down[c]*float64(y)/float64(height)
			}
			for _, s := range shapes {
				if (image.Point{X: x, Y: y}).In(s.Rectangle) {
					colour = s.colour
				}
			}
			for c := range 3 {
				dst[(y*width+x)*3+c] = uint8(min(max(colour[c]+16*r.NormFloat64(), 0), 255))
			}
		}
	}
}
