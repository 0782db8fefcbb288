// Transpose: https://onnx.ai/onnx/operators/onnx__Transpose.html (opsets 1, 13,
// 21).
// DepthToSpace, SpaceToDepth:
// https://onnx.ai/onnx/operators/onnx__DepthToSpace.html (opsets 1, 11, 13).

package op

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("Transpose", buildTranspose)
	register("DepthToSpace", buildDepthToSpace)
	register("SpaceToDepth", buildSpaceToDepth)
}

// Transpose permutes the axes: axis i of the output is axis Perm[i] of the
// input.
type Transpose struct{ Perm []int }

// Name implements Spec.
func (Transpose) Name() string { return "Transpose" }

// DiffWRT implements Spec.
func (Transpose) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (t Transpose) Lower(b *Block) error {
	out := b.OutShape()
	in := kernel.Strides(b.InShape(0))
	c := kernel.Copy{Shape: out, SrcStrides: make([]int, len(out)), DstStrides: kernel.Strides(out), SrcLen: kernel.Len(out), DstLen: kernel.Len(out)}
	same := true
	for i, p := range t.Perm {
		c.SrcStrides[i] = in[p]
		same = same && (out[i] == 1 || c.SrcStrides[i] == c.DstStrides[i])
	}
	if same {
		b.Alias(0)
		return nil
	}
	b.Call(c, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec.
func (t Transpose) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	inverse := make([]int, len(t.Perm))
	for i, p := range t.Perm {
		inverse[p] = i
	}
	dx, err := transpose(grad, inverse)
	return gorgonia.Nodes{dx}, err
}

// transpose permutes the axes of x.
func transpose(x *Node, perm []int) (*Node, error) {
	shape := make([]int, len(perm))
	same := true
	for i, p := range perm {
		shape[i] = x.Shape()[p]
		same = same && i == p
	}
	if same {
		return x, nil
	}
	return apply(Transpose{perm}, shape, x)
}

func buildTranspose(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	perm, err := attrInts(s, "perm")
	if err != nil {
		return nil, err
	}
	if perm == nil {
		for i := x.Dims() - 1; i >= 0; i-- {
			perm = append(perm, i)
		}
	}
	if len(perm) != x.Dims() {
		return nil, fmt.Errorf("perm %v does not fit rank %d", perm, x.Dims())
	}
	if perm, err = axesOf(perm, x.Dims()); err != nil {
		return nil, err
	}
	return one(transpose(x, perm))
}

// blocks reads input (N,C,H,W) and attribute blocksize.
func blocks(s *Source) (x *Node, shape []int, size int, err error) {
	if x, err = s.node(0); err != nil {
		return
	}
	if shape = shapeOf(x); len(shape) != 4 {
		err = fmt.Errorf("input has shape %v, want (N,C,H,W)", shape)
		return
	}
	if size, err = attrInt(s, "blocksize", 0); err != nil {
		return
	}
	if size < 1 || size > 1<<15 {
		err = fmt.Errorf("blocksize %d is out of range", size)
	}
	return
}

// permuted reshapes, transposes and reshapes again.
func permuted(x *Node, split, perm, out []int) ([]*Node, error) {
	x, err := reshape(x, split)
	if err != nil {
		return nil, err
	}
	if x, err = transpose(x, perm); err != nil {
		return nil, err
	}
	return one(reshape(x, out))
}

func buildDepthToSpace(s *Source) ([]*Node, error) {
	x, in, b, err := blocks(s)
	if err != nil {
		return nil, err
	}
	mode, err := attr(s, "mode", "DCR")
	if err != nil {
		return nil, err
	}
	n, c, h, w := in[0], in[1]/(b*b), in[2], in[3]
	if in[1]%(b*b) != 0 {
		return nil, fmt.Errorf("%d channels do not divide into blocks of %dx%d", in[1], b, b)
	}
	out := []int{n, c, h * b, w * b}
	switch mode {
	case "DCR":
		return permuted(x, []int{n, b, b, c, h, w}, []int{0, 3, 4, 1, 5, 2}, out)
	case "CRD":
		return permuted(x, []int{n, c, b, b, h, w}, []int{0, 1, 4, 2, 5, 3}, out)
	}
	return nil, fmt.Errorf("mode %q is not known, only DCR and CRD", mode)
}

func buildSpaceToDepth(s *Source) ([]*Node, error) {
	x, in, b, err := blocks(s)
	if err != nil {
		return nil, err
	}
	n, c, h, w := in[0], in[1], in[2]/b, in[3]/b
	if in[2]%b != 0 || in[3]%b != 0 {
		return nil, fmt.Errorf("an input of %dx%d does not divide into blocks of %dx%d", in[2], in[3], b, b)
	}
	return permuted(x, []int{n, c, h, b, w, b}, []int{0, 3, 5, 1, 2, 4}, []int{n, c * b * b, h, w})
}
