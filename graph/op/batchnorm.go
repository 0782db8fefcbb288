// BatchNormalization:
// https://onnx.ai/onnx/operators/onnx__BatchNormalization.html (opsets 1, 6, 7,
// 9, 14, 15).

package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() { register("BatchNormalization", buildBatchNorm) }

// BatchNormStats computes mean, biased variance and 1/sqrt(variance+eps) of a
// batch: input x (N,C,H,W), output (3,C). Its share of the gradient is part of
// BatchNormGrad.
type BatchNormStats struct {
	last
	kernel.BatchNormStats
	// Batch says that they are of a batch, of which replicas have a part each.
	Batch bool
}

// Name implements Spec.
func (BatchNormStats) Name() string { return "BatchNorm.stats" }

// Lower implements Spec.
func (s BatchNormStats) Lower(b *Block) error {
	b.Call(s.BatchNormStats, b.In(0), b.Out())
	return nil
}

// BatchNormFrozen makes statistics (3,C) of stored mean (C) and variance (C).
type BatchNormFrozen struct {
	last
	kernel.BatchNormFrozen
}

// Name implements Spec.
func (BatchNormFrozen) Name() string { return "BatchNorm.frozen" }

// Lower implements Spec.
func (s BatchNormFrozen) Lower(b *Block) error {
	b.Call(s.BatchNormFrozen, b.In(0), b.In(1), b.Out())
	return nil
}

// BatchNorm normalises: inputs x (N,C,H,W), scale (C), bias (C), stats (3,C)
// and, with Residual, a tensor of x's shape that is added. With Frozen the
// statistics are constants; without, they are those of x, and the gradient by x
// includes the way through them. Act is an activation that follows.
type BatchNorm struct {
	kernel.BatchNorm
	Frozen bool
}

// Name implements Spec.
func (BatchNorm) Name() string { return "BatchNormalization" }

// DiffWRT implements Spec: x, scale, bias and the residual.
func (BatchNorm) DiffWRT(inputs int) []bool {
	return []bool{true, true, true, false, true}[:inputs]
}

// Lower implements Spec.
func (n BatchNorm) Lower(b *Block) error {
	b.Call(n.BatchNorm, b.all()...)
	b.MayClobber(0)
	if n.Residual && !n.Frozen {
		b.MayClobber(4) // the gradient reads x
	}
	return nil
}

// SymDiff implements Spec. The kernels of the gradient undo the activation
// themselves, except behind a residual: there the shortcut wants the same
// gradient, and a Plan has the pass that sums write it.
func (n BatchNorm) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	x, weight, bias, stats := in[0], in[1], in[2], in[3]
	act := n.Act
	if n.Residual {
		var err error
		if grad, err = behind(act, output, grad); err != nil {
			return nil, err
		}
		act = kernel.Clip{}
	}
	read, affine := []*Node{x, grad}, []*Node{weight}
	if act.On {
		affine = append(affine, bias)
		read = append(read, affine...)
	}
	e := &expr{}
	sums := e.do(func() (*Node, error) {
		d := kernel.BatchNormReduce{N: n.N, C: n.C, H: n.H, W: n.W, Act: act}
		return apply(BatchNormSums{BatchNormReduce: d}, []int{2, n.C}, append(read, stats)...)
	})
	dx := e.do(func() (*Node, error) {
		d := kernel.BatchNormBackward{N: n.N, C: n.C, H: n.H, W: n.W, Count: n.N * n.H * n.W, Frozen: n.Frozen, Act: act}
		return apply(BatchNormGrad{BatchNormBackward: d}, shapeOf(x), slices.Concat([]*Node{x, grad}, affine, []*Node{stats, sums})...)
	})
	dscale := e.do(func() (*Node, error) { return apply(Row{0}, []int{n.C}, sums) })
	dbias := e.do(func() (*Node, error) { return apply(Row{1}, []int{n.C}, sums) })
	r := gorgonia.Nodes{dx, dscale, dbias, nil}
	if n.Residual {
		r = append(r, grad)
	}
	return r, e.err
}

// BatchNormSums holds the gradients of scale and bias, (2,C): inputs x, dy,
// [scale, bias with Act], stats.
type BatchNormSums struct {
	last
	kernel.BatchNormReduce
}

// Name implements Spec.
func (BatchNormSums) Name() string { return "BatchNorm.sums" }

// Lower implements Spec.
func (s BatchNormSums) Lower(b *Block) error {
	b.Call(s.BatchNormReduce, b.all()...)
	return nil
}

