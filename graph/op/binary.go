// Functions of two elements, with broadcasting.
// Add, Sub, Mul, Div: https://onnx.ai/onnx/operators/onnx__Add.html (opsets 1
// and 6 broadcast by attributes; 7, 13, 14 as numpy does).
// Pow (1, 7, 12, 13, 15), PRelu (1, 6, 7, 9, 16).
// Sum, Mean, Max, Min take any number of inputs (opsets 1, 6, 8, 13).

package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("Add", binaryBuilder(kernel.Add))
	register("Sub", binaryBuilder(kernel.Sub))
	register("Mul", binaryBuilder(kernel.Mul))
	register("Div", binaryBuilder(kernel.Div))
	register("PRelu", binaryBuilder(kernel.PRelu))
	register("Pow", buildPow)
	register("Max", variadic(kernel.Max))
	register("Min", variadic(kernel.Min))
	register("Sum", buildSum)
	register("Mean", buildMean)
}

// Binary combines two tensors element by element; both broadcast to the output.
type Binary struct{ Op kernel.BinaryOp }

var binaryNames = [...]string{"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Greater", "GreaterOrEqual", "Equal"}

// Name implements Spec.
func (d Binary) Name() string { return binaryNames[d.Op] }

// DiffWRT implements Spec.
func (d Binary) DiffWRT(inputs int) []bool {
	switch d.Op {
	case kernel.Greater, kernel.GreaterEqual, kernel.Equal:
		return none(inputs)
	}
	return all(inputs)
}

// Lower implements Spec.
func (d Binary) Lower(b *Block) error {
	out := align(b.OutShape(), 1)
	shapes := [2][]int{}
	refs := [2]Ref{}
	for i := range shapes {
		shapes[i] = align(b.InShape(i), len(out))
		refs[i] = fit(b, b.In(i), b.InShape(i), shapes[i])
	}
	for i := range shapes {
		if slices.Equal(shapes[i], out) && refs[i] == b.In(i) {
			b.MayClobber(i)
			break
		}
	}
	b.Call(kernel.Binary{Op: d.Op, A: shapes[0], B: shapes[1], Out: out}, refs[0], refs[1], b.Out())
	return nil
}

// SymDiff implements Spec.
func (d Binary) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	if !d.DiffWRT(1)[0] {
		return gorgonia.Nodes{nil, nil}, nil
	}
	a, b := in[0], in[1]
	da, db, err := d.wide(a, b, output, grad)
	if err != nil {
		return nil, err
	}
	return both(
		func() (*Node, error) { return reduceTo(da, shapeOf(a)) },
		func() (*Node, error) { return reduceTo(db, shapeOf(b)) },
	)
}

// wide returns both gradients in the output's shape.
func (d Binary) wide(a, b, y, dy *Node) (da, db *Node, err error) {
	e := &expr{}
	switch d.Op {
	case kernel.Add:
		da, db = dy, dy
	case kernel.Sub:
		da, db = dy, e.unary(kernel.Neg, dy)
	case kernel.Mul:
		da, db = e.binary(kernel.Mul, dy, b), e.binary(kernel.Mul, dy, a)
	case kernel.Div:
		da = e.binary(kernel.Div, dy, b)
		db = e.unary(kernel.Neg, e.binary(kernel.Mul, da, y))
	case kernel.Max, kernel.Min:
		// The larger (smaller) takes the gradient, equals share it.
		first, second := a, b
		if d.Op == kernel.Min {
			first, second = b, a
		}
		wins := e.binary(kernel.Greater, first, second)
		half := e.affine(e.binary(kernel.Equal, a, b), 0.5, 0)
		da = e.binary(kernel.Mul, e.binary(kernel.Add, wins, half), dy)
		db = e.binary(kernel.Sub, dy, da)
	case kernel.Pow:
		da = e.binary(kernel.Mul, e.binary(kernel.Mul, dy, b), e.binary(kernel.Pow, a, e.affine(b, 1, -1)))
		db = e.binary(kernel.Mul, e.binary(kernel.Mul, dy, y), e.unary(kernel.Log, a))
	case kernel.PRelu:
		zero := e.do(func() (*Node, error) { return Fill(a.Graph(), []int{1}, 0) })
		positive := e.binary(kernel.Greater, a, zero)
		steep := e.binary(kernel.Mul, dy, b)
		da = e.binary(kernel.Add, steep, e.binary(kernel.Mul, positive, e.binary(kernel.Sub, dy, steep)))
		db = e.binary(kernel.Mul, dy, e.binary(kernel.Min, a, zero))
	default:
		return nil, nil, ErrNoDerivative
	}
	return da, db, e.err
}

// expr builds expressions and keeps the first error.
type expr struct{ err error }

