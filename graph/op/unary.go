// Functions of one element.
// Relu (opsets 1, 6, 13, 14), LeakyRelu (1, 6, 16), Elu (1, 6, 22), Sigmoid
// (1, 6, 13), HardSigmoid (1, 6, 22), HardSwish (14, 22), Tanh, Exp, Log, Sqrt,
// Abs, Neg, Reciprocal (1, 6, 13), Erf (9, 13), Softplus (1, 22), Softsign (1,
// 22), Selu (1, 6, 22), Celu (12), Mish (18, 22), Floor, Ceil (1, 6, 13), Round
// (11, 22): https://onnx.ai/onnx/operators/onnx__Relu.html and so on.

package op

import (
	"math"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	for name, op := range map[string]kernel.UnaryOp{
		"Sigmoid": kernel.Sigmoid, "HardSwish": kernel.HardSwish, "Tanh": kernel.Tanh,
		"Exp": kernel.Exp, "Log": kernel.Log, "Sqrt": kernel.Sqrt, "Abs": kernel.Abs, "Neg": kernel.Neg,
		"Reciprocal": kernel.Reciprocal, "Erf": kernel.Erf, "Softplus": kernel.Softplus,
		"Floor": kernel.Floor, "Ceil": kernel.Ceil, "Round": kernel.Round,
	} {
		register(name, unaryBuilder(op, 0, 0))
	}
	register("Relu", buildRelu)
	register("LeakyRelu", unaryBuilder(kernel.LeakyRelu, 0.01, 0))
	register("Elu", unaryBuilder(kernel.Elu, 1, 0))
	register("HardSigmoid", unaryBuilder(kernel.HardSigmoid, 0.2, 0.5))
	register("Softsign", buildSoftsign)
	register("Selu", buildSelu)
	register("Celu", buildCelu)
	register("Mish", buildMish)
}

// Unary applies a function to every element; Alpha and Beta are the
// function's parameters (see kernel.Unary).
type Unary struct {
	Op          kernel.UnaryOp
	Alpha, Beta float32
}

var unaryNames = [...]string{"Affine", "Relu", "Clip", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish",
	"Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Reciprocal", "Erf", "Softplus", "Floor", "Ceil", "Round"}

// Name implements Spec.
func (u Unary) Name() string { return unaryNames[u.Op] }

// DiffWRT implements Spec: the derivative of the roundings is zero everywhere
// it exists.
func (u Unary) DiffWRT(inputs int) []bool {
	switch u.Op {
	case kernel.Floor, kernel.Ceil, kernel.Round:
		return none(inputs)
	}
	return all(inputs)
}

// Lower implements Spec.
func (u Unary) Lower(b *Block) error {
	b.Call(kernel.Unary{Op: u.Op, Alpha: u.Alpha, Beta: u.Beta, Len: kernel.Len(b.OutShape())}, b.In(0), b.Out())
	b.MayClobber(0)
	return nil
}

// SymDiff implements Spec.
func (u Unary) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	x := in[0]
	var dx *Node
	var err error
	switch u.Op {
	case kernel.Floor, kernel.Ceil, kernel.Round:
		return gorgonia.Nodes{nil}, nil
	case kernel.Affine:
		dx, err = scale(grad, u.Alpha)
	case kernel.Neg:
		dx, err = unary(u, grad)
	case kernel.Relu, kernel.Clamp:
		// The output says as much about the corners as the input does, and
		// without the input its buffer is free for the output.
		dx, err = apply(UnaryGrad(u), shapeOf(x), output, output, grad)
	default:
		dx, err = apply(UnaryGrad(u), shapeOf(x), x, output, grad)
	}
	return gorgonia.Nodes{dx}, err
}

// UnaryGrad is the gradient of Unary: inputs x, y and dy, output dx.
type UnaryGrad Unary

// Name implements Spec.
func (u UnaryGrad) Name() string { return unaryNames[u.Op] + ".dx" }