// BatchNormGrad is the gradient of BatchNorm by x: inputs x, dy, scale, [bias
// with Act], stats, sums.
type BatchNormGrad struct {
	last
	kernel.BatchNormBackward
}

// Name implements Spec.
func (BatchNormGrad) Name() string { return "BatchNorm.dx" }

// Lower implements Spec.
func (g BatchNormGrad) Lower(b *Block) error {
	b.Call(g.BatchNormBackward, b.all()...)
	b.MayClobber(1)
	return nil
}

// Row is one row of a matrix: input (R,C), output (C).
type Row struct{ Index int }

// Name implements Spec.
func (Row) Name() string { return "Row" }

// DiffWRT implements Spec.
func (Row) DiffWRT(inputs int) []bool { return none(inputs) }

// SymDiff implements Spec.
func (Row) SymDiff(gorgonia.Nodes, *Node, *Node) (gorgonia.Nodes, error) {
	return nil, ErrNoDerivative
}

// Lower implements Spec.
func (r Row) Lower(b *Block) error {
	in := b.InShape(0)
	b.Call(kernel.Copy{
		Shape: []int{in[1]}, SrcStrides: []int{1}, DstStrides: []int{1},
		SrcOffset: r.Index * in[1], SrcLen: kernel.Len(in), DstLen: in[1],
	}, b.In(0), b.Out())
	return nil
}

func buildBatchNorm(s *Source) ([]*Node, error) {
	in := make([]*Node, 5)
	for i := range in {
		var err error
		if in[i], err = s.node(i); err != nil {
			return nil, err
		}
	}
	input, x := in[0], in[0]
	shape := shapeOf(x)
	eps, err := attr(s, "epsilon", float32(1e-5))
	if err != nil {
		return nil, err
	}
	momentum, err := attr(s, "momentum", float32(0.9))
	if err != nil {
		return nil, err
	}
	if s.Opset < 9 {
		perChannel, err := attrBool(s, "spatial", true)
		if err != nil {
			return nil, err
		}
		if !perChannel {
			return nil, fmt.Errorf("attribute spatial = 0 (statistics for each pixel) is not supported")
		}
	}
	if x, err = spatial(x); err != nil {
		return nil, err
	}
	xs := x.Shape()
	d := kernel.BatchNorm{N: xs[0], C: xs[1], H: xs[2], W: xs[3]}
	for i, n := range in[1:] {
		if n.Dims() != 1 || n.Shape()[0] != d.C {
			return nil, fmt.Errorf("input %d has shape %v, want (%d)", i+1, n.Shape(), d.C)
		}
	}
	train := s.Env.Training && !s.Env.FixBN
	var stats *Node
	if train {
		stats, err = apply(BatchNormStats{BatchNormStats: kernel.BatchNormStats{N: d.N, C: d.C, H: d.H, W: d.W, Eps: eps}, Batch: true}, []int{3, d.C}, x)
	} else {
		stats, err = apply(BatchNormFrozen{BatchNormFrozen: kernel.BatchNormFrozen{C: d.C, Eps: eps}}, []int{3, d.C}, in[3], in[4])
	}
	if err != nil {
		return nil, err
	}
	if !s.Env.Training {
		if y, err := s.foldNorm(input, in[1:], stats); y != nil || err != nil {
			return []*Node{y}, err
		}
	}
	if train && s.Env.Running != nil {
		s.Env.Running(stats, s.Inputs[3].Name, s.Inputs[4].Name, momentum, d.N*d.H*d.W)
	}
	y, err := apply(BatchNorm{BatchNorm: d, Frozen: !train}, shapeOf(x), x, in[1], in[2], stats)
	if err != nil {
		return nil, err
	}
	if y, err = reshape(y, shape); err != nil {
		return nil, err
	}
	r := make([]*Node, max(s.Outputs, 1))
	r[0] = y
	if train && s.Opset >= 14 && s.Outputs == 3 {
		// The updated statistics as the operator defines them. A training run
		// keeps its own (Env.Running), so these are mostly unused.
		for i := range 2 {
			if r[1+i], err = moved(in[3+i], stats, i, momentum); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// moved returns momentum*stored + (1-momentum)*row of stats.
func moved(stored, stats *Node, row int, momentum float32) (*Node, error) {
	e := &expr{}
	batch := e.do(func() (*Node, error) { return apply(Row{row}, shapeOf(stored), stats) })
	y := e.binary(kernel.Add, e.affine(stored, momentum, 0), e.affine(batch, 1-momentum, 0))
	return y, e.err
}
