// Dropout: https://onnx.ai/onnx/operators/onnx__Dropout.html (opsets 1, 6, 7,
// 10 with attribute ratio; 12, 13, 22 with inputs ratio and training_mode).
// graft.ChannelDropout is graft's own function: it drops whole channels, as
// PyTorch's Dropout2d does, and is the identity in other runtimes.

package op

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("Dropout", buildDropout)
	register("graft.ChannelDropout", buildChannelDropout)
}

// Dropout drops elements or channels at random; the same seed, step and stream
// drop the same ones.
type Dropout struct{ kernel.Dropout }

// Name implements Spec.
func (Dropout) Name() string { return "Dropout" }

// DiffWRT implements Spec.
func (Dropout) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (d Dropout) Lower(b *Block) error {
	b.Call(d.Dropout, b.In(0), b.RNG(), b.Out())
	b.MayClobber(0)
	return nil
}

// SymDiff implements Spec: the gradient drops what the forward pass dropped.
func (d Dropout) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := apply(d, shapeOf(in[0]), grad)
	return gorgonia.Nodes{dx}, err
}

func dropout(s *Source, ratio float32, channel bool) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	if !(ratio >= 0 && ratio < 1) {
		return nil, fmt.Errorf("ratio %g is out of range, want 0 to 1 (exclusive)", ratio)
	}
	// The mask, the second output, is boolean: nobody can use it.
	r := make([]*Node, max(s.Outputs, 1))
	r[0] = x
	if !s.Env.Training || ratio == 0 {
		return r, nil
	}
	shape := shapeOf(x)
	if channel && len(shape) != 4 {
		return nil, fmt.Errorf("input has shape %v, want (N,C,H,W)", shape)
	}
	r[0], err = apply(Dropout{kernel.Dropout{Shape: shape, Ratio: ratio, Channel: channel, Stream: s.Env.Stream()}}, shape, x)
	return r, err
}

func buildDropout(s *Source) ([]*Node, error) {
	ratio, err := attr(s, "ratio", float32(0.5))
	if err != nil {
		return nil, err
	}
	if s.Opset >= 12 {
		if ratio, err = s.scalar(1, 0.5); err != nil {
			return nil, err
		}
	}
	return dropout(s, ratio, false)
}

func buildChannelDropout(s *Source) ([]*Node, error) {
	ratio, err := attr(s, "ratio", float32(0.5))
	if err != nil {
		return nil, err
	}
	return dropout(s, ratio, true)
}
