package native

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// mix64 is the output function of the SplitMix64 generator (Steele, Lea and
// Flood, 2014).
func mix64(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// golden is SplitMix64's increment: 2^64 over the golden ratio.
const golden = 0x9e3779b97f4a7c15

// dropoutKey turns what a mask depends on into the state that the element
// index is added to.
func dropoutKey(seed, step, stream uint64) uint64 {
	key := mix64(seed + golden)
	key = mix64(key + step + golden)
	return mix64(key + stream + golden)
}

func dropout(p *program, d kernel.Dropout) {
	// Physical rows of c elements whose logical indices lie jump apart.
	rows, c, jump := kernel.Len(d.Shape), 1, 1
	plane, pixels := 1, 1 // elements that share a mask bit; rows of an image
	if len(d.Shape) >= 2 {
		plane = kernel.Len(d.Shape[2:])
	}
	if len(d.Shape) == 4 {
		c, jump, pixels = d.Shape[1], plane, plane
		if c > 0 {
			rows /= c
		}
	}
	scale := float32(0)
	if d.Ratio < 1 {
		scale = 1 / (1 - d.Ratio)
	}
	// An element is kept where the upper half of its random word is at least
	// this; 2^32 keeps none.
	limit := uint64(float64(d.Ratio) * (1 << 32))
	p.split(rows, grain/4/max(c, 1)+1, func(lo, hi int) {
		rng := p.u[1]
		key := dropoutKey(rng[0], rng[1], d.Stream) + golden
		for r := lo; r < hi; r++ {
			index := r/pixels*pixels*c + r%pixels
			step := uint64(jump) * golden
			if d.Channel {
				index /= plane
				step = golden
			}
			z, at, end := key+uint64(index)*golden, r*c, (r+1)*c
			if p.inHalf(0) {
				p.isa.half.dropout(p.h[2][at:end], p.h[0][at:end], z, step, limit, scale)
			} else {
				p.isa.dropout(p.f[2][at:end], p.f[0][at:end], z, step, limit, scale)
			}
		}
	})
}

// vecDropout computes y = scale*x where the word of state z + i*step has at
// least limit in its upper half, else 0.
func vecDropout(y, x []float32, z, step, limit uint64, scale float32) {
	y = y[:len(x)]
	for i, v := range x {
		// All ones where the element is kept: a branch would be guessed
		// wrong half the time.
		kept := uint32((int64(limit) - 1 - int64(mix64(z)>>32)) >> 63)
		y[i] = math.Float32frombits(math.Float32bits(v*scale) & kept)
		z += step
	}
}
