package data

import "math"

// Pillow's convolution resampling, from its documented behaviour: a triangle
// of half-width max(1, in/out) around each output pixel's centre, weights
// normalised to sum 1, rounded to 22 fractional bits; a horizontal pass into
// bytes, then a vertical one.
const (
	weightBits = 22
	weightHalf = 1 << (weightBits - 1)
)

// taps are the weights of one axis.
type taps struct {
	in, out int
	first   []int32 // first input index of each output
	count   []int32
	size    int     // weights reserved per output
	weight  []int32 // (out,size)
}

func (t *taps) prepare(in, out int) {
	if t.in == in && t.out == out {
		return
	}
	t.in, t.out = in, out
	scale := float64(in) / float64(out)
	width := math.Max(scale, 1)
	t.size = int(math.Ceil(width))*2 + 1
	t.first = grow(t.first, out)
	t.count = grow(t.count, out)
	t.weight = grow(t.weight, out*t.size)
	w := make([]float64, t.size)
	inv := 1 / width
	for o := range out {
		center := (float64(o) + 0.5) * scale
		first := max(0, int(center-width+0.5))
		last := min(in, int(center+width+0.5))
		n := last - first
		sum := 0.0
		for i := range n {
			w[i] = math.Max(0, 1-math.Abs((float64(i+first)-center+0.5)*inv))
			sum += w[i]
		}
		t.first[o], t.count[o] = int32(first), int32(n)
		for i := range n {
			v := w[i]
			if sum != 0 {
				v /= sum
			}
			t.weight[o*t.size+i] = int32(0.5 + v*(1<<weightBits))
		}
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// resizer holds the scratch of bilinear resizing; one per goroutine.
type resizer struct {
	horizontal, vertical taps
	rows                 []uint8
	sum                  []int32
}

// rgb resizes packed RGB from (sh,sw) to (dh,dw), returning dst grown as
// needed. dst and src must not overlap. At equal sizes it copies.
func (r *resizer) rgb(dst, src []uint8, sw, sh, dw, dh int) []uint8 {
	dst = grow(dst, 3*dw*dh)
	if sw == dw && sh == dh {
		copy(dst, src[:len(dst)])
		return dst
	}
	across := src
	if sw != dw {
		r.horizontal.prepare(sw, dw)
		across = dst
		if sh != dh {
			r.rows = grow(r.rows, 3*dw*sh)
			across = r.rows
		}
		for y := range sh {
			r.row(across[3*y*dw:3*(y+1)*dw], src[3*y*sw:3*(y+1)*sw])
		}
	}
	if sh != dh {
		r.vertical.prepare(sh, dh)
		for y := range dh {
			r.column(dst[3*y*dw:3*(y+1)*dw], across, 3*dw, y)
		}
	}
	return dst
}

func (r *resizer) row(dst, src []uint8) {
	t := &r.horizontal
	for o := range t.out {
		s := src[3*t.first[o]:]
		var red, green, blue int32 = weightHalf, weightHalf, weightHalf
		for i, w := range t.weight[o*t.size : o*t.size+int(t.count[o])] {
			px := s[3*i : 3*i+3 : 3*i+3]
			red += int32(px[0]) * w
			green += int32(px[1]) * w
			blue += int32(px[2]) * w
		}
		d := dst[3*o : 3*o+3 : 3*o+3]
		d[0], d[1], d[2] = toByte(red), toByte(green), toByte(blue)
	}
}

func (r *resizer) column(dst, src []uint8, stride, o int) {
	t := &r.vertical
	r.sum = grow(r.sum, stride)
	sum := r.sum
	for i := range sum {
		sum[i] = weightHalf
	}
	for i, w := range t.weight[o*t.size : o*t.size+int(t.count[o])] {
		start := (int(t.first[o]) + i) * stride
		for j, v := range src[start : start+stride] {
			sum[j] += int32(v) * w
		}
	}
	for i, v := range sum {
		dst[i] = toByte(v)
	}
}

// toByte clamps: rounded weights may sum to a trifle over 1. The sum cannot
// leave int32: at most 255 * (1 + 2^-22 per tap) * 2^22 < 2^31.
func toByte(v int32) uint8 {
	return uint8(min(max(v>>weightBits, 0), 255))
}

// nearestIndex fills dst, one entry per output pixel, with the input index
// Pillow's nearest neighbour takes: the position is accumulated in float64,
// which decides ties.
func nearestIndex(dst []int32, in, out int) []int32 {
	dst = grow(dst, out)
	step := float64(in) / float64(out)
	at := step * 0.5
	for i := range dst {
		dst[i] = int32(min(int(at), in-1))
		at += step
	}
	return dst
}
