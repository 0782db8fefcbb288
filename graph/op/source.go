package op

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// has reports whether input i is there.
func (s *Source) has(i int) bool { return i < len(s.Inputs) && s.Inputs[i].Present() }

// graph returns the expression graph that the node is built into.
func (s *Source) graph() *gorgonia.ExprGraph {
	if s.Env != nil && s.Env.Graph != nil {
		return s.Env.Graph
	}
	for _, in := range s.Inputs {
		if in.Node != nil {
			return in.Node.Graph()
		}
	}
	return nil
}

// node returns input i as a float tensor; a constant without a node of its own
// (an exponent of integer type, say) gets one.
func (s *Source) node(i int) (*Node, error) {
	if !s.has(i) {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	in := s.Inputs[i]
	if in.Node != nil {
		return in.Node, nil
	}
	v, err := s.floats(i)
	if err != nil {
		return nil, err
	}
	return s.constant(onnx.Dims(in.Const), v)
}

// nodes returns every input as a float tensor.
func (s *Source) nodes() ([]*Node, error) {
	if len(s.Inputs) == 0 {
		return nil, fmt.Errorf("input 0 is missing")
	}
	r := make([]*Node, len(s.Inputs))
	for i := range s.Inputs {
		var err error
		if r[i], err = s.node(i); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// ints returns the value of integer input i, which must be known.
func (s *Source) ints(i int) ([]int, error) {
	if !s.has(i) {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	in := s.Inputs[i]
	if in.Const == nil {
		return nil, fmt.Errorf("input %d (%s) must be a constant: its value decides the shapes of the graph", i, in.Name)
	}
	v, err := onnx.Ints(in.Const)
	if err != nil {
		return nil, err
	}
	return fromInt64(v), nil
}

// floats returns the value of input i, which must be known; integers are
// converted.
func (s *Source) floats(i int) ([]float32, error) {
	if !s.has(i) {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	in := s.Inputs[i]
	if in.Const == nil {
		return nil, fmt.Errorf("input %d (%s) must be a constant", i, in.Name)
	}
	v, err := onnx.Floats(in.Const)
	if err == nil {
		return v, nil
	}
	n, intErr := onnx.Ints(in.Const)
	if intErr != nil {
		return nil, err
	}
	v = make([]float32, len(n))
	for i, x := range n {
		v[i] = float32(x)
	}
	return v, nil
}

// scalar returns the value of input i, a constant of one element, or def where
// it is absent.
func (s *Source) scalar(i int, def float32) (float32, error) {
	if !s.has(i) {
		return def, nil
	}
	v, err := s.floats(i)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("input %d (%s) has %d elements, want one", i, s.Inputs[i].Name, len(v))
	}
	return v[0], nil
}

// intsFrom reads a list that is input i since one version of an operator and
// was an attribute before. It returns nil where it is absent.
func (s *Source) intsFrom(i int, name string) ([]int, error) {
	if s.has(i) {
		return s.ints(i)
	}
	return attrInts(s, name)
}

// attrInts reads a list attribute, nil where it is absent.
func attrInts(s *Source, name string) ([]int, error) {
	v, err := attr[[]int64](s, name, nil)
	if err != nil || v == nil {
		return nil, err
	}
	return fromInt64(v), nil
}

// attrInt reads an integer attribute.
func attrInt(s *Source, name string, def int) (int, error) {
	v, err := attr(s, name, int64(def))
	return clampInt(v), err
}

// attrBool reads an integer attribute that is a switch.
func attrBool(s *Source, name string, def bool) (bool, error) {
	d := 0
	if def {
		d = 1
	}
	v, err := attrInt(s, name, d)
	return v != 0, err
}

// attrList reads a list attribute of a fixed length whose elements lie in
// [lo, hi]; def fills it where it is absent.
func attrList(s *Source, name string, n, def, lo, hi int) ([]int, error) {
	v, err := attrInts(s, name)
	if err != nil {
		return nil, err
	}
	if len(v) == 0 {
		return slices.Repeat([]int{def}, n), nil
	}
	if len(v) != n {
		return nil, fmt.Errorf("attribute %s has %d values, want %d", name, len(v), n)
	}
	for _, x := range v {
		if x < lo || x > hi {
			return nil, fmt.Errorf("attribute %s holds %d, want %d to %d", name, x, lo, hi)
		}
	}
	return v, nil
}

// maxDim bounds every length, stride and pad that a model may ask for, so that
// sums and products of two fit an int.
const maxDim = 1 << 30

func clampInt(v int64) int {
	if v > math.MaxInt {
		return math.MaxInt
	}
	return int(v)
}

func fromInt64(v []int64) []int {
	r := make([]int, len(v))
	for i, x := range v {
		r[i] = clampInt(x)
	}
	return r
}

// axisOf turns an axis counted from either end into one counted from the
// front.
func axisOf(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is out of range for rank %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// axesOf normalises a list of axes without repetition.
func axesOf(axes []int, rank int) ([]int, error) {
	r := make([]int, len(axes))
	for i, a := range axes {
		n, err := axisOf(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r[:i], n) {
			return nil, fmt.Errorf("axis %d is named twice", a)
		}
		r[i] = n
	}
	return r, nil
}

// checkShape refuses shapes that no tensor of a Plan can have.
func checkShape(shape []int) error {
	n := 1
	for _, d := range shape {
		if d <= 0 {
			return fmt.Errorf("shape %v: empty tensors are not supported", shape)
		}
		if d > maxDim || n > maxElements/d {
			return fmt.Errorf("shape %v is too large (limit %d elements)", shape, maxElements)
		}
		n *= d
	}
	return nil
}

// maxElements is the most elements of a tensor: 32 GiB of float32.
const maxElements = 1 << 33

// shapeOf returns the logical shape of a node.
func shapeOf(n *Node) []int { return slices.Clone([]int(n.Shape())) }

// broadcast returns the shape that numpy's rule gives for two operands.
func broadcast(a, b []int) ([]int, error) {
	n := max(len(a), len(b))
	r := make([]int, n)
	for i := range n {
		x, y := 1, 1
		if k := i - (n - len(a)); k >= 0 {
			x = a[k]
		}
		if k := i - (n - len(b)); k >= 0 {
			y = b[k]
		}
		switch {
		case x == y || y == 1:
			r[i] = x
		case x == 1:
			r[i] = y
		default:
			return nil, fmt.Errorf("shapes %v and %v do not broadcast", a, b)
		}
	}
	return r, nil
}

// spatial splits a tensor (N,C,D1,...) for the kernels, which have two spatial
// axes: it returns the tensor as (N,C,H,W). Rank 2 gets H = W = 1, rank 3
// H = 1, and from rank 5 on the inner axes are joined.
func spatial(x *Node) (*Node, error) {
	s := shapeOf(x)
	switch len(s) {
	case 0, 1:
		return nil, fmt.Errorf("input has shape %v, want (N,C,...)", s)
	case 2:
		return reshape(x, []int{s[0], s[1], 1, 1})
	case 3:
		return reshape(x, []int{s[0], s[1], 1, s[2]})
	case 4:
		return x, nil
	default:
		return reshape(x, []int{s[0], s[1], s[2], kernel.Len(s[3:])})
	}
}

// one wraps the single output of a builder.
func one(n *Node, err error) ([]*Node, error) {
	if err != nil {
		return nil, err
	}
	return []*Node{n}, nil
}

// ErrNoDerivative is returned by SymDiff of operators that are themselves
// gradients and that graft does not differentiate again.
var ErrNoDerivative = errors.New("op: this operator has no derivative")

// last is embedded by Specs whose derivative nobody needs: gradients that are
// not linear in the incoming gradient alone.
type last struct{}

// SymDiff implements Spec.
func (last) SymDiff(gorgonia.Nodes, *Node, *Node) (gorgonia.Nodes, error) {
	return nil, ErrNoDerivative
}

// DiffWRT implements Spec.
func (last) DiffWRT(inputs int) []bool { return none(inputs) }

// attrTensor reads a tensor attribute that has to be there.
func attrTensor(s *Source, name string) (*pb.TensorProto, error) {
	t, err := attr[*pb.TensorProto](s, name, nil)
	if err == nil && t == nil {
		err = fmt.Errorf("attribute %s is missing", name)
	}
	return t, err
}
