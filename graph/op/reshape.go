// Reshape: https://onnx.ai/onnx/operators/onnx__Reshape.html (opsets 1, 5, 13,
// 14, 19, 21).
// Flatten: https://onnx.ai/onnx/operators/onnx__Flatten.html (opsets 1, 9, 11,
// 13, 21).
// Squeeze, Unsqueeze: https://onnx.ai/onnx/operators/onnx__Squeeze.html,
// https://onnx.ai/onnx/operators/onnx__Unsqueeze.html (opsets 1, 11, 13, 21).
// Identity: https://onnx.ai/onnx/operators/onnx__Identity.html (opset 1).
// Cast: https://onnx.ai/onnx/operators/onnx__Cast.html (opsets 1, 6, 9, 13).

package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx/pb"
)

func init() {
	register("Reshape", buildReshape)
	register("Flatten", buildFlatten)
	register("Squeeze", buildSqueeze)
	register("Unsqueeze", buildUnsqueeze)
	register("Identity", buildIdentity)
	register("Cast", buildCast)
}

// Reshape gives the elements of its input another shape. It is free where the
// memory order of both shapes is one, and a copy otherwise.
type Reshape struct{}

// Name implements Spec.
func (Reshape) Name() string { return "Reshape" }

// DiffWRT implements Spec.
func (Reshape) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (Reshape) Lower(b *Block) error {
	if sameOrder(b.InShape(0), b.OutShape()) {
		b.Alias(0)
		return nil
	}
	move(b, b.In(0), b.InShape(0), b.Out(), b.OutShape())
	return nil
}

// SymDiff implements Spec.
func (Reshape) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := reshape(grad, shapeOf(in[0]))
	return gorgonia.Nodes{dx}, err
}

// reshape returns x with another shape, x itself where it has it already.
func reshape(x *Node, shape []int) (*Node, error) {
	if slices.Equal(shapeOf(x), shape) {
		return x, nil
	}
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	if kernel.Len(x.Shape()) != kernel.Len(shape) {
		return nil, fmt.Errorf("shape %v does not hold the elements of %v", shape, x.Shape())
	}
	return apply(Reshape{}, shape, x)
}

func buildReshape(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	shape, err := s.intsFrom(1, "shape")
	if err != nil {
		return nil, err
	}
	keepZero, err := attrBool(s, "allowzero", false)
	if err != nil {
		return nil, err
	}
	in := shapeOf(x)
	out := slices.Clone(shape)
	free, n := -1, 1
	for i, d := range out {
		switch {
		case d == 0 && !keepZero:
			if i >= len(in) {
				return nil, fmt.Errorf("shape %v copies axis %d of an input of shape %v", shape, i, in)
			}
			out[i] = in[i]
		case d == -1 && free < 0:
			free = i
			continue
		case d <= 0 || d > maxDim:
			return nil, fmt.Errorf("shape %v is not valid", shape)
		}
		if n > maxElements/out[i] {
			return nil, fmt.Errorf("shape %v is too large", shape)
		}
		n *= out[i]
	}
	if free >= 0 {
		out[free] = kernel.Len(in) / n
	}
	return one(reshape(x, out))
}

func buildFlatten(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	axis, err := attrInt(s, "axis", 1)
	if err != nil {
		return nil, err
	}
	in := shapeOf(x)
	if axis < -len(in) || axis > len(in) {
		return nil, fmt.Errorf("axis %d is out of range for rank %d", axis, len(in))
	}
	if axis < 0 {
		axis += len(in)
	}
	return one(reshape(x, []int{kernel.Len(in[:axis]), kernel.Len(in[axis:])}))
}

func buildSqueeze(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	axes, err := s.intsFrom(1, "axes")
	if err != nil {
		return nil, err
	}
	in := shapeOf(x)
	if axes, err = axesOf(axes, len(in)); err != nil {
		return nil, err
	}
	given := len(axes) > 0
	out := []int{}
	for i, d := range in {
		drop := d == 1
		if given {
			drop = slices.Contains(axes, i)
			if drop && d != 1 {
				return nil, fmt.Errorf("axis %d of shape %v is not 1", i, in)
			}
		}
		if !drop {
			out = append(out, d)
		}
	}
	return one(reshape(x, out))
}

func buildUnsqueeze(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	axes, err := s.intsFrom(1, "axes")
	if err != nil {
		return nil, err
	}
	in := shapeOf(x)
	if axes, err = axesOf(axes, len(in)+len(axes)); err != nil {
		return nil, err
	}
	out := make([]int, 0, len(in)+len(axes))
	for i := range len(in) + len(axes) {
		if slices.Contains(axes, i) {
			out = append(out, 1)
		} else {
			out, in = append(out, in[0]), in[1:]
		}
	}
	return one(reshape(x, out))
}

func buildIdentity(s *Source) ([]*Node, error) { return one(s.node(0)) }

// buildCast accepts casts between floating-point types: graft computes in
// float32 whatever the file's precision is.
func buildCast(s *Source) ([]*Node, error) {
	to, err := attrInt(s, "to", 0)
	if err != nil {
		return nil, err
	}
	switch t := pb.TensorProto_DataType(to); t {
	case pb.TensorProto_FLOAT, pb.TensorProto_FLOAT16, pb.TensorProto_BFLOAT16, pb.TensorProto_DOUBLE:
		return one(s.node(0))
	default:
		return nil, fmt.Errorf("casting a computed tensor to %s is not supported, only to floating-point types", t)
	}
}
