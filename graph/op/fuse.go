package op

import (
	"math"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Fusion happens while the graph is built: the builder of an activation or a
// sum looks at the operator that makes its operand and, where nobody else reads
// that, puts one operator in place of both. The gradient then is that of the
// fused operator, so what it saves, it saves in both directions.

// relu is the activation max(x, 0) as a fused one.
var relu = kernel.Clip{On: true, Hi: inf}

// activate applies a bounding activation to x: within the operator that makes
// it where x is an input that this node alone reads.
func (s *Source) activate(act kernel.Clip, x *Node) (*Node, error) {
	if producer, in := s.producer(x); producer != nil {
		switch d := producer.(type) {
		case BatchNorm:
			if !d.Act.On {
				d.Act = act
				return s.replace(x, d, in)
			}
		case Conv:
			if !d.Act.On {
				d.Act = act
				return s.replace(x, d, in)
			}
		case Binary:
			if d.Op == kernel.Add && slices.Equal(in[0].Shape(), in[1].Shape()) {
				return s.replace(x, Sum{Act: act}, in)
			}
		}
	}
	return unary(activation(act), x)
}

// add adds two tensors: within a batch normalisation that makes one of them
// where this node alone reads it.
func (s *Source) add(a, b *Node) (*Node, error) {
	if slices.Equal(a.Shape(), b.Shape()) {
		for _, pair := range [][2]*Node{{a, b}, {b, a}} {
			producer, in := s.producer(pair[0])
			if d, ok := producer.(BatchNorm); ok && !d.Act.On && !d.Residual {
				d.Residual = true
				return s.replace(pair[0], d, append(in, pair[1]))
			}
		}
	}
	return combine(kernel.Add, a, b)
}

// foldNorm puts a batch normalisation with stored statistics into the
// convolution that makes x, if this node alone reads that and all is known
// before a run: y = conv(x, w*f) + (bias + (b-mean)*f) with f = scale/deviation.
// param holds scale, bias and mean. It returns nil where there is none.
func (s *Source) foldNorm(x *Node, param gorgonia.Nodes, stats *Node) (*Node, error) {
	producer, in := s.producer(x)
	d, ok := producer.(Conv)
	if !ok || d.Act.On || slices.ContainsFunc(in[1:], func(n *Node) bool { return n.Op() != nil }) ||
		slices.ContainsFunc(s.Inputs[1:], func(in Input) bool { return in.Const == nil }) {
		return nil, nil
	}
	scale, bias, mean := param[0], param[1], param[2]
	e := &expr{}
	deviation := e.do(func() (*Node, error) { return apply(Row{2}, []int{d.O}, stats) }) // its inverse
	f := e.binary(kernel.Mul, scale, deviation)
	column := e.do(func() (*Node, error) { return reshape(f, []int{d.O, 1, 1, 1}) })
	w := e.binary(kernel.Mul, in[1], column)
	shift := e.unary(kernel.Neg, mean)
	if d.Bias {
		shift = e.binary(kernel.Sub, in[2], mean)
	}
	b := e.binary(kernel.Add, e.binary(kernel.Mul, shift, f), bias)
	if e.err != nil {
		return nil, e.err
	}
	d.Bias = true
	return s.replace(x, d, gorgonia.Nodes{in[0], w, b})
}

// producer returns the operator that makes x, and its operands, if x is an
// input that this node alone reads.
func (s *Source) producer(x *Node) (Spec, gorgonia.Nodes) {
	sole := slices.ContainsFunc(s.Inputs, func(in Input) bool { return in.Node == x && in.Sole })
	o, ok := x.Op().(*Op)
	if !sole || !ok {
		return nil, nil
	}
	return o.Spec, Operands(x)
}

// replace puts an operator in the place of the one that makes x.
func (s *Source) replace(x *Node, spec Spec, in gorgonia.Nodes) (*Node, error) {
	s.Replaced = x
	return apply(spec, shapeOf(x), in...)
}

// activation is a fused activation as an operator of its own.
func activation(act kernel.Clip) Unary {
	if act.Lo == 0 && math.IsInf(float64(act.Hi), 1) {
		return Unary{Op: kernel.Relu}
	}
	return Unary{Op: kernel.Clamp, Alpha: act.Lo, Beta: act.Hi}
}

// behind returns the gradient in front of a fused activation, given its output
// and the gradient behind it.
func behind(act kernel.Clip, y, dy *Node) (*Node, error) {
	if !act.On {
		return dy, nil
	}
	return apply(UnaryGrad(activation(act)), shapeOf(y), y, y, dy)
}

// Operands returns what a node reads, in order, repeated ones included.
func Operands(n *Node) gorgonia.Nodes {
	it := n.Graph().From(n.ID())
	var ns gorgonia.Nodes
	for it.Next() {
		ns = append(ns, it.Node().(*Node))
	}
	return ns
}
