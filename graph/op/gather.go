// Gather: https://onnx.ai/onnx/operators/onnx__Gather.html (opsets 1, 11, 13);
// the indices have to be constant.

package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
)

func init() { register("Gather", buildGather) }

// Take selects along one axis: y[.., j, ..] = x[.., Index[j], ..].
type Take struct {
	Axis  int
	Index []int
}

// Name implements Spec.
func (Take) Name() string { return "Gather" }

// DiffWRT implements Spec.
func (Take) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (t Take) Lower(b *Block) error {
	outer, n, inner := around(b.InShape(0), t.Axis)
	b.Call(kernel.Take{Outer: outer, Axis: n, Inner: inner, Index: t.Index}, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec.
func (t Take) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := apply(TakeGrad(t), shapeOf(in[0]), grad)
	return gorgonia.Nodes{dx}, err
}

// TakeGrad is the gradient of Take: every element goes back where it came from.
type TakeGrad Take

// Name implements Spec.
func (TakeGrad) Name() string { return "Gather.dx" }

// DiffWRT implements Spec.
func (TakeGrad) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (t TakeGrad) Lower(b *Block) error {
	outer, n, inner := around(b.OutShape(), t.Axis)
	b.Call(kernel.TakeBackward{Outer: outer, Axis: n, Inner: inner, Index: t.Index}, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec.
func (t TakeGrad) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := take(grad, t.Axis, t.Index)
	return gorgonia.Nodes{dx}, err
}

// take selects along one axis.
func take(x *Node, axis int, index []int) (*Node, error) {
	shape := shapeOf(x)
	shape[axis] = len(index)
	return apply(Take{axis, index}, shape, x)
}

func buildGather(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	axis, err := attrInt(s, "axis", 0)
	if err != nil {
		return nil, err
	}
	shape := shapeOf(x)
	if axis, err = axisOf(axis, len(shape)); err != nil {
		return nil, err
	}
	given, err := s.ints(1)
	if err != nil {
		return nil, err
	}
	index := slices.Clone(given)
	for i, k := range index {
		if index[i], err = axisOf(k, shape[axis]); err != nil {
			return nil, fmt.Errorf("index %d is out of range for %d elements", k, shape[axis])
		}
	}
	y, err := take(x, axis, index)
	if err != nil {
		return nil, err
	}
	return one(reshape(y, slices.Concat(shape[:axis], onnx.Dims(s.Inputs[1].Const), shape[axis+1:])))
}
