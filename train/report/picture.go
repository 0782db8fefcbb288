package report

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	"github.com/graft-onnx/graft/internal/atomicfile"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/data"
)

// A ShapeError is labels that do not fit the picture they belong to.
type ShapeError struct{ Labels, Width, Height int }

// Error implements error.
func (e *ShapeError) Error() string {
	return fmt.Sprintf("report: %d labels for a picture of %d x %d pixels", e.Labels, e.Width, e.Height)
}

// ColorMap draws labels, (height,width) class numbers, in the classes'
// colours; what is no class, such as -1, is black.
func ColorMap(labels []int32, width, height int, classes models.Classes) (*image.RGBA, error) {
	if width < 1 || height < 1 || len(labels) != width*height {
		return nil, &ShapeError{len(labels), width, height}
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i, l := range labels {
		c := classes.Colour(int(l))
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = c.R, c.G, c.B, 255
	}
	return img, nil
}

// Overlay lays the colour map over the picture; opacity 1 hides the picture,
// 0 the colours. Pixels that are no class keep the picture's colour.
func Overlay(p *data.Picture, labels []int32, classes models.Classes, opacity float64) (*image.RGBA, error) {
	if len(labels) != p.Width*p.Height {
		return nil, &ShapeError{len(labels), p.Width, p.Height}
	}
	opacity = min(max(opacity, 0), 1)
	img := image.NewRGBA(p.Bounds())
	for i, l := range labels {
		r, g, b := p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2]
		if l >= 0 {
			c := classes.Colour(int(l))
			r, g, b = blend(r, c.R, opacity), blend(g, c.G, opacity), blend(b, c.B, opacity)
		}
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = r, g, b, 255
	}
	return img, nil
}

func blend(under, over uint8, opacity float64) uint8 {
	return uint8(float64(under)*(1-opacity) + float64(over)*opacity + 0.5)
}

// SideBySide places pictures beside each other, a gap of white between them,
// aligned at the top.
func SideBySide(gap int, pictures ...image.Image) *image.RGBA {
	width, height := 0, 0
	for i, p := range pictures {
		if i > 0 {
			width += gap
		}
		width += p.Bounds().Dx()
		height = max(height, p.Bounds().Dy())
	}
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(out, out.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	x := 0
	for _, p := range pictures {
		b := p.Bounds()
		draw.Draw(out, image.Rect(x, 0, x+b.Dx(), b.Dy()), p, b.Min, draw.Src)
		x += b.Dx() + gap
	}
	return out
}

// Comparison is picture, truth and prediction side by side; truth is left
// out when nil.
func Comparison(p *data.Picture, truth, prediction []int32, classes models.Classes) (*image.RGBA, error) {
	parts := []image.Image{p}
	for _, labels := range [][]int32{truth, prediction} {
		if labels == nil {
			continue
		}
		m, err := ColorMap(labels, p.Width, p.Height, classes)
		if err != nil {
			return nil, err
		}
		parts = append(parts, m)
	}
	return SideBySide(4, parts...), nil
}

// LabelPNG encodes labels as a grey PNG of class numbers plus shift, the way
// masks are read; ignored ones become shift-1, or 255 where that is negative.
// More than 255 values take 16 bits.
func LabelPNG(labels []int32, width, height, shift int) ([]byte, error) {
	if width < 1 || height < 1 || len(labels) != width*height {
		return nil, &ShapeError{len(labels), width, height}
	}
	most := 0
	for _, l := range labels {
		most = max(most, int(l)+shift)
	}
	if most > 65535 {
		return nil, fmt.Errorf("report: label %d does not fit a 16-bit PNG", most)
	}
	value := func(l int32) int {
		if v := int(l) + shift; v >= 0 {
			return v
		}
		return 255
	}
	if most > 255 {
		img := image.NewGray16(image.Rect(0, 0, width, height))
		for i, l := range labels {
			img.SetGray16(i%width, i/width, color.Gray16{Y: uint16(value(l))})
		}
		return PNG(img)
	}
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i, l := range labels {
		img.Pix[i] = uint8(value(l))
	}
	return PNG(img)
}

// PNG encodes a picture.
func PNG(img image.Image) ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Bytes(), nil
}

// SavePNG writes a picture to path; the file appears complete or not at all.
func SavePNG(path string, img image.Image) error {
	b, err := PNG(img)
	if err != nil {
		return err
	}
	return save(path, b)
}

func save(path string, b []byte) error {
	if err := atomicfile.WriteBytes(path, b); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
