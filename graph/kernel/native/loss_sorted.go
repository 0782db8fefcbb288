package native

import (
	"math"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Losses that order the pixels sort keys of 64 bits: a float32 in the upper
// half, the pixel in the lower one.

// uint64s views scratch memory as n uint64.
func (p *program) uint64s(at, n int) []uint64 {
	s := p.s[at : at+2*n]
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(s))), n)
}

// ascending maps a float32 to a number of the same order, -0 to that of 0, NaN to
// one behind all.
func ascending(v float32) uint32 {
	if v != v {
		return math.MaxUint32
	}
	b := math.Float32bits(v + 0)
	if b>>31 == 1 {
		return ^b
	}
	return b | 1<<31
}

// sortKeys sorts by the upper half and leaves equals in their order. It needs
// other for work and returns the one of the two that holds the result.
func sortKeys(keys, other []uint64) []uint64 {
	const digit = 11 // bits at a time
	for shift := 32; shift < 64; shift += digit {
		var start [1 << digit]int32
		for _, k := range keys {
			start[k>>shift&(1<<digit-1)]++
		}
		at := int32(0)
		for i, n := range start {
			start[i] = at
			at += n
		}
		for _, k := range keys {
			d := k >> shift & (1<<digit - 1)
			other[start[d]] = k
			start[d]++
		}
		keys, other = other, keys
	}
	return keys
}

// hardest sorts the labelled pixels by the probability of their label and hands
// the keys of those that are kept to done.
func hardest(p *program, d kernel.OHEM, done func(kept []uint64)) {
	pixels := d.Labels()
	at, work := p.reserve(2*pixels), p.reserve(2*pixels)
	below := ascending(float32(math.Log(float64(d.Threshold))))
	p.stage(1, func(int) {
		x, label := p.f[0], p.i[1]
		keys := p.uint64s(at, pixels)
		n, easy := 0, 0
		for i, k := range label {
			if k == d.Ignore {
				continue
			}
			v := ascending(x[i*d.C+int(k)])
			if v == math.MaxUint32 {
				v = 0 // NaN is hard: the loss must tell of it
			}
			if v >= below {
				easy++
			}
			keys[n] = uint64(v)<<32 | uint64(i)
			n++
		}
		sorted := sortKeys(keys[:n], p.uint64s(work, pixels)[:n])
		done(sorted[:min(n, max(n-easy, d.MinKept))])
	})
}

func ohem(p *program, d kernel.OHEM) {
	hardest(p, d, func(kept []uint64) {
		total := 0.0
		for _, key := range kept {
			i := int(uint32(key))
			total -= float64(p.f[0][i*d.C+int(p.i[1][i])])
		}
		p.f[2][0] = float32(mean(total, float64(len(kept))))
	})
}

func ohemBackward(p *program, d kernel.OHEM) {
	p.split(d.Labels()*d.C, grain, func(lo, hi int) { clear(p.f[3][lo:hi]) })
	hardest(p, d, func(kept []uint64) {
		for _, key := range kept {
			i := int(uint32(key))
			p.f[3][i*d.C+int(p.i[1][i])] = -p.f[2][0] / float32(len(kept))
		}
	})
}

// errorsOf lets one visit, for every class that occurs, the labelled pixels from
// the largest error down, with the slope of the Lovasz extension there. Classes
// are shared out among the threads.
func errorsOf(p *program, d kernel.Lovasz, one func(class, classes, pixel int, e, slope float64)) {
	pixels := d.Labels()
	parts := p.parts(d.C*pixels, grain)
	parts = min(parts, d.C)
	count := p.reserve(2 * d.C)
	keys, work := p.reserve(parts*2*pixels), p.reserve(parts*2*pixels)
	p.stage(1, func(int) {
		occurs := p.uint64s(count, d.C)
		clear(occurs)
		for _, k := range p.i[1] {
			if k != d.Ignore {
				occurs[k]++
			}
		}
	})
	p.stage(parts, func(part int) {
		occurs, x, label := p.uint64s(count, d.C), p.f[0], p.i[1]
		classes := 0
		for _, n := range occurs {
			if n > 0 {
				classes++
			}
		}
		mine := p.uint64s(keys+part*2*pixels, pixels)
		for c := part; c < d.C; c += parts {
			if occurs[c] == 0 {
				continue
			}
			n := 0
			for i, k := range label {
				if k == d.Ignore {
					continue
				}
				e := float32(math.Exp(float64(x[i*d.C+c])))
				if int(k) == c {
					e = float32(missing(float64(x[i*d.C+c])))
				}
				mine[n] = uint64(^ascending(e))<<32 | uint64(i)
				n++
			}
			all := float64(occurs[c])
			hit, miss, before := 0.0, 0.0, 0.0
			for _, key := range sortKeys(mine[:n], p.uint64s(work+part*2*pixels, pixels)[:n]) {
				i := int(uint32(key))
				e := float64(math.Float32frombits(^uint32(key>>32) &^ (1 << 31)))
				if int(label[i]) == c {
					hit++
				} else {
					miss++
				}
				after := 1 - (all-hit)/(all+miss)
				one(c, classes, i, e, after-before)
				before = after
			}
		}
	})
}

func lovasz(p *program, d kernel.Lovasz) {
	at := p.reserve(2 * d.C)
	p.stage(1, func(int) { clear(p.float64s(at, d.C)) })
	errorsOf(p, d, func(class, classes, _ int, e, slope float64) {
		p.float64s(at, d.C)[class] += e * slope / float64(classes)
	})
	p.stage(1, func(int) {
		total := 0.0
		for _, v := range p.float64s(at, d.C) {
			total += v
		}
		p.f[2][0] = float32(total)
	})
}

func lovaszBackward(p *program, d kernel.Lovasz) {
	p.split(d.Labels()*d.C, grain, func(lo, hi int) { clear(p.f[3][lo:hi]) })
	errorsOf(p, d, func(class, classes, pixel int, _, slope float64) {
		at := pixel*d.C + class
		if int(p.i[1][pixel]) == class {
			slope = -slope
		}
		p.f[3][at] = float32(float64(p.f[2][0]) * slope / float64(classes) * math.Exp(float64(p.f[0][at])))
	})
}
