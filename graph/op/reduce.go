// ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceSumSquare, ReduceL1,
// ReduceL2, ReduceLogSum, ReduceLogSumExp:
// https://onnx.ai/onnx/operators/onnx__ReduceMean.html (opsets 1, 11, 13, 18;
// axes are an input since 18, for ReduceSum since 13).
// GlobalAveragePool, GlobalMaxPool:
// https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html (opsets 1, 22).

package op

import (
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("ReduceSum", reduceBuilder(kernel.ReduceSum, nil, nil))
	register("ReduceMean", reduceBuilder(kernel.ReduceMean, nil, nil))
	register("ReduceMax", reduceBuilder(kernel.ReduceMax, nil, nil))
	register("ReduceMin", reduceBuilder(kernel.ReduceMin, nil, nil))
	register("ReduceSumSquare", reduceBuilder(kernel.ReduceSumSquare, nil, nil))
	register("ReduceL1", reduceBuilder(kernel.ReduceSum, unaryOf(kernel.Abs), nil))
	register("ReduceL2", reduceBuilder(kernel.ReduceSumSquare, nil, unaryOf(kernel.Sqrt)))
	register("ReduceLogSum", reduceBuilder(kernel.ReduceSum, nil, unaryOf(kernel.Log)))
	register("ReduceLogSumExp", buildReduceLogSumExp)
	register("GlobalAveragePool", globalPool(kernel.ReduceMean))
	register("GlobalMaxPool", globalPool(kernel.ReduceMax))
}

// Reduce folds the axes of its input where Kept, which has the input's rank,
// is 1; the output may drop or add axes of length 1.
type Reduce struct {
	Op   kernel.ReduceOp
	Kept []int
}

// Name implements Spec.
func (r Reduce) Name() string {
	return [...]string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"}[r.Op]
}

// DiffWRT implements Spec.
func (Reduce) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (r Reduce) Lower(b *Block) error {
	d := kernel.Reduce{Op: r.Op, In: b.InShape(0), Shape: r.Kept}
	if len(d.In) == 0 {
		d.In, d.Shape = []int{1}, []int{1}
	}
	if sameOrder(d.Shape, b.OutShape()) {
		b.Call(d, b.In(0), b.Out())
		return nil
	}
	t := b.Temp(kernel.Len(r.Kept) * kernel.Float32.Size())
	b.Call(d, b.In(0), t)
	move(b, t, r.Kept, b.Out(), b.OutShape())
	return nil
}

// SymDiff implements Spec. Equal extremes share the gradient.
func (r Reduce) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	x := in[0]
	shape := shapeOf(x)
	var dx *Node
	var err error
	switch r.Op {
	case kernel.ReduceSum:
		dx, err = r.widen(grad, shape)
	case kernel.ReduceMean:
		// Scaled while it is small.
		if dx, err = scale(grad, float32(kernel.Len(r.Kept))/float32(kernel.Len(shape))); err == nil {
			dx, err = r.widen(dx, shape)
		}
	case kernel.ReduceSumSquare:
		if dx, err = scale(grad, 2); err != nil {
			break
		}
		if dx, err = reshape(dx, r.Kept); err == nil {
			dx, err = combine(kernel.Mul, x, dx)
		}
	default:
		dx, err = r.extreme(x, output, grad)
	}
	return gorgonia.Nodes{dx}, err
}

// widen spreads a tensor of the output's shape over the input's.
func (r Reduce) widen(n *Node, shape []int) (*Node, error) {
	n, err := reshape(n, r.Kept)
	if err != nil {
		return nil, err
	}
	return expand(n, shape)
}

// extreme is the gradient of a maximum or minimum: where(x == y) * dy / count.
func (r Reduce) extreme(x, y, dy *Node) (*Node, error) {
	y, err := reshape(y, r.Kept)
	if err != nil {
		return nil, err
	}
	if dy, err = reshape(dy, r.Kept); err != nil {
		return nil, err
	}
	mask, err := combine(kernel.Equal, x, y)
	if err != nil {
		return nil, err
	}
	count, err := reduceTo(mask, r.Kept)
	if err != nil {
		return nil, err
	}
	share, err := combine(kernel.Div, dy, count)
	if err != nil {
		return nil, err
	}
	return combine(kernel.Mul, mask, share)
}

