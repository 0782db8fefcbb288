package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // formats image.Decode accepts
	_ "image/png"
	"io"
	"os"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// Orientation says what to do with a picture whose EXIF data asks viewers to
// rotate or mirror it.
type Orientation int

// The choices; the zero value refuses.
const (
	RefuseOrientation Orientation = iota // an OrientationError
	IgnoreOrientation                    // pixels as stored, as the reference takes them
	ApplyOrientation                     // pixels as viewers show them
)

// maxFile bounds a picture file. Nothing uncompressed of maxPixels is larger.
const maxFile = 1 << 30

var errFormat = errors.New("not a picture of a known format")

const formats = "known are PNG, JPEG, BMP, TIFF and WebP"

// DecodePicture reads a picture as RGB, the way Pillow's convert("RGB") does:
// alpha is dropped, palettes looked up, grey repeated.
func DecodePicture(path string, maxPixels int, o Orientation) (*Picture, error) {
	file, err := readFile(path)
	if err != nil {
		return nil, err
	}
	turn := exifOrientation(file)
	if turn != 1 && o == RefuseOrientation {
		return nil, &OrientationError{path, turn}
	}
	img, format, err := decode(path, file, maxPixels)
	if err != nil {
		return nil, err
	}
	p := toRGB(img, format)
	if o == ApplyOrientation {
		p = orient(p, turn)
	}
	return p, nil
}

// Measure returns a picture's size from its header.
func Measure(path string, o Orientation) (width, height int, err error) {
	f, _, err := open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	// The header and EXIF segments of ordinary files; larger metadata is
	// met by reading the whole file.
	head := make([]byte, 256<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return 0, 0, &DecodeError{path, err, ""}
	}
	head = head[:n]
	cfg, _, err := header(head)
	if err != nil {
		if head, err = readFile(path); err != nil {
			return 0, 0, err
		}
		if cfg, _, err = header(head); err != nil {
			return 0, 0, decodeError(path, err)
		}
	}
	turn := exifOrientation(head)
	if turn != 1 && o == RefuseOrientation {
		return 0, 0, &OrientationError{path, turn}
	}
	if turn >= 5 && o == ApplyOrientation {
		return cfg.Height, cfg.Width, nil
	}
	return cfg.Width, cfg.Height, nil
}

// open opens a regular file no larger than maxFile and returns its size.
// Opening a pipe would wait for somebody to write to it, so it looks first.
func open(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, &DecodeError{path, err, ""}
	case !info.Mode().IsRegular():
		return nil, 0, &DecodeError{path, errors.New("not a file"), ""}
	case info.Size() > maxFile:
		return nil, 0, &DecodeError{path, fmt.Errorf("%d bytes, more than %d", info.Size(), maxFile), ""}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, &DecodeError{path, err, ""}
	}
	return f, info.Size(), nil
}

func readFile(path string) ([]byte, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, &DecodeError{path, err, ""}
	}
	return b, nil
}

func decodeError(path string, err error) error {
	e := &DecodeError{File: path, Err: err}
	if errors.Is(err, image.ErrFormat) {
		e.Err, e.Remedy = errFormat, formats
	}
	return e
}

// header and decodeAll call the format libraries, whose panics on malformed
// files become errors.
func header(file []byte) (c image.Config, format string, err error) {
	defer rescue(&err)
	c, format, err = image.DecodeConfig(bytes.NewReader(file))
	if err == nil && (c.Width < 1 || c.Height < 1) {
		err = fmt.Errorf("its size is %d x %d", c.Width, c.Height)
	}
	return c, format, err
}

func decodeAll(file []byte) (img image.Image, err error) {
	defer rescue(&err)
	img, _, err = image.Decode(bytes.NewReader(file))
	return img, err
}

func rescue(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("malformed: %v", r)
	}
}

// decode decodes after checking that the size is allowed and that the file
// can hold so many pixels at all.
func decode(path string, file []byte, maxPixels int) (image.Image, string, error) {
	c, format, err := header(file)
	if err != nil {
		return nil, "", decodeError(path, err)
	}
	if int64(c.Width)*int64(c.Height) > int64(maxPixels) {
		return nil, "", &TooLargeError{path, c.Width, c.Height, maxPixels}
	}
	if err := plausible(file, c, format); err != nil {
		return nil, "", decodeError(path, err)
	}
	img, err := decodeAll(file)
	if err != nil {
		return nil, "", decodeError(path, err)
	}
	if b := img.Bounds(); b.Dx() != c.Width || b.Dy() != c.Height {
		return nil, "", decodeError(path, fmt.Errorf("its header says %d x %d, its pixels %d x %d", c.Width, c.Height, b.Dx(), b.Dy()))
	}
	return img, format, nil
}

