package native

import "github.com/graft-onnx/graft/graph/kernel"

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
	n, c, plane := 1, 1, kernel.Len(d.Shape)
	if len(d.Shape) >= 2 {
		n, c = d.Shape[0], d.Shape[1]
		plane = kernel.Len(d.Shape[2:])
	}
	scale := float32(0)
	if d.Ratio < 1 {
		scale = 1 / (1 - d.Ratio)
	}
	// An element is kept where the upper half of its random word is at least
	// this; 2^32 keeps none.
	limit := uint64(float64(d.Ratio) * (1 << 32))
	keep := func(key uint64, i int) bool {
		return mix64(key+uint64(i+1)*golden)>>32 >= limit
	}
	last := len(d.Shape) == 4 // channels-last: row (n,p), column c
	p.splitAligned(n*c*plane, grain/4, 16, func(lo, hi int) {
		x, rng, y := p.f[0], p.u[1], p.f[2]
		key := dropoutKey(rng[0], rng[1], d.Stream)
		for i := lo; i < hi; i++ {
			index := i // logical
			if last {
				row, k := i/c, i%c
				index = (row/plane*c+k)*plane + row%plane
			}
			if d.Channel {
				index /= plane
			}
			if keep(key, index) {
				y[i] = x[i] * scale
			} else {
				y[i] = 0
			}
		}
	})
}
