package data

import (
	"errors"
	"fmt"
	"image"
)

// DecodeMask reads a mask and turns its values into classes. A value is the
// palette index or the grey level as stored, at the file's own bit depth (a
// 1-bit file holds 0 and 1); 16-bit files hold up to 65,535. Colour files are
// taken only where red, green and blue agree everywhere.
func DecodeMask(path string, maxPixels int, labels Labels) (*Mask, error) {
	m, err := rawMask(path, maxPixels)
	if err == nil {
		err = m.classify(path, labels, labels.table())
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// classify turns the values of a mask's file into classes; table is the
// labels'.
func (m *Mask) classify(path string, labels Labels, table []int32) error {
	for i, v := range m.Pix {
		c := table[v]
		if c == outside {
			return &LabelError{path, int(v), i % m.Width, i / m.Width, labels}
		}
		m.Pix[i] = uint16(c)
	}
	return nil
}

var (
	errColourMask = errors.New("a colour picture, where a mask of class numbers is wanted")
	errLossyMask  = errors.New("a lossy format, which changes class numbers along edges")
)

const (
	remedyColour = "name its colours in DATASET.mask_colours, or convert them to numbers, saved as grey or palette PNG"
	remedyLossy  = "save masks as PNG"
)

// rawMask reads a mask's values as they stand in the file.
func rawMask(path string, maxPixels int) (*Mask, error) {
	file, err := readFile(path)
	if err != nil {
		return nil, err
	}
	img, format, err := decode(path, file, maxPixels)
	if err != nil {
		return nil, err
	}
	if _, chroma := img.(*image.YCbCr); format == "jpeg" || chroma {
		return nil, &DecodeError{path, errLossyMask, remedyLossy}
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	m := &Mask{w, h, make([]uint16, w*h)}
	// The PNG decoder spreads grey of 1, 2 and 4 bits over 0..255.
	spread := uint16(1)
	if depth, colour, ok := pngHeader(file); format == "png" && ok && colour == 0 && depth < 8 {
		spread = 255 / (1<<depth - 1)
	}
	switch p := img.(type) {
	case *image.Gray:
		for y := range h {
			for x, v := range p.Pix[y*p.Stride : y*p.Stride+w] {
				m.Pix[y*w+x] = uint16(v) / spread
			}
		}
	case *image.Paletted:
		for y := range h {
			for x, v := range p.Pix[y*p.Stride : y*p.Stride+w] {
				m.Pix[y*w+x] = uint16(v)
			}
		}
	case *image.Gray16:
		for y := range h {
			for x := range w {
				m.Pix[y*w+x] = p.Gray16At(b.Min.X+x, b.Min.Y+y).Y
			}
		}
	default:
		if err := greyMask(m, img, path, spread); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// greyMask reads grey levels out of colour files, such as grey PNG with a
// transparent value.
func greyMask(m *Mask, img image.Image, path string, spread uint16) error {
	b := img.Bounds()
	wide := false
	switch img.(type) {
	case *image.RGBA64, *image.NRGBA64:
		wide = true
	}
	for y := range m.Height {
		for x := range m.Width {
			var v uint16
			var grey bool
			if wide {
				v, grey = grey16(img, b.Min.X+x, b.Min.Y+y)
			} else {
				c := straight(img.At(b.Min.X+x, b.Min.Y+y))
				v, grey = uint16(c[0])/spread, c[0] == c[1] && c[1] == c[2]
			}
			if !grey {
				return &DecodeError{path, fmt.Errorf("%w (first at pixel x %d, y %d)", errColourMask, x, y), remedyColour}
			}
			m.Pix[y*m.Width+x] = v
		}
	}
	return nil
}

func grey16(img image.Image, x, y int) (uint16, bool) {
	switch p := img.(type) {
	case *image.NRGBA64:
		c := p.NRGBA64At(x, y)
		return c.R, c.R == c.G && c.G == c.B
	case *image.RGBA64:
		c := p.RGBA64At(x, y)
		return c.R, c.R == c.G && c.G == c.B
	}
	return 0, false
}