// reduceTo sums a gradient over the axes along which an operand of the shape
// was broadcast.
func reduceTo(grad *Node, shape []int) (*Node, error) {
	wide := shapeOf(grad)
	if slices.Equal(wide, shape) {
		return grad, nil
	}
	kept := make([]int, len(wide))
	for i := range kept {
		kept[i] = 1
	}
	copy(kept[len(kept)-len(shape):], shape)
	if slices.Equal(kept, wide) {
		return reshape(grad, shape)
	}
	return apply(Reduce{Op: kernel.ReduceSum, Kept: kept}, shape, grad)
}

// reduce folds axes (all of them where there are none).
func reduce(op kernel.ReduceOp, x *Node, axes []int, keep bool) (*Node, error) {
	in := shapeOf(x)
	kept := slices.Clone(in)
	out := []int{}
	for i := range in {
		if len(axes) == 0 || slices.Contains(axes, i) {
			kept[i] = 1
			if keep {
				out = append(out, 1)
			}
			continue
		}
		out = append(out, in[i])
	}
	if slices.Equal(kept, in) && op != kernel.ReduceSumSquare {
		return reshape(x, out)
	}
	return apply(Reduce{Op: op, Kept: kept}, out, x)
}

// reduceArgs reads what all the reductions share: the tensor, the axes (none
// for all of them), keepdims, and whether there is nothing to reduce.
func reduceArgs(s *Source) (x *Node, axes []int, keep, noop bool, err error) {
	if x, err = s.node(0); err != nil {
		return
	}
	if axes, err = s.intsFrom(1, "axes"); err != nil {
		return
	}
	if axes, err = axesOf(axes, x.Dims()); err != nil {
		return
	}
	if keep, err = attrBool(s, "keepdims", true); err != nil {
		return
	}
	noop, err = attrBool(s, "noop_with_empty_axes", false)
	noop = noop && len(axes) == 0
	return
}

// reduceBuilder builds a reduction with a function of one element before and
// another after it (nil for none).
func reduceBuilder(op kernel.ReduceOp, before, after func(*Node) (*Node, error)) Builder {
	return func(s *Source) ([]*Node, error) {
		x, axes, keep, noop, err := reduceArgs(s)
		if err != nil {
			return nil, err
		}
		if noop {
			return []*Node{x}, nil
		}
		if before != nil {
			if x, err = before(x); err != nil {
				return nil, err
			}
		}
		if x, err = reduce(op, x, axes, keep); err != nil {
			return nil, err
		}
		if after != nil {
			return one(after(x))
		}
		return []*Node{x}, nil
	}
}

// buildReduceLogSumExp subtracts the maximum first, so that large inputs do not
// overflow.
func buildReduceLogSumExp(s *Source) ([]*Node, error) {
	x, axes, keep, noop, err := reduceArgs(s)
	if err != nil {
		return nil, err
	}
	if noop {
		return []*Node{x}, nil
	}
	top, err := reduce(kernel.ReduceMax, x, axes, true)
	if err != nil {
		return nil, err
	}
	y, err := combine(kernel.Sub, x, top)
	if err != nil {
		return nil, err
	}
	if y, err = unary(Unary{Op: kernel.Exp}, y); err != nil {
		return nil, err
	}
	if y, err = reduce(kernel.ReduceSum, y, axes, keep); err != nil {
		return nil, err
	}
	if y, err = unary(Unary{Op: kernel.Log}, y); err != nil {
		return nil, err
	}
	if top, err = reshape(top, shapeOf(y)); err != nil {
		return nil, err
	}
	return one(combine(kernel.Add, y, top))
}

func globalPool(op kernel.ReduceOp) Builder {
	return func(s *Source) ([]*Node, error) {
		x, err := s.node(0)
		if err != nil {
			return nil, err
		}
		axes := []int{}
		for i := 2; i < x.Dims(); i++ {
			axes = append(axes, i)
		}
		if len(axes) == 0 {
			return []*Node{x}, nil
		}
		return one(reduce(op, x, axes, true))
	}
}
