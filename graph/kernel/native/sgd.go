package native

import "github.com/graft-onnx/graft/graph/kernel"

func sgd(p *program, d kernel.SGD) {
	p.splitAligned(d.Len, grain, 16, func(lo, hi int) {
		hyper := p.f[0]
		p.isa.sgd(p.f[2][lo:hi], p.f[3][lo:hi], p.f[1][lo:hi], hyper[0], hyper[1], hyper[2])
	})
}
