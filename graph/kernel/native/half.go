package native

import (
	"math"
	"unsafe"
)

// Numbers of type bfloat16 are the upper halves of float32, held as uint16.
// The dense kernels multiply them in pairs: two neighbours along the summed
// axis share a word of 32 bits, the first in its lower half. Words travel as
// float32, whose value means nothing then.

// inHalf reports whether kernels read and write argument i as bfloat16: it is
// not widened before them.
func (p *program) inHalf(i int) bool { return p.isHalf(i) && p.wide[i] < 0 }

// words views neighbouring pairs as words; a last odd number is left out.
func words(h []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}

// halves views words as the pairs that they hold.
func halves(w []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(w))), 2*len(w))
}

// vecWiden computes dst = x.
func vecWiden(dst []float32, x []uint16) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
}

// vecNarrow computes dst = x, rounded to nearest, ties to even; NaN stays NaN.
func vecNarrow(dst []uint16, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		b := math.Float32bits(v)
		if v != v {
			dst[i] = uint16(b>>16 | 0x40) // quiet, so that some bit is left
			continue
		}
		dst[i] = uint16((b + 0x7fff + b>>16&1) >> 16)
	}
}
