// Pad: https://onnx.ai/onnx/operators/onnx__Pad.html (opsets 1, 2 with
// attributes; 11, 13 with inputs; 18 with axes; 19 with mode wrap).

package op

import (
	"fmt"
	"slices"
)

func init() { register("Pad", buildPad) }

func buildPad(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	mode, err := attr(s, "mode", "constant")
	if err != nil {
		return nil, err
	}
	var given, axes []int
	var value float32
	if s.Opset < 11 {
		name := "pads"
		if s.Opset < 2 {
			name = "paddings"
		}
		if given, err = attrInts(s, name); err != nil {
			return nil, err
		}
		value, err = attr(s, "value", float32(0))
	} else {
		if given, err = s.ints(1); err != nil {
			return nil, err
		}
		if value, err = s.scalar(2, 0); err != nil {
			return nil, err
		}
		if s.has(3) {
			axes, err = s.ints(3)
		}
	}
	if err != nil {
		return nil, err
	}
	rank := x.Dims()
	if axes, err = axesOf(axes, rank); err != nil {
		return nil, err
	}
	if len(axes) == 0 {
		for i := range rank {
			axes = append(axes, i)
		}
	}
	if len(given) != 2*len(axes) {
		return nil, fmt.Errorf("pads %v do not fit %d axes", given, len(axes))
	}
	before, after := make([]int, rank), make([]int, rank)
	for i, a := range axes {
		before[a], after[a] = given[i], given[i+len(axes)]
		in := x.Shape()[a]
		switch {
		case max(before[a], after[a]) > maxDim || min(before[a], after[a]) < -maxDim:
			return nil, fmt.Errorf("pads %v are out of range", given)
		case in+before[a]+after[a] < 1 || in+min(before[a], 0)+min(after[a], 0) < 1:
			return nil, fmt.Errorf("pads %v leave nothing of axis %d of length %d", given, a, in)
		}
	}
	if mode == "constant" {
		return one(padConstant(x, before, after, value))
	}
	return one(padIndexed(x, before, after, mode))
}

// padConstant cuts where the padding is negative and puts what is left into a
// larger tensor.
func padConstant(x *Node, before, after []int, value float32) (*Node, error) {
	shape := shapeOf(x)
	ones := slices.Repeat([]int{1}, len(shape))
	cut, at, out := make([]int, len(shape)), make([]int, len(shape)), make([]int, len(shape))
	for i, n := range shape {
		cut[i], at[i] = max(-before[i], 0), max(before[i], 0)
		shape[i] = n - cut[i] + min(after[i], 0)
		out[i] = n + before[i] + after[i]
	}
	x, err := slice(x, cut, ones, shape)
	if err != nil || slices.Equal(out, shape) {
		return x, err
	}
	return apply(Place{Start: at, Step: ones, Value: value}, out, x)
}

// padIndexed fills the padding with elements of the input.
func padIndexed(x *Node, before, after []int, mode string) (*Node, error) {
	for axis := range before {
		if before[axis] == 0 && after[axis] == 0 {
			continue
		}
		n := x.Shape()[axis]
		total := n + before[axis] + after[axis]
		if total > maxTaps {
			return nil, fmt.Errorf("axis %d becomes %d long, which is too large", axis, total)
		}
		index := make([]int, total)
		for i := range index {
			k := i - before[axis]
			switch mode {
			case "edge":
				k = min(max(k, 0), n-1)
			case "reflect":
				// The picture and its mirror image, without the border twice.
				period := max(2*(n-1), 1)
				k = ((k % period) + period) % period
				k = min(k, period-k)
			case "wrap":
				k = ((k % n) + n) % n
			default:
				return nil, fmt.Errorf("mode %q is not known, want constant, reflect, edge or wrap", mode)
			}
			index[i] = k
		}
		var err error
		if x, err = take(x, axis, index); err != nil {
			return nil, err
		}
	}
	return x, nil
}
