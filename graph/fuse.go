package graph

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// sumThroughMask has one pass over memory do what the gradient of a batch
// normalisation behind a residual sum begins with: the gradient in front of the
// activation, which the shortcut wants too, and its sums over the batch. An
// operator has one result, so it takes a list of operations to say that.
func (c *compiler) sumThroughMask() {
	var ops []*operation
	for _, o := range c.ops {
		if last := len(ops) - 1; last >= 0 {
			if both := throughMask(ops[last], o); both != nil {
				ops[last] = both
				continue
			}
		}
		ops = append(ops, o)
	}
	c.ops = ops
}

// throughMask returns an operation that does what two do, nil if they are not
// the gradient of a bounding activation and the sums of that.
func throughMask(mask, sums *operation) *operation {
	m, masks := sole[kernel.UnaryBackward](mask)
	d, adds := sole[kernel.BatchNormReduce](sums)
	if !masks || !adds || d.Act.On || sums.in[1] != mask.out {
		return nil
	}
	switch m.Op {
	case kernel.Relu:
		d.Act = kernel.Clip{On: true, Hi: float32(math.Inf(1))}
	case kernel.Clamp:
		d.Act = kernel.Clip{On: true, Lo: m.Alpha, Hi: m.Beta}
	default:
		return nil
	}
	d.Residual = true
	x, stats, y, dy := sums.in[0], sums.in[2], mask.in[1], mask.in[2]
	b := op.NewBlock(nil, nil)
	b.Call(d, b.In(0), b.In(1), b.In(2), b.In(3), b.Beside(), b.Out())
	b.MayClobber(1)
	return &operation{
		name: sums.name, label: sums.label, block: b,
		in: []*value{x, dy, y, stats}, out: mask.out, beside: sums.out,
	}
}

// sole returns the kernel call that an operation consists of, if it is one of a
// kind and the only one.
func sole[D kernel.Desc](o *operation) (d D, ok bool) {
	if len(o.block.Calls) == 1 {
		d, ok = o.block.Calls[0].Desc.(D)
	}
	return d, ok
}
