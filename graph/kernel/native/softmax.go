package native

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

func softmax(p *program, d kernel.Softmax) {
	if d.Axis == 0 {
		return
	}
	p.split(d.Outer*d.Inner, grain/8/d.Axis+1, func(lo, hi int) {
		x, y := p.f[0], p.f[1]
		for i := lo; i < hi; i++ {
			at := i/d.Inner*d.Axis*d.Inner + i%d.Inner
			softmaxRow(y[at:], x[at:], d.Axis, d.Inner, d.Log)
		}
	})
}

// softmaxRow works on n elements, stride apart.
func softmaxRow(y, x []float32, n, stride int, log bool) {
	top := float32(math.Inf(-1))
	for i := range n {
		top = max(top, x[i*stride]) // NaN if any is
	}
	if math.IsInf(float64(top), -1) {
		top = 0 // every element is -Inf: let the 0/0 below say NaN
	}
	sum := 0.0
	for i := range n {
		e := math.Exp(float64(x[i*stride] - top))
		sum += e
		if !log {
			y[i*stride] = float32(e)
		}
	}
	if log {
		s := float32(math.Log(sum))
		for i := range n {
			y[i*stride] = x[i*stride] - top - s
		}
		return
	}
	f := float32(1 / sum)
	for i := range n {
		y[i*stride] *= f
	}
}

func softmaxBackward(p *program, d kernel.SoftmaxBackward) {
	p.split(d.Outer*d.Inner, grain/8/max(d.Axis, 1)+1, func(lo, hi int) {
		y, dy, dx := p.f[0], p.f[1], p.f[2]
		for i := lo; i < hi; i++ {
			at := i/d.Inner*d.Axis*d.Inner + i%d.Inner
			softmaxBackwardRow(dx[at:], dy[at:], y[at:], d.Axis, d.Inner, d.Log)
		}
	})
}

// softmaxBackwardRow computes dx = y*(dy - sum(dy*y)), and for the logarithm
// dx = dy - exp(y)*sum(dy).
func softmaxBackwardRow(dx, dy, y []float32, n, stride int, log bool) {
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
		if !log {
			dx[k] = y[k] * (dy[k] - s)
		} else if s == 0 {
			dx[k] = dy[k] // spares the exponentials of unlabelled pixels
		} else {
			dx[k] = dy[k] - float32(math.Exp(float64(y[k])))*s
		}
	}
}
