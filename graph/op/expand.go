// Expand: https://onnx.ai/onnx/operators/onnx__Expand.html (opsets 8, 13).

package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() { register("Expand", buildExpand) }

// Expand repeats its input along axes of length 1 to the output's shape.
type Expand struct{}

// Name implements Spec.
func (Expand) Name() string { return "Expand" }

// DiffWRT implements Spec.
func (Expand) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (Expand) Lower(b *Block) error {
	out := align(b.OutShape(), 1)
	in := align(b.InShape(0), len(out))
	src := fit(b, b.In(0), b.InShape(0), in)
	strides := kernel.Strides(in)
	for i, d := range in {
		if d == 1 {
			strides[i] = 0
		}
	}
	b.Call(kernel.Copy{
		Shape: out, SrcStrides: strides, DstStrides: kernel.Strides(out),
		SrcLen: kernel.Len(in), DstLen: kernel.Len(out),
	}, src, b.Out())
	return nil
}

// SymDiff implements Spec.
func (Expand) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := reduceTo(grad, shapeOf(in[0]))
	return gorgonia.Nodes{dx}, err
}

// expand broadcasts x to a shape, x itself where it has it already.
func expand(x *Node, shape []int) (*Node, error) {
	out, err := broadcast(shapeOf(x), shape)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(out, shape) {
		return nil, fmt.Errorf("shape %v does not expand to %v", x.Shape(), shape)
	}
	if kernel.Len(out) == kernel.Len(x.Shape()) {
		return reshape(x, out)
	}
	return apply(Expand{}, out, x)
}

func buildExpand(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	shape, err := s.ints(1)
	if err != nil {
		return nil, err
	}
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	// Expand broadcasts both ways: the input may have axes that shape lacks.
	out, err := broadcast(shapeOf(x), shape)
	if err != nil {
		return nil, err
	}
	return one(expand(x, out))
}