func (e *expr) do(f func() (*Node, error)) *Node {
	if e.err != nil {
		return nil
	}
	n, err := f()
	if err != nil {
		e.err = err
	}
	return n
}

func (e *expr) binary(op kernel.BinaryOp, a, b *Node) *Node {
	return e.do(func() (*Node, error) { return combine(op, a, b) })
}

func (e *expr) unary(op kernel.UnaryOp, x *Node) *Node {
	return e.do(func() (*Node, error) { return unary(Unary{Op: op}, x) })
}

func (e *expr) affine(x *Node, alpha, beta float32) *Node {
	return e.do(func() (*Node, error) { return affine(x, alpha, beta) })
}

// combine applies a function of two elements with numpy's broadcasting.
func combine(op kernel.BinaryOp, a, b *Node) (*Node, error) {
	out, err := broadcast(shapeOf(a), shapeOf(b))
	if err != nil {
		return nil, err
	}
	return apply(Binary{op}, out, a, b)
}

// operands reads the two inputs; before opset 7 the second one is placed at
// attribute axis of the first.
func operands(s *Source) (a, b *Node, err error) {
	if a, err = s.node(0); err != nil {
		return nil, nil, err
	}
	if b, err = s.node(1); err != nil {
		return nil, nil, err
	}
	if s.Opset >= 7 {
		return a, b, nil
	}
	axis, err := attrInt(s, "axis", a.Dims()-b.Dims())
	if err != nil {
		return nil, nil, err
	}
	if s.Type == "PRelu" && b.Dims() == 1 && b.Shape()[0] > 1 {
		axis = 1 // one slope for each channel
	}
	shape := shapeOf(b)
	if axis < 0 || axis+len(shape) > a.Dims() {
		return nil, nil, fmt.Errorf("axis %d does not fit shapes %v and %v", axis, a.Shape(), b.Shape())
	}
	for len(shape) < a.Dims()-axis {
		shape = append(shape, 1)
	}
	b, err = reshape(b, shape)
	return a, b, err
}

func binaryBuilder(op kernel.BinaryOp) Builder {
	return func(s *Source) ([]*Node, error) {
		a, b, err := operands(s)
		if err != nil {
			return nil, err
		}
		if op == kernel.PRelu {
			// The slope broadcasts to x, never x to the slope.
			if out, err := broadcast(shapeOf(a), shapeOf(b)); err != nil || !slices.Equal(out, shapeOf(a)) {
				return nil, fmt.Errorf("slope of shape %v does not broadcast to %v", b.Shape(), a.Shape())
			}
		}
		if op == kernel.Add {
			return one(s.add(a, b))
		}
		return one(combine(op, a, b))
	}
}

// buildPow takes the shortcuts for constant exponents that have an exact and
// faster form.
func buildPow(s *Source) ([]*Node, error) {
	a, b, err := operands(s)
	if err != nil {
		return nil, err
	}
	if s.Inputs[1].Const != nil && kernel.Len(b.Shape()) == 1 && b.Dims() <= a.Dims() {
		p, err := s.floats(1)
		if err != nil {
			return nil, err
		}
		switch p[0] {
		case 1:
			return []*Node{a}, nil
		case 2:
			return one(combine(kernel.Mul, a, a))
		case 0.5:
			return one(unary(Unary{Op: kernel.Sqrt}, a))
		case -1:
			return one(unary(Unary{Op: kernel.Reciprocal}, a))
		}
	}
	return one(combine(kernel.Pow, a, b))
}

// fold combines the inputs from left to right.
func fold(op kernel.BinaryOp, in []*Node) (*Node, error) {
	y := in[0]
	for _, x := range in[1:] {
		var err error
		if y, err = combine(op, y, x); err != nil {
			return nil, err
		}
	}
	return y, nil
}

func variadic(op kernel.BinaryOp) Builder {
	return func(s *Source) ([]*Node, error) {
		in, err := s.nodes()
		if err != nil {
			return nil, err
		}
		return one(fold(op, in))
	}
}

// sum adds tensors: in one kernel where no one broadcasts.
func sum(in []*Node) (*Node, error) {
	for _, x := range in[1:] {
		if !slices.Equal(shapeOf(x), shapeOf(in[0])) {
			return fold(kernel.Add, in)
		}
	}
	return AddN(in...)
}

func buildSum(s *Source) ([]*Node, error) {
	in, err := s.nodes()
	if err != nil {
		return nil, err
	}
	return one(sum(in))
}

func buildMean(s *Source) ([]*Node, error) {
	in, err := s.nodes()
	if err != nil {
		return nil, err
	}
	y, err := sum(in)
	if err != nil {
		return nil, err
	}
	return one(scale(y, 1/float32(len(in))))
}
