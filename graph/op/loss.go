package op

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
)

// NLLLoss is the mean negative log-likelihood over labelled pixels: inputs
// logprob (N,C,H,W) and label (N,H,W) int32; output (3): the loss, the correct
// pixels, the labelled pixels.
type NLLLoss struct{ kernel.NLL }

// Name implements Spec.
func (NLLLoss) Name() string { return "NLLLoss" }

// DiffWRT implements Spec: labels have no gradient.
func (NLLLoss) DiffWRT(int) []bool { return []bool{true, false} }

// Lower implements Spec.
func (l NLLLoss) Lower(b *Block) error {
	b.Call(l.NLL, b.In(0), b.In(1), b.Out())
	return nil
}

// SymDiff implements Spec.
func (l NLLLoss) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	dx, err := apply(NLLGrad{NLL: l.NLL}, shapeOf(in[0]), in[1], output, grad)
	return gorgonia.Nodes{dx, nil}, err
}

// NLLGrad is the gradient of NLLLoss: inputs label, out (3), dout (3).
type NLLGrad struct {
	last
	kernel.NLL
}

// Name implements Spec.
func (NLLGrad) Name() string { return "NLLLoss.dx" }

// Lower implements Spec.
func (l NLLGrad) Lower(b *Block) error {
	b.Call(kernel.NLLBackward{NLL: l.NLL}, b.In(0), b.In(1), b.In(2), b.Out())
	return nil
}

// nllGrad returns the NLLGrad that makes a node, and its operands, if it is one.
func nllGrad(n *Node) (NLLGrad, gorgonia.Nodes) {
	if o, ok := n.Op().(*Op); ok {
		if l, ok := o.Spec.(NLLGrad); ok {
			return l, Operands(n)
		}
	}
	return NLLGrad{}, nil
}

// LogSoftmaxNLLGrad is NLLGrad followed by SoftmaxGrad: inputs y, label, out (3),
// dout (3).
type LogSoftmaxNLLGrad struct {
	last
	kernel.NLL
}

// Name implements Spec.
func (LogSoftmaxNLLGrad) Name() string { return "LogSoftmax + NLLLoss.dx" }

// Lower implements Spec.
func (l LogSoftmaxNLLGrad) Lower(b *Block) error {
	b.Call(kernel.LogSoftmaxNLLBackward{NLL: l.NLL}, b.all()...)
	return nil
}

// NLL returns the loss (3) of log-probabilities (N,C,H,W) against int32 labels
// (N,H,W); see kernel.NLL.
func NLL(logprob, label *Node, ignore int32) (*Node, error) {
	px, err := pixelsOf(logprob, label, ignore)
	if err != nil {
		return nil, err
	}
	return apply(NLLLoss{kernel.NLL(px)}, []int{3}, logprob, label)
}

// pixelsOf checks that log-probabilities and labels fit.
func pixelsOf(logprob, label *Node, ignore int32) (kernel.Pixels, error) {
	s, l := logprob.Shape(), label.Shape()
	if len(s) != 4 || len(l) != 3 || l[0] != s[0] || l[1] != s[2] || l[2] != s[3] {
		return kernel.Pixels{}, fmt.Errorf("log-probabilities of shape %v do not fit labels of shape %v, want (N,C,H,W) and (N,H,W)", s, l)
	}
	if label.Dtype() != tensor.Int32 {
		return kernel.Pixels{}, fmt.Errorf("labels have type %v, want int32", label.Dtype())
	}
	return kernel.Pixels{N: s[0], C: s[1], H: s[2], W: s[3], Ignore: ignore}, nil
}

// Weighted is a weighted sum of tensors of one shape.
type Weighted struct{ Weights []float32 }

// Name implements Spec.
func (Weighted) Name() string { return "WeightedSum" }

// DiffWRT implements Spec.
func (Weighted) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (w Weighted) Lower(b *Block) error {
	n := kernel.Len(b.OutShape())
	args := make([]Ref, 0, len(w.Weights)+1)
	for i, weight := range w.Weights {
		r := b.In(i)
		if weight != 1 {
			r = b.Temp(n * kernel.Float32.Size())
			b.Call(kernel.Unary{Op: kernel.Affine, Alpha: weight, Len: n}, b.In(i), r)
		}
		args = append(args, r)
	}
	b.Call(kernel.AddN{Inputs: len(args), Len: n}, append(args, b.Out())...)
	return nil
}

// SymDiff implements Spec.
func (w Weighted) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	r := make(gorgonia.Nodes, len(in))
	for i := range r {
		var err error
		if r[i], err = scale(grad, w.Weights[i]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// WeightedSum returns the weighted sum of losses (3); its first element is the
// total loss.
func WeightedSum(weights []float32, losses ...*Node) (*Node, error) {
	if len(weights) != len(losses) || len(losses) == 0 {
		return nil, fmt.Errorf("%d weights for %d losses", len(weights), len(losses))
	}
	for _, l := range losses {
		if l.Dims() != 1 || l.Shape()[0] != 3 {
			return nil, fmt.Errorf("loss has shape %v, want (3)", l.Shape())
		}
	}
	if len(losses) == 1 && weights[0] == 1 {
		return losses[0], nil
	}
	return apply(Weighted{weights}, []int{3}, losses...)
}
