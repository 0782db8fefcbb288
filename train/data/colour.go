package data

import (
	"image"
	"image/color"
)

// straight returns a colour's channels without its alpha.
func straight(c color.Color) [3]uint8 {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return [3]uint8{n.R, n.G, n.B}
}

// ycbcrToRGB converts chroma-subsampled pictures. Chroma at half resolution
// is interpolated with the weights 3/4 and 1/4 that libjpeg and libwebp, and
// so Pillow, use; repeating it, as image/color would have it, is off by tens
// of grey levels along coloured edges.
func ycbcrToRGB(p *Picture, m *image.YCbCr, format string) {
	w, h := p.Width, p.Height
	convert := jpegRGB
	if format == "webp" {
		convert = webpRGB
	}
	cb, cr := make([]uint8, w+2), make([]uint8, w+2)
	up := chroma{m: m, w: w, h: h, webp: format == "webp"}
	for y := range h {
		up.row(cb, m.Cb, y)
		up.row(cr, m.Cr, y)
		luma := m.Y[(y+m.Rect.Min.Y)*m.YStride:]
		out := p.Pix[3*y*w : 3*(y+1)*w]
		for x := range w {
			r, g, b := convert(int32(luma[x]), int32(cb[x]), int32(cr[x]))
			out[3*x], out[3*x+1], out[3*x+2] = r, g, b
		}
	}
}

// jpegRGB is JFIF's full-range conversion in libjpeg's 16-bit fixed point.
func jpegRGB(y, cb, cr int32) (r, g, b uint8) {
	cb, cr = cb-128, cr-128
	return clamp(y + (91881*cr+32768)>>16),
		clamp(y + (-22554*cb-46802*cr+32768)>>16),
		clamp(y + (116130*cb+32768)>>16)
}

// webpRGB is BT.601's studio range (16..235), which VP8 uses, in libwebp's
// fixed point.
func webpRGB(y, u, v int32) (r, g, b uint8) {
	y = (y * 19077) >> 8
	return clamp((y + (v*26149)>>8 - 14234) >> 6),
		clamp((y - (u*6419)>>8 - (v*13320)>>8 + 8708) >> 6),
		clamp((y + (u*33050)>>8 - 17685) >> 6)
}

func clamp(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// chroma brings one chroma plane to full resolution, row by row.
type chroma struct {
	m    *image.YCbCr
	w, h int
	webp bool
	sum  []int32
}

func (c *chroma) row(dst, plane []uint8, y int) {
	m := c.m
	y += m.Rect.Min.Y
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		in := plane[y*m.CStride:]
		c.sum = grow(c.sum, (c.w+1)/2)
		for i := range c.sum {
			c.sum[i] = int32(in[i])
		}
		widen(dst[:c.w], c.sum, 1, 2, 2)
	case image.YCbCrSubsampleRatio420:
		// The nearer row counts three times the farther one.
		cw, ch := (c.w+1)/2, (c.h+1)/2
		near := y / 2
		far := near - 1
		if y%2 == 1 {
			far = near + 1
		}
		far = min(max(far, 0), ch-1)
		a, b := plane[near*m.CStride:], plane[far*m.CStride:]
		c.sum = grow(c.sum, cw)
		for i := range c.sum {
			c.sum[i] = 3*int32(a[i]) + int32(b[i])
		}
		if c.webp {
			widen(dst[:c.w], c.sum, 8, 8, 4)
		} else {
			widen(dst[:c.w], c.sum, 8, 7, 4)
		}
	case image.YCbCrSubsampleRatio444:
		copy(dst[:c.w], plane[y*m.CStride:])
	default: // 4:4:0, 4:1:1, 4:1:0: repeated
		for x := range c.w {
			dst[x] = plane[m.COffset(x+m.Rect.Min.X, y)]
		}
	}
}

// widen doubles a row: output 2i leans to input i-1, output 2i+1 to i+1, with
// weights 3 and 1. bits is the total weight's shift; even and odd are the
// rounding terms, which libjpeg alternates.
func widen(dst []uint8, in []int32, even, odd int32, bits uint) {
	n := len(in)
	for x := range dst {
		i := x / 2
		v := 3 * in[i]
		if x%2 == 0 {
			dst[x] = uint8((v + in[max(i-1, 0)] + even) >> bits)
		} else {
			dst[x] = uint8((v + in[min(i+1, n-1)] + odd) >> bits)
		}
	}
}
