package native

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

func softmax(p *program, d kernel.Softmax) {
	if d.Axis == 0 {
		return
	}
	p.softmaxRows(d, func(lo, hi int, tmp []float32) {
		x, y := p.f[0], p.f[1]
		for i := lo; i < hi; i++ {
			at := i/d.Inner*d.Axis*d.Inner + i%d.Inner
			if d.Inner == 1 {
				softmaxRow(p.isa, y[at:at+d.Axis], x[at:at+d.Axis], tmp, d.Log)
			} else {
				softmaxColumn(y[at:], x[at:], d.Axis, d.Inner, d.Log)
			}
		}
	})
}

// softmaxRows is split with scratch for one row in every share.
func (p *program) softmaxRows(d kernel.Softmax, body func(lo, hi int, tmp []float32)) {
	rows := d.Outer * d.Inner
	if rows == 0 {
		return
	}
	parts := p.parts(rows*d.Axis, grain/8)
	width := (d.Axis + 15) / 16 * 16
	at := p.reserve(parts * width)
	p.stage(parts, func(part int) {
		if lo, hi := span(rows, part, parts, 1); lo < hi {
			body(lo, hi, p.s[at+part*width:at+part*width+d.Axis])
		}
	})
}

// shiftOf is the largest element, which keeps exponentials in range, or 0 if
// that is -Inf: then 0/0 below says NaN. It may pass over a NaN, which the sum of
// exponentials brings back.
func shiftOf(largest float32) float32 {
	if math.IsInf(float64(largest), -1) {
		return 0
	}
	return largest
}

func softmaxRow(v *isa, y, x, tmp []float32, log bool) {
	t := shiftOf(v.largest(x))
	v.exp(tmp, x, t)
	sum := v.sum(tmp)
	if log {
		// Two steps: t alone cancels most of x without rounding.
		v.affine(y, x, 1, -t)
		v.affine(y, y, 1, float32(-math.Log(sum)))
		return
	}
	v.scale(y, tmp, float32(1/sum))
}

// softmaxColumn works on n elements, stride apart.
func softmaxColumn(y, x []float32, n, stride int, log bool) {
	t := float32(math.Inf(-1))
	for i := range n {
		if v := x[i*stride]; v > t {
			t = v
		}
	}
	t = shiftOf(t)
	sum := 0.0
	for i := range n {
		e := math.Exp(float64(x[i*stride] - t))
		sum += e
		if !log {
			y[i*stride] = float32(e)
		}
	}
	if log {
		s := float32(math.Log(sum))
		for i := range n {
			y[i*stride] = x[i*stride] - t - s
		}
		return
	}
	f := float32(1 / sum)
	for i := range n {
		y[i*stride] *= f
	}
}

func softmaxBackward(p *program, d kernel.SoftmaxBackward) {
	p.softmaxRows(d.Softmax, func(lo, hi int, tmp []float32) {
		y, dy, dx := p.f[0], p.f[1], p.f[2]
		for i := lo; i < hi; i++ {
			at := i/d.Inner*d.Axis*d.Inner + i%d.Inner
			if end := at + d.Axis; d.Inner == 1 && d.Log {
				logSoftmaxBackwardRow(p.isa, dx[at:end], dy[at:end], y[at:end], tmp)
			} else {
				softmaxBackwardColumn(dx[at:], dy[at:], y[at:], d.Axis, d.Inner, d.Log)
			}
		}
	})
}

// logSoftmaxBackwardRow computes dx = dy - exp(y)*sum(dy).
func logSoftmaxBackwardRow(v *isa, dx, dy, y, tmp []float32) {
	s := float32(v.sum(dy))
	copy(dx, dy)
	if s != 0 { // spares the exponentials of unlabelled pixels
		v.exp(tmp, y, 0)
		v.axpy(dx, tmp, -s)
	}
}

// softmaxBackwardColumn computes dx = y*(dy - sum(dy*y)), and for the
// logarithm dx = dy - exp(y)*sum(dy), on n elements, stride apart.
func softmaxBackwardColumn(dx, dy, y []float32, n, stride int, log bool) {
	sum := 0.0
	for i := range n {
		g := float64(dy[i*stride])
		if !log {
			g *= float64(y[i*stride])
		}
		sum += g
	}
	s := float32(sum)
	for i := range n {
		k := i * stride
		if log {
			dx[k] = dy[k] - float32(math.Exp(float64(y[k])))*s
		} else {
			dx[k] = y[k] * (dy[k] - s)
		}
	}
}
