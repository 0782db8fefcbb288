package op

import (
	"fmt"
	"strings"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

// PixelLoss is a loss with settings: inputs logprob (N,C,H,W) and label (N,H,W)
// int32; output (3): the loss, the correct pixels, the labelled pixels.
type PixelLoss struct{ kernel.Loss }

// Name implements Spec.
func (l PixelLoss) Name() string { return strings.TrimPrefix(fmt.Sprintf("%T", l.Loss), "kernel.") }

// DiffWRT implements Spec: labels have no gradient.
func (PixelLoss) DiffWRT(int) []bool { return []bool{true, false} }

// Lower implements Spec.
func (l PixelLoss) Lower(b *Block) error {
	b.Call(l.Loss, b.In(0), b.In(1), b.Out())
	return nil
}

// SymDiff implements Spec.
func (l PixelLoss) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := apply(PixelLossGrad{Loss: l.Loss}, shapeOf(in[0]), in[0], in[1], grad)
	return gorgonia.Nodes{dx, nil}, err
}

// PixelLossGrad is the gradient of PixelLoss: inputs logprob, label, dout (3).
type PixelLossGrad struct {
	last
	kernel.Loss
}

// Name implements Spec.
func (l PixelLossGrad) Name() string { return PixelLoss{l.Loss}.Name() + ".dx" }

// Lower implements Spec.
func (l PixelLossGrad) Lower(b *Block) error {
	b.Call(kernel.LossBackward{Loss: l.Loss}, b.In(0), b.In(1), b.In(2), b.Out())
	return nil
}

// LossOf returns the loss (3) of log-probabilities (N,C,H,W) against int32
// labels (N,H,W), for a loss with settings and no size yet. Plain cross-entropy
// is NLL.
func LossOf(loss kernel.Loss, logprob, label *Node, ignore int32) (*Node, error) {
	if d, ok := loss.(kernel.CrossEntropy); ok && len(d.Weights) == 0 && d.Smoothing == 0 {
		return NLL(logprob, label, ignore)
	}
	px, err := pixelsOf(logprob, label, ignore)
	if err != nil {
		return nil, err
	}
	return apply(PixelLoss{loss.On(px)}, []int{3}, logprob, label)
}
