// MatMul: https://onnx.ai/onnx/operators/onnx__MatMul.html (opsets 1, 9, 13).
// Gemm: https://onnx.ai/onnx/operators/onnx__Gemm.html (opsets 1, 6, 7, 9, 11,
// 13).

package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("MatMul", buildMatMul)
	register("Gemm", buildGemm)
}

// MatMul multiplies matrices in batches. Its operands are of rank 2 or 3; with
// SharedA (SharedB) the batch of the operand is 1.
type MatMul struct{ kernel.MatMul }

// Name implements Spec.
func (MatMul) Name() string { return "MatMul" }

// DiffWRT implements Spec.
func (MatMul) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (m MatMul) Lower(b *Block) error {
	b.Call(m.MatMul, b.In(0), b.In(1), b.Out())
	return nil
}

// SymDiff implements Spec: with y = a*b, da = dy*b' and db = a'*dy, each
// transposed where its operand is stored transposed.
func (m MatMul) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	a, b := in[0], in[1]
	return both(
		func() (*Node, error) {
			if m.TransA {
				d := kernel.MatMul{Batch: m.Batch, M: m.K, N: m.M, K: m.N, TransA: m.TransB, TransB: true, SharedA: m.SharedB}
				return m.gradient(d, b, grad, a, m.SharedA)
			}
			d := kernel.MatMul{Batch: m.Batch, M: m.M, N: m.K, K: m.N, TransB: !m.TransB, SharedB: m.SharedB}
			return m.gradient(d, grad, b, a, m.SharedA)
		},
		func() (*Node, error) {
			if m.TransB {
				d := kernel.MatMul{Batch: m.Batch, M: m.N, N: m.K, K: m.M, TransA: true, TransB: m.TransA, SharedB: m.SharedA}
				return m.gradient(d, grad, a, b, m.SharedB)
			}
			d := kernel.MatMul{Batch: m.Batch, M: m.K, N: m.N, K: m.M, TransA: !m.TransA, SharedA: m.SharedA}
			return m.gradient(d, a, grad, b, m.SharedB)
		},
	)
}

// gradient multiplies, and sums over the batch where the operand was shared.
func (m MatMul) gradient(d kernel.MatMul, l, r, operand *Node, shared bool) (*Node, error) {
	shape := shapeOf(operand)
	if !shared || m.Batch == 1 {
		return apply(MatMul{d}, shape, l, r)
	}
	y, err := apply(MatMul{d}, []int{d.Batch, d.M, d.N}, l, r)
	if err != nil {
		return nil, err
	}
	return apply(Reduce{Op: kernel.ReduceSum, Kept: []int{1, d.M, d.N}}, shape, y)
}

// stack reshapes an operand (batch..., r, c) to the batch's (B,r,c), (1,r,c)
// where one matrix serves the whole batch.
func stack(x *Node, batch []int) (y *Node, shared bool, err error) {
	s := shapeOf(x)
	own, tail := s[:len(s)-2], s[len(s)-2:]
	n := 1
	if kernel.Len(own) > 1 {
		if x, err = expand(x, slices.Concat(batch, tail)); err != nil {
			return nil, false, err
		}
		n = kernel.Len(batch)
	}
	y, err = reshape(x, []int{n, tail[0], tail[1]})
	return y, n == 1, err
}

func buildMatMul(s *Source) ([]*Node, error) {
	a, err := s.node(0)
	if err != nil {
		return nil, err
	}
	b, err := s.node(1)
	if err != nil {
		return nil, err
	}
	as, bs := shapeOf(a), shapeOf(b)
	if len(as) == 0 || len(bs) == 0 {
		return nil, fmt.Errorf("scalars cannot be multiplied as matrices")
	}
	// Vectors are a row on the left and a column on the right.
	m, n := []int{}, []int{}
	if len(as) == 1 {
		as = []int{1, as[0]}
	} else {
		m = as[len(as)-2 : len(as)-1]
	}
	if len(bs) == 1 {
		bs = []int{bs[0], 1}
	} else {
		n = bs[len(bs)-1:]
	}
	d := kernel.MatMul{M: as[len(as)-2], K: as[len(as)-1], N: bs[len(bs)-1]}
	if bs[len(bs)-2] != d.K {
		return nil, fmt.Errorf("shapes %v and %v do not multiply", a.Shape(), b.Shape())
	}
	batch, err := broadcast(as[:len(as)-2], bs[:len(bs)-2])
	if err != nil {
		return nil, err
	}
	out := slices.Concat(batch, m, n)
	if a, err = reshape(a, as); err != nil {
		return nil, err
	}
	if b, err = reshape(b, bs); err != nil {
		return nil, err
	}
	if kernel.Len(bs[:len(bs)-2]) == 1 {
		// One right matrix: the rows of all the left ones are one matrix.
		d.M *= kernel.Len(batch)
		d.Batch = 1
		if a, err = reshape(a, []int{d.M, d.K}); err != nil {
			return nil, err
		}
		if b, err = reshape(b, []int{d.K, d.N}); err != nil {
			return nil, err
		}
		y, err := apply(MatMul{d}, []int{d.M, d.N}, a, b)
		if err != nil {
			return nil, err
		}
		return one(reshape(y, out))
	}
	d.Batch = kernel.Len(batch)
	if a, d.SharedA, err = stack(a, batch); err != nil {
		return nil, err
	}
	if b, d.SharedB, err = stack(b, batch); err != nil {
		return nil, err
	}
	y, err := apply(MatMul{d}, []int{d.Batch, d.M, d.N}, a, b)
	if err != nil {
		return nil, err
	}
	return one(reshape(y, out))
}

func buildGemm(s *Source) ([]*Node, error) {
	a, err := s.node(0)
	if err != nil {
		return nil, err
	}
	b, err := s.node(1)
	if err != nil {
		return nil, err
	}
	alpha, err := attr(s, "alpha", float32(1))
	if err != nil {
		return nil, err
	}
	beta, err := attr(s, "beta", float32(1))
	if err != nil {
		return nil, err
	}
	d := kernel.MatMul{Batch: 1}
	if d.TransA, err = attrBool(s, "transA", false); err != nil {
		return nil, err
	}
	if d.TransB, err = attrBool(s, "transB", false); err != nil {
		return nil, err
	}
	as, bs := shapeOf(a), shapeOf(b)
	if len(as) != 2 || len(bs) != 2 {
		return nil, fmt.Errorf("shapes %v and %v are not matrices", as, bs)
	}
	if d.TransA {
		slices.Reverse(as)
	}
	if d.TransB {
		slices.Reverse(bs)
	}
	if as[1] != bs[0] {
		return nil, fmt.Errorf("shapes %v and %v do not multiply", a.Shape(), b.Shape())
	}
	d.M, d.K, d.N = as[0], as[1], bs[1]
	y, err := apply(MatMul{d}, []int{d.M, d.N}, a, b)
	if err != nil {
		return nil, err
	}
	if y, err = scale(y, alpha); err != nil || !s.has(2) {
		return one(y, err)
	}
	c, err := s.node(2)
	if err != nil {
		return nil, err
	}
	if c, err = scale(c, beta); err != nil {
		return nil, err
	}
	if out, err := broadcast(shapeOf(c), []int{d.M, d.N}); err != nil || !slices.Equal(out, []int{d.M, d.N}) {
		return nil, fmt.Errorf("shape %v of the third input does not broadcast to (%d,%d)", c.Shape(), d.M, d.N)
	}
	return one(combine(kernel.Add, y, c))
}
