package native

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

func sgd(p *program, d kernel.SGD) {
	p.splitAligned(d.Len, grain, 16, func(lo, hi int) {
		hyper := p.f[0]
		update := p.isa.sgd
		if d.Nesterov {
			update = vecNesterov
		}
		update(p.f[2][lo:hi], p.f[3][lo:hi], p.f[1][lo:hi], hyper[0], hyper[1], hyper[2])
	})
}

// vecNesterov is vecSGD with the look ahead.
func vecNesterov(param, velocity, grad []float32, rate, momentum, decay float32) {
	velocity, grad = velocity[:len(param)], grad[:len(param)]
	for i, w := range param {
		g := grad[i] + decay*w
		v := momentum*velocity[i] + g
		velocity[i] = v
		param[i] = w - rate*(g+momentum*v)
	}
}

func adamW(p *program, d kernel.AdamW) {
	p.splitAligned(d.Len, grain/4, 16, func(lo, hi int) {
		h := p.f[0]
		keep, rate, beta1, less1, beta2, less2, root, eps := h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
		grad, param, m, v := p.f[1][lo:hi], p.f[2][lo:hi], p.f[3][lo:hi], p.f[4][lo:hi]
		for i, g := range grad {
			first := beta1*m[i] + less1*g
			second := beta2*v[i] + less2*g*g
			m[i], v[i] = first, second
			param[i] = keep*param[i] - rate*first/(float32(math.Sqrt(float64(second)))/root+eps)
		}
	})
}

func average(p *program, d kernel.Average) {
	p.splitAligned(d.Len, grain, 16, func(lo, hi int) {
		share, value, mean := p.f[0][0], p.f[1][lo:hi], p.f[2][lo:hi]
		for i, v := range value {
			mean[i] += share * (v - mean[i])
		}
	})
}
