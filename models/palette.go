package models

import "image/color"

// Colour returns the i-th of 2^24 distinct colours, i from 0. The three lowest
// bits of the index become the top bits of red, green and blue, the next three
// the bits below, and so on: neighbouring indices get strongly different
// colours, the first is black, and the colour of an index does not depend on
// how many there are. (PASCAL VOC colours its label pictures by the same rule.)
func Colour(i int) color.RGBA {
	var r, g, b uint8
	for rest, bit := uint32(i)&0xFFFFFF, 7; rest != 0; rest, bit = rest>>3, bit-1 {
		r |= uint8(rest&1) << bit
		g |= uint8(rest>>1&1) << bit
		b |= uint8(rest>>2&1) << bit
	}
	return color.RGBA{R: r, G: g, B: b, A: 0xFF}
}