// plausible refuses headers that promise more pixels than the bytes behind
// them can hold, before anything of that size is allocated.
func plausible(file []byte, c image.Config, format string) error {
	var least int64 // bytes
	pixels := int64(c.Width) * int64(c.Height)
	switch format {
	case "png": // DEFLATE shrinks to 1/1032 at best; one bit a pixel at least
		least = pixels / 8 / 1032
	case "bmp": // uncompressed, 8 bits a pixel at least
		least = pixels
	case "jpeg": // an end-of-band run covers at most 32767 blocks of 64 pixels
		least = pixels / 64 / 32767
	case "tiff": // LZW, DEFLATE and PackBits of one-bit pixels
		least = pixels / 8 / 4096
	}
	if int64(len(file)) < least {
		return fmt.Errorf("%d x %d pixels cannot lie in %d bytes: truncated or forged", c.Width, c.Height, len(file))
	}
	return nil
}

// toRGB converts what the format libraries return.
func toRGB(img image.Image, format string) *Picture {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	p := NewPicture(w, h)
	switch m := img.(type) {
	case *image.YCbCr:
		ycbcrToRGB(p, m, format)
	case *image.NYCbCrA:
		ycbcrToRGB(p, &m.YCbCr, format)
	case *image.Gray:
		for y := range h {
			for x, v := range m.Pix[y*m.Stride : y*m.Stride+w] {
				put(p, x, y, v, v, v)
			}
		}
	case *image.Gray16:
		for y := range h {
			row := m.Pix[y*m.Stride : y*m.Stride+2*w]
			for x := range w {
				v := row[2*x]
				put(p, x, y, v, v, v)
			}
		}
	case *image.NRGBA:
		rows(p, m.Pix, m.Stride, 4, 1)
	case *image.NRGBA64:
		rows(p, m.Pix, m.Stride, 8, 2)
	case *image.RGBA:
		if !m.Opaque() {
			generic(p, img)
			break
		}
		rows(p, m.Pix, m.Stride, 4, 1)
	case *image.RGBA64:
		if !m.Opaque() {
			generic(p, img)
			break
		}
		rows(p, m.Pix, m.Stride, 8, 2)
	case *image.Paletted:
		var table [256][3]uint8
		for i, c := range m.Palette {
			if i < len(table) {
				table[i] = straight(c)
			}
		}
		for y := range h {
			for x, v := range m.Pix[y*m.Stride : y*m.Stride+w] {
				c := table[v]
				put(p, x, y, c[0], c[1], c[2])
			}
		}
	default: // CMYK and what a library may add
		generic(p, img)
	}
	return p
}

func put(p *Picture, x, y int, r, g, b uint8) {
	i := 3 * (y*p.Width + x)
	p.Pix[i], p.Pix[i+1], p.Pix[i+2] = r, g, b
}

// rows copies the first three channels: pixel bytes apart from each other,
// each channel's high byte first of width bytes.
func rows(p *Picture, pix []uint8, stride, pixel, width int) {
	for y := range p.Height {
		row := pix[y*stride : y*stride+pixel*p.Width]
		for x := range p.Width {
			s := row[pixel*x:]
			put(p, x, y, s[0], s[width], s[2*width])
		}
	}
}

func generic(p *Picture, img image.Image) {
	b := img.Bounds()
	for y := range p.Height {
		for x := range p.Width {
			c := straight(img.At(b.Min.X+x, b.Min.Y+y))
			put(p, x, y, c[0], c[1], c[2])
		}
	}
}

// pngHeader returns bit depth and colour type of a PNG file (W3C PNG, 11.2.1).
func pngHeader(file []byte) (depth, colour int, ok bool) {
	if len(file) < 26 || string(file[12:16]) != "IHDR" || binary.BigEndian.Uint32(file[8:]) != 13 {
		return 0, 0, false
	}
	return int(file[24]), int(file[25]), true
}
