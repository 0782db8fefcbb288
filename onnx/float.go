package onnx

import (
	"math"
	"math/bits"
)

// Float16 rounds to half precision, to nearest and ties to even; values past
// the range become infinite.
func Float16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN: keep the upper payload, stay NaN
		return sign | 0x7e00 | uint16(abs>>13)&0x3ff
	case abs >= 0x47800000: // 65536 and more, infinity
		return sign | 0x7c00
	case abs >= 0x38800000: // normal: rebias the exponent from 127 to 15
		r := abs - 112<<23
		return sign | uint16((r+0xfff+(r>>13&1))>>13)
	case abs < 0x33000000: // below half of the smallest subnormal
		return sign
	}
	shift := 126 - abs>>23 // the 24-bit significand in units of 2^-24
	m := abs&0x7fffff | 0x800000
	half, rest := m>>shift, m&(1<<shift-1)
	if mid := uint32(1) << (shift - 1); rest > mid || rest == mid && half&1 == 1 {
		half++
	}
	return sign | uint16(half)
}

// FromFloat16 widens half precision; it is exact.
func FromFloat16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, man := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
	case man == 0:
		return math.Float32frombits(sign)
	}
	lz := uint32(bits.LeadingZeros32(man)) - 21 // places up to the implicit bit
	return math.Float32frombits(sign | (113-lz)<<23 | (man<<lz&0x3ff)<<13)
}

// BFloat16 rounds to bfloat16, to nearest and ties to even.
func BFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b >> 16 & 1)) >> 16)
}

// FromBFloat16 widens bfloat16; it is exact.
func FromBFloat16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
