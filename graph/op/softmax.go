// Softmax, LogSoftmax: https://onnx.ai/onnx/operators/onnx__Softmax.html
// (opsets 1 and 11 over everything from the axis on, default axis 1; opset 13
// along one axis, default the last one).

package op

import (
	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("Softmax", softmaxBuilder(false))
	register("LogSoftmax", softmaxBuilder(true))
}

// Softmax normalises exponentials, or their logarithms.
type Softmax struct{ kernel.Softmax }

// Name implements Spec.
func (s Softmax) Name() string {
	if s.Log {
		return "LogSoftmax"
	}
	return "Softmax"
}

// DiffWRT implements Spec.
func (Softmax) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (s Softmax) Lower(b *Block) error {
	b.Call(s.Softmax, b.In(0), b.Out())
	b.MayClobber(0)
	return nil
}

// SymDiff implements Spec. Where all of the gradient is that of an NLLLoss, one
// operator is both.
func (s Softmax) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	if loss, of := nllGrad(grad); s.Log && s.Inner == 1 && of != nil && loss.C == s.Axis {
		dx, err := apply(LogSoftmaxNLLGrad{NLL: loss.NLL}, shapeOf(in[0]), append(gorgonia.Nodes{output}, of...)...)
		return gorgonia.Nodes{dx}, err
	}
	dx, err := apply(SoftmaxGrad{Softmax: s.Softmax}, shapeOf(in[0]), output, grad)
	return gorgonia.Nodes{dx}, err
}

// SoftmaxGrad is the gradient of Softmax: inputs y and dy.
type SoftmaxGrad struct {
	last
	kernel.Softmax
}

// Name implements Spec.
func (s SoftmaxGrad) Name() string { return Softmax{s.Softmax}.Name() + ".dx" }

// Lower implements Spec.
func (s SoftmaxGrad) Lower(b *Block) error {
	b.Call(kernel.SoftmaxBackward{Softmax: s.Softmax}, b.In(0), b.In(1), b.Out())
	b.MayClobber(1)
	return nil
}

func softmaxBuilder(log bool) Builder {
	return func(s *Source) ([]*Node, error) {
		x, err := s.node(0)
		if err != nil {
			return nil, err
		}
		shape := shapeOf(x)
		if len(shape) == 0 {
			shape = []int{1}
		}
		def := -1
		if s.Opset < 13 {
			def = 1
		}
		axis, err := attrInt(s, "axis", def)
		if err != nil {
			return nil, err
		}
		if s.Opset < 13 && axis == len(shape) {
			// Everything from the end on: one element each.
			return one(apply(Softmax{kernel.Softmax{Outer: kernel.Len(shape), Axis: 1, Inner: 1, Log: log}}, shapeOf(x), x))
		}
		if axis, err = axisOf(axis, len(shape)); err != nil {
			return nil, err
		}
		d := kernel.Softmax{Log: log}
		d.Outer, d.Axis, d.Inner = around(shape, axis)
		if s.Opset < 13 {
			d.Outer, d.Axis, d.Inner = kernel.Len(shape[:axis]), kernel.Len(shape[axis:]), 1
			if len(shape) == 4 && axis >= 2 {
				// The channels, which the set leaves out, lie innermost.
				d.Outer, d.Inner = d.Outer/shape[1], shape[1]
			}
		}
		return one(apply(Softmax{d}, shapeOf(x), x))
	}
}
