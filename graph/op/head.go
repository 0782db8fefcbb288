package op

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Probabilities resizes log-probabilities (N,C,h,w) to (N,C,height,width),
// bilinear with half-pixel centres (PyTorch's align_corners=False), and
// normalises over the classes. Log-probabilities differ from logits by a
// number per pixel that the weights of a pixel's neighbours, which sum to 1,
// carry over to every class alike, so the result is the softmax of the resized
// logits.
func Probabilities(logprob *Node, height, width int) (*Node, error) {
	s := shapeOf(logprob)
	if len(s) != 4 {
		return nil, fmt.Errorf("log-probabilities have shape %v, want (N,C,H,W)", s)
	}
	r := resizing{mode: "linear", coordinates: "half_pixel", policy: "stretch"}
	x, err := r.apply(logprob, nil, []int{s[0], s[1], height, width}, nil)
	if err != nil {
		return nil, err
	}
	d := kernel.Softmax{}
	d.Outer, d.Axis, d.Inner = around(shapeOf(x), 1)
	return apply(Softmax{d}, shapeOf(x), x)
}
