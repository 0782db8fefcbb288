package graph

import "github.com/graft-onnx/graft/graph/kernel"

// filtersFirst moves the gradient of a convolution's filter before that of its
// input where the forward input has no later reader and is no smaller than the
// filter: its buffer is free then for the gradient of the same size.
func (c *compiler) filtersFirst() {
	last := map[*value]int{}
	for i, o := range c.ops {
		for _, v := range o.in {
			last[v.origin()] = i
		}
	}
	for i := range len(c.ops) - 1 {
		dx, dw := c.ops[i], c.ops[i+1]
		_, data := sole[kernel.ConvBackwardData](dx)
		_, filter := sole[kernel.ConvBackwardFilter](dw)
		if !data || !filter || dx.in[0].origin() != dw.in[1].origin() {
			continue
		}
		if x := dw.in[0].origin(); last[x] == i+1 && !x.keep && x.static == nil && x.size >= dw.out.size {
			c.ops[i], c.ops[i+1] = dw, dx
		}
	}
}
