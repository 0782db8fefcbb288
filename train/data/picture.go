package data

import (
	"image"
	"image/color"
)

// Picture is a decoded picture of packed RGB bytes. It implements image.Image.
type Picture struct {
	Width, Height int
	Pix           []uint8 // (H,W,3)
}

// NewPicture returns a black picture.
func NewPicture(width, height int) *Picture {
	return &Picture{width, height, make([]uint8, 3*width*height)}
}

// ColorModel implements image.Image.
func (p *Picture) ColorModel() color.Model { return color.RGBAModel }

// Bounds implements image.Image.
func (p *Picture) Bounds() image.Rectangle { return image.Rect(0, 0, p.Width, p.Height) }

// At implements image.Image.
func (p *Picture) At(x, y int) color.Color {
	if !(image.Point{X: x, Y: y}).In(p.Bounds()) {
		return color.RGBA{}
	}
	i := 3 * (y*p.Width + x)
	return color.RGBA{p.Pix[i], p.Pix[i+1], p.Pix[i+2], 255}
}

// Mask is a decoded mask with its values turned into classes.
type Mask struct {
	Width, Height int
	Pix           []uint16 // (H,W): class+1, 0 for ignored
}

// Labels writes the mask as class numbers, -1 for ignored, into dst, which is
// grown when it is too small.
func (m *Mask) Labels(dst []int32) []int32 {
	if cap(dst) < len(m.Pix) {
		dst = make([]int32, len(m.Pix))
	}
	dst = dst[:len(m.Pix)]
	for i, v := range m.Pix {
		dst[i] = int32(v) - 1
	}
	return dst
}

// Sample is a picture with its mask; Mask is nil where there is none.
type Sample struct {
	Picture *Picture
	Mask    *Mask
}

// flipRGB mirrors rows of packed RGB left to right.
func flipRGB(dst, src []uint8, width, height int) {
	for y := range height {
		d, s := dst[3*y*width:3*(y+1)*width], src[3*y*width:3*(y+1)*width]
		for x := range width {
			i, j := 3*x, 3*(width-1-x)
			d[i], d[i+1], d[i+2] = s[j], s[j+1], s[j+2]
		}
	}
}
