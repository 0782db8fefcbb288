package native

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

func softmax(p *program, d kernel.Softmax) {
	if d.Inner == 1 {
		p.rows(d.Outer, d.Axis, grain/8, func(_ int, f [][]float32) { p.isa.softmax(f[1], f[0], d.Axis, d.Log) })
		return
	}
	p.columns(d, func(at int) { softmaxColumn(p.f[1][at:], p.f[0][at:], d.Axis, d.Inner, d.Log) })
}

// columns appends a step that works on what lies along the axis, Inner apart;
// body is given the first element's place.
func (p *program) columns(d kernel.Softmax, body func(at int)) {
	if d.Axis == 0 {
		return
	}
	p.split(d.Outer*d.Inner, grain/8/d.Axis+1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			body(i/d.Inner*d.Axis*d.Inner + i%d.Inner)
		}
	})
}

// vecSoftmax is the softmax of rows of c elements, or its logarithm.
func vecSoftmax(y, x []float32, c int, log bool) {
	for ; len(y) > 0; y, x = y[c:], x[c:] {
		softmaxColumn(y, x, c, 1, log)
	}
}

// softmaxColumn works on n elements, stride apart. Their maximum keeps
// exponentials in range. It may pass over a NaN, which the sum of exponentials
// brings back, and is -Inf of nothing else: then their difference says NaN.
func softmaxColumn(y, x []float32, n, stride int, log bool) {
	t := float32(math.Inf(-1))
	for i := range n {
		if v := x[i*stride]; v > t {
			t = v
		}
	}
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
	if d.Inner == 1 {
		p.rows(d.Outer, d.Axis, grain/8, func(_ int, f [][]float32) {
			y, dy, dx := f[0], f[1], f[2]
			for at := 0; at < len(dx); at += d.Axis {
				if end := at + d.Axis; d.Log {
					logSoftmaxBackwardRow(p.isa, dx[at:end], dy[at:end], y[at:end])
				} else {
					softmaxBackwardColumn(dx[at:], dy[at:], y[at:], d.Axis, 1, false)
				}
			}
		})
		return
	}
	p.columns(d.Softmax, func(at int) {
		softmaxBackwardColumn(p.f[2][at:], p.f[1][at:], p.f[0][at:], d.Axis, d.Inner, d.Log)
	})
}

// logSoftmaxBackwardRow computes dx = dy - exp(y)*sum(dy).
func logSoftmaxBackwardRow(v *isa, dx, dy, y []float32) {
	s := float32(v.sum(dy))
	copy(dx, dy)
	if s != 0 { // spares the exponentials of unlabelled pixels
		v.expAxpy(dx, y, -s)
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
