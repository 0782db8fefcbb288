// Clip: https://onnx.ai/onnx/operators/onnx__Clip.html (opsets 1, 6 with
// attributes; 11, 12, 13 with inputs).

package op

import "github.com/graft-onnx/graft/graph/kernel"

func init() { register("Clip", buildClip) }

func buildClip(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	act := kernel.Clip{On: true}
	if s.Opset < 11 {
		if act.Lo, err = attr(s, "min", -inf); err != nil {
			return nil, err
		}
		if act.Hi, err = attr(s, "max", inf); err != nil {
			return nil, err
		}
		return one(s.activate(act, x))
	}
	// A bound that is computed, not constant, is a tensor of its own.
	bounds := [2]float32{-inf, inf}
	for i, op := range []kernel.BinaryOp{kernel.Max, kernel.Min} {
		if s.has(i+1) && s.Inputs[i+1].Const == nil {
			bound, err := s.node(i + 1)
			if err != nil {
				return nil, err
			}
			if x, err = combine(op, x, bound); err != nil {
				return nil, err
			}
			continue
		}
		if bounds[i], err = s.scalar(i+1, bounds[i]); err != nil {
			return nil, err
		}
	}
	if bounds == [2]float32{-inf, inf} {
		return []*Node{x}, nil
	}
	act.Lo, act.Hi = bounds[0], bounds[1]
	return one(s.activate(act, x))
}