// DiffWRT implements Spec.
func (u UnaryGrad) DiffWRT(inputs int) []bool { return none(inputs) }

// Lower implements Spec.
func (u UnaryGrad) Lower(b *Block) error {
	d := kernel.UnaryBackward{Op: u.Op, Alpha: u.Alpha, Beta: u.Beta, Len: kernel.Len(b.OutShape())}
	b.Call(d, b.In(0), b.In(1), b.In(2), b.Out())
	b.MayClobber(2)
	return nil
}

// SymDiff implements Spec.
func (UnaryGrad) SymDiff(gorgonia.Nodes, *Node, *Node) (gorgonia.Nodes, error) {
	return nil, ErrNoDerivative
}

func unary(u Unary, x *Node) (*Node, error) { return apply(u, shapeOf(x), x) }

// unaryOf is unary as a function of the tensor alone.
func unaryOf(op kernel.UnaryOp) func(*Node) (*Node, error) {
	return func(x *Node) (*Node, error) { return unary(Unary{Op: op}, x) }
}

// affine returns alpha*x + beta, x itself where that changes nothing.
func affine(x *Node, alpha, beta float32) (*Node, error) {
	if alpha == 1 && beta == 0 {
		return x, nil
	}
	return unary(Unary{Op: kernel.Affine, Alpha: alpha, Beta: beta}, x)
}

func scale(x *Node, by float32) (*Node, error) { return affine(x, by, 0) }

// unaryBuilder builds a function whose parameters are the attributes alpha and
// beta.
func unaryBuilder(op kernel.UnaryOp, alpha, beta float32) Builder {
	return func(s *Source) ([]*Node, error) {
		x, err := s.node(0)
		if err != nil {
			return nil, err
		}
		u := Unary{Op: op}
		if alpha != 0 || beta != 0 {
			if u.Alpha, err = attr(s, "alpha", alpha); err != nil {
				return nil, err
			}
		}
		if beta != 0 {
			if u.Beta, err = attr(s, "beta", beta); err != nil {
				return nil, err
			}
		}
		return one(unary(u, x))
	}
}

func buildRelu(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	return one(s.activate(relu, x))
}

// buildSoftsign: x / (1 + |x|).
func buildSoftsign(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	d, err := unary(Unary{Op: kernel.Abs}, x)
	if err != nil {
		return nil, err
	}
	if d, err = affine(d, 1, 1); err != nil {
		return nil, err
	}
	return one(combine(kernel.Div, x, d))
}

// buildSelu: gamma * Elu(x).
func buildSelu(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	alpha, err := attr(s, "alpha", float32(1.67326319217681884765625))
	if err != nil {
		return nil, err
	}
	gamma, err := attr(s, "gamma", float32(1.05070102214813232421875))
	if err != nil {
		return nil, err
	}
	y, err := unary(Unary{Op: kernel.Elu, Alpha: alpha}, x)
	if err != nil {
		return nil, err
	}
	return one(scale(y, gamma))
}

// buildCelu: max(0,x) + min(0, alpha*(exp(x/alpha)-1)) = alpha * Elu(x/alpha).
func buildCelu(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	alpha, err := attr(s, "alpha", float32(1))
	if err != nil {
		return nil, err
	}
	y, err := scale(x, 1/alpha)
	if err != nil {
		return nil, err
	}
	if y, err = unary(Unary{Op: kernel.Elu, Alpha: 1}, y); err != nil {
		return nil, err
	}
	return one(scale(y, alpha))
}

// buildMish: x * tanh(softplus(x)).
func buildMish(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	y, err := unary(Unary{Op: kernel.Softplus}, x)
	if err != nil {
		return nil, err
	}
	if y, err = unary(Unary{Op: kernel.Tanh}, y); err != nil {
		return nil, err
	}
	return one(combine(kernel.Mul, x, y))
}

var inf = float32(math.Inf(1))
