package graph

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// readers counts how often each node is read by the others; what is read after
// the run counts once more.
func (c *compiler) readers() map[int64]int {
	n := map[int64]int{}
	for _, node := range c.nodes {
		for _, child := range children(c.graph, node) {
			n[child.ID()]++
		}
	}
	for _, node := range c.kept() {
		n[node.ID()]++
	}
	for id := range c.grads {
		n[id]++
	}
	for id := range c.updates {
		n[id]++
	}
	return n
}

// fuse lets the kernel that makes the operand of a Relu or Clip apply it on the
// way out and reports whether it does; the activation is then another name for
// its operand, which nobody else may read. The gradients of both read the
// result, not the operand, so that holds in training as well.
func fuse(activation op.Unary, producer *op.Block) bool {
	var act kernel.Clip
	switch activation.Op {
	case kernel.Relu:
		act = kernel.Clip{On: true, Lo: 0, Hi: float32(math.Inf(1))}
	case kernel.Clamp:
		act = kernel.Clip{On: true, Lo: activation.Alpha, Hi: activation.Beta}
	default:
		return false
	}
	if len(producer.Calls) == 0 {
		return false
	}
	last := &producer.Calls[len(producer.Calls)-1]
	if last.Args[len(last.Args)-1] != producer.Out() {
		return false
	}
	switch d := last.Desc.(type) {
	case kernel.BatchNorm:
		if d.Act.On {
			return false
		}
		d.Act = act
		last.Desc = d
	case kernel.Conv:
		if d.Act.On {
			return false
		}
		d.Act = act
		last.Desc = d
	default:
		return false
	}
	return true
}
