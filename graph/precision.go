package graph

import (
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// storeHalf stores activations and their gradients as bfloat16: maps (rank 4,
// larger than one pixel) that depend on a data input. In float32 stay what is
// read after the run, parameters and their gradients, statistics, and the side
// of the loss: log-probabilities and their gradients.
func (c *compiler) storeHalf() {
	activation := map[*value]bool{}
	for _, l := range c.leaves {
		if v := c.values[l.node.ID()]; v != nil && l.input != "" {
			activation[v] = true
		}
	}
	full := map[*value]bool{}
	for _, node := range c.nodes {
		v := c.values[node.ID()]
		if len(c.grads[node.ID()]) > 0 || len(c.updates[node.ID()]) > 0 || v.keep {
			full[v.root()] = true
		}
	}
	var maps []*value
	for _, node := range c.nodes {
		if node.Op() == nil {
			continue
		}
		v := c.values[node.ID()]
		o := node.Op().(*op.Op)
		if _, ok := o.Spec.(op.ConvFilter); ok {
			continue // sums over the batch
		}
		for _, child := range op.Operands(node) {
			activation[v] = activation[v] || activation[c.values[child.ID()]]
		}
		s := node.Shape()
		if activation[v] && v.alias == nil && len(s) == 4 && s[2]*s[3] > 1 && !isProbability(o.Spec) {
			maps = append(maps, v)
		}
	}
	for _, v := range maps {
		if !full[v] {
			v.half = true
			v.size /= 2
		}
	}
}

// isProbability reports whether an operator makes probabilities, their
// logarithms or the gradient of a loss by them.
func isProbability(s op.Spec) bool {
	switch s.(type) {
	case op.Softmax, op.NLLGrad, op.PixelLossGrad:
		return true
	}
	return false
}

// mix returns the description for arguments some of which are bfloat16.
func mix(d kernel.Desc, args []arg) kernel.Desc {
	if !slices.ContainsFunc(args, func(a arg) bool { return a.half }) {
		return d
	}
	if c, ok := d.(kernel.Copy); ok && args[0].half && args[1].half {
		c.DType = kernel.BFloat16
		return c
	}
	m := kernel.Mixed{Desc: d}
	for i, a := range d.Args() {
		if args[i].half {
			a.DType = kernel.BFloat16
		}
		m.DTypes = append(m.DTypes, a.DType)
	}
	return m
}
