// InstanceNormalization:
// https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html (opsets 1, 6,
// 22).

package op

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() { register("InstanceNormalization", buildInstanceNorm) }

// buildInstanceNorm treats every channel of every picture as a channel of its
// own of one picture, and normalises the batch of it.
func buildInstanceNorm(s *Source) ([]*Node, error) {
	var in [3]*Node
	for i := range in {
		var err error
		if in[i], err = s.node(i); err != nil {
			return nil, err
		}
	}
	eps, err := attr(s, "epsilon", float32(1e-5))
	if err != nil {
		return nil, err
	}
	x := in[0]
	shape := shapeOf(x)
	if len(shape) < 3 {
		return nil, fmt.Errorf("input has shape %v, want (N,C,...)", shape)
	}
	n, c := shape[0], shape[1]
	pixels := kernel.Len(shape[2:])
	for i, p := range in[1:] {
		if p.Dims() != 1 || p.Shape()[0] != c {
			return nil, fmt.Errorf("input %d has shape %v, want (%d)", i+1, p.Shape(), c)
		}
		if p, err = expand(p, []int{n, c}); err != nil {
			return nil, err
		}
		if in[1+i], err = reshape(p, []int{n * c}); err != nil {
			return nil, err
		}
	}
	if x, err = reshape(x, []int{1, n * c, 1, pixels}); err != nil {
		return nil, err
	}
	stats, err := apply(BatchNormStats{BatchNormStats: kernel.BatchNormStats{N: 1, C: n * c, H: 1, W: pixels, Eps: eps}}, []int{3, n * c}, x)
	if err != nil {
		return nil, err
	}
	y, err := apply(BatchNorm{BatchNorm: kernel.BatchNorm{N: 1, C: n * c, H: 1, W: pixels}}, shapeOf(x), x, in[1], in[2], stats)
	if err != nil {
		return nil, err
	}
	return one(reshape(y, shape))
}
