// graft.AdaptiveAveragePool is graft's own function: average pooling to a fixed
// number of cells at any input size. Its body is standard ONNX; graft
// recognises it by name and uses one kernel.

package op

import "fmt"

func init() { register("graft.AdaptiveAveragePool", buildAdaptiveAveragePool) }

func buildAdaptiveAveragePool(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	size, err := attrList(s, "output_size", 2, 1, 1, maxDim)
	if err != nil {
		return nil, err
	}
	in := shapeOf(x)
	if len(in) != 4 {
		return nil, fmt.Errorf("input has shape %v, want (N,C,H,W)", in)
	}
	for i, n := range size {
		if n > maxTaps/8 || max(n, in[2+i]) > maxTaps/2 {
			return nil, fmt.Errorf("output_size %v is too large", size)
		}
	}
	r := Resample{averageTaps(in[2], size[0]), averageTaps(in[3], size[1])}
	return one(apply(r, []int{in[0], in[1], size[0], size[1]}, x))
}
