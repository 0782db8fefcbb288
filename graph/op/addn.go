package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
)

func init() { register("Constant", buildConstant) }

// Sum is the sum of tensors of one shape, in the order of the inputs, and an
// activation that follows it.
type Sum struct{ Act kernel.Clip }

// Name implements Spec.
func (Sum) Name() string { return "Sum" }

// DiffWRT implements Spec.
func (Sum) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (s Sum) Lower(b *Block) error {
	d := kernel.AddN{Inputs: len(b.in), Len: kernel.Len(b.OutShape()), Act: s.Act}
	args := make([]Ref, 0, d.Inputs+1)
	for i := range d.Inputs {
		args = append(args, b.In(i))
	}
	b.Call(d, append(args, b.Out())...)
	b.MayClobber(0)
	return nil
}

// SymDiff implements Spec.
func (s Sum) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	grad, err := behind(s.Act, output, grad)
	if err != nil {
		return nil, err
	}
	r := make(gorgonia.Nodes, len(in))
	for i := range r {
		r[i] = grad
	}
	return r, nil
}

// AddN returns the sum of tensors of one shape, the tensor itself for one.
func AddN(in ...*Node) (*Node, error) {
	if len(in) == 0 {
		return nil, fmt.Errorf("a sum needs an input")
	}
	if len(in) == 1 {
		return in[0], nil
	}
	for _, x := range in[1:] {
		if !slices.Equal(shapeOf(x), shapeOf(in[0])) {
			return nil, fmt.Errorf("shapes %v and %v differ", in[0].Shape(), x.Shape())
		}
	}
	return apply(Sum{}, shapeOf(in[0]), in...)
}

// Filled is a tensor of one value; it has no inputs.
type Filled struct{ Value float32 }

// Name implements Spec.
func (Filled) Name() string { return "Fill" }

// DiffWRT implements Spec.
func (Filled) DiffWRT(inputs int) []bool { return none(inputs) }

// Lower implements Spec.
func (f Filled) Lower(b *Block) error {
	b.Call(kernel.Fill{Len: kernel.Len(b.OutShape()), Value: f.Value}, b.Out())
	return nil
}

// SymDiff implements Spec.
func (Filled) SymDiff(gorgonia.Nodes, *Node, *Node) (gorgonia.Nodes, error) { return nil, nil }

// Fill returns a tensor of one value.
func Fill(g *gorgonia.ExprGraph, shape []int, value float32) (*Node, error) {
	if g == nil {
		return nil, fmt.Errorf("a constant needs the graph it belongs to")
	}
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	o := &Op{Spec: Filled{value}, id: lastID.Add(1), shape: append(tensor.Shape{}, shape...)}
	return gorgonia.NewUniqueNode(gorgonia.WithType(o.Type()), gorgonia.WithOp(o), gorgonia.In(g), gorgonia.WithShape(shape...)), nil
}

// Scalar returns a constant of rank 0.
func Scalar(g *gorgonia.ExprGraph, value float32) (*Node, error) { return Fill(g, []int{}, value) }

// constant turns known values into a node.
func (s *Source) constant(shape []int, v []float32) (*Node, error) {
	if len(v) == 0 {
		return nil, fmt.Errorf("empty constants are not supported")
	}
	same := true
	for _, x := range v {
		same = same && x == v[0]
	}
	switch {
	case same:
		return Fill(s.graph(), shape, v[0])
	case s.Env != nil && s.Env.Constant != nil:
		return s.Env.Constant(shape, v)
	}
	return nil, fmt.Errorf("a constant of %d different elements has to be an initializer", len(v))
}

// buildConstant (https://onnx.ai/onnx/operators/onnx__Constant.html, opsets 1,
// 9, 11, 12, 13) serves float constants that have not become initializers before
// the graph is built.
func buildConstant(s *Source) ([]*Node, error) {
	if v, err := attr(s, "value_float", float32(0)); err != nil {
		return nil, err
	} else if _, ok := s.Attr["value_float"]; ok {
		return one(Scalar(s.graph(), v))
	}
	if list, err := attr[[]float32](s, "value_floats", nil); err != nil {
		return nil, err
	} else if list != nil {
		return one(s.constant([]int{len(list)}, list))
	}
	t, err := attrTensor(s, "value")
	if err != nil {
		return nil, err
	}
	v, err := onnx.Floats(t)
	if err != nil {
		return nil, err
	}
	return one(s.constant(onnx.Dims(t), v))
}
