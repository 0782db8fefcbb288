// MaxPool: https://onnx.ai/onnx/operators/onnx__MaxPool.html (opsets 1, 8, 10,
// 11, 12, 22).
// AveragePool: https://onnx.ai/onnx/operators/onnx__AveragePool.html (opsets 1,
// 7, 10, 11, 19, 22).

package op

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("MaxPool", poolBuilder(kernel.MaxPool))
	register("AveragePool", poolBuilder(kernel.AveragePool))
}

// Pool slides a window: input (N,C,H,W), output (N,C,OH,OW).
type Pool struct{ kernel.Pool }

// Name implements Spec.
func (p Pool) Name() string { return [...]string{"MaxPool", "AveragePool"}[p.Op] }

// DiffWRT implements Spec.
func (Pool) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (p Pool) Lower(b *Block) error {
	b.Call(p.Pool, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec.
func (p Pool) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	args := []*Node{in[0], grad}
	if p.Op == kernel.AveragePool {
		args = args[1:] // does not depend on x
	}
	dx, err := apply(PoolGrad{Pool: p.Pool}, p.X(), args...)
	return gorgonia.Nodes{dx}, err
}

// PoolGrad is the gradient of Pool: inputs x (for the maximum only) and dy.
type PoolGrad struct {
	last
	kernel.Pool
}

// Name implements Spec.
func (p PoolGrad) Name() string { return Pool{p.Pool}.Name() + ".dx" }

// Lower implements Spec.
func (p PoolGrad) Lower(b *Block) error {
	d := kernel.PoolBackward{Pool: p.Pool}
	if p.Op == kernel.AveragePool {
		// The kernel takes x and does not read it: any buffer of that size.
		b.Call(d, b.Out(), b.In(0), b.Out())
	} else {
		b.Call(d, b.In(0), b.In(1), b.Out())
	}
	return nil
}

func poolBuilder(op kernel.PoolOp) Builder {
	return func(s *Source) ([]*Node, error) {
		x, err := s.node(0)
		if err != nil {
			return nil, err
		}
		win, err := window(s, x.Dims()-2, 3, nil)
		if err != nil {
			return nil, err
		}
		count, err := attrBool(s, "count_include_pad", false)
		if err != nil {
			return nil, err
		}
		// The second output of MaxPool, the indices, are integers: they exist
		// for MaxUnpool alone.
		r := make([]*Node, max(s.Outputs, 1))
		if r[0], err = poolWindow(op, x, win, count); err != nil {
			return nil, err
		}
		return r, nil
	}
}

// poolWindow pools over one, two or three spatial axes. The maximum and the
// mean of a box, and the number of its cells, are products of what the axes
// give, so the third axis is a pooling of its own.
func poolWindow(op kernel.PoolOp, x *Node, win *slide, count bool) (*Node, error) {
	rank, shape := x.Dims(), shapeOf(x)
	var err error
	if rank == 5 {
		depth := *win
		depth.only(0)
		win.only(1, 2)
		if x, err = reshape(x, []int{shape[0], shape[1] * shape[2], shape[3], shape[4]}); err != nil {
			return nil, err
		}
		if x, err = poolWindow(op, x, win, count); err != nil {
			return nil, err
		}
		h, w := x.Shape()[2], x.Shape()[3]
		if x, err = reshape(x, []int{shape[0], shape[1], shape[2], h * w}); err != nil {
			return nil, err
		}
		if x, err = poolWindow(op, x, &depth, count); err != nil {
			return nil, err
		}
		return reshape(x, []int{shape[0], shape[1], x.Shape()[2], h, w})
	}
	if x, err = spatial(x); err != nil {
		return nil, err
	}
	xs := x.Shape()
	g := kernel.Geometry{N: xs[0], C: xs[1], H: xs[2], W: xs[3], O: xs[1], Groups: 1}
	if err := win.place(&g, true); err != nil {
		return nil, err
	}
	spanH, spanW := (g.KH-1)*g.DilationH+1, (g.KW-1)*g.DilationW+1
	if max(g.PadTop, g.PadBottom) >= spanH || max(g.PadLeft, g.PadRight) >= spanW {
		return nil, fmt.Errorf("padding (%d,%d,%d,%d) is as large as the window (%d,%d): some windows would hold no input",
			g.PadTop, g.PadLeft, g.PadBottom, g.PadRight, spanH, spanW)
	}
	d := kernel.Pool{Geometry: g, Op: op, CountPad: count}
	y, err := apply(Pool{d}, d.Y(), x)
	if err != nil {
		return nil, err
	}
	return unspatial(y, rank)
}
