// ConvTranspose: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html
// (opsets 1, 11, 22).

package op

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() { register("ConvTranspose", buildConvTranspose) }

// buildConvTranspose makes a transposed convolution of x (N,C,H,W) and w
// (C,O/G,KH,KW): it is the gradient by data of the convolution from O to C
// channels, so that one's Spec serves.
func buildConvTranspose(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	w, err := s.node(1)
	if err != nil {
		return nil, err
	}
	rank := x.Dims()
	if w.Dims() != rank || rank < 3 {
		return nil, fmt.Errorf("input of shape %v does not fit weights of shape %v", x.Shape(), w.Shape())
	}
	axes := rank - 2
	win, err := window(s, axes, 2, shapeOf(w)[2:])
	if err != nil {
		return nil, err
	}
	group, err := attrInt(s, "group", 1)
	if err != nil {
		return nil, err
	}
	extra, err := attrList(s, "output_padding", axes, 0, 0, maxDim)
	if err != nil {
		return nil, err
	}
	wanted, err := attrInts(s, "output_shape")
	if err != nil {
		return nil, err
	}
	if len(wanted) > axes { // some exporters write N and C too
		wanted = wanted[len(wanted)-axes:]
	}
	if wanted != nil && (len(wanted) != axes || slices.Min(wanted) < 1) {
		return nil, fmt.Errorf("output_shape %v does not fit %d spatial axes", wanted, axes)
	}
	if axes == 1 {
		extra = []int{0, extra[0]}
		if wanted != nil {
			wanted = []int{1, wanted[0]}
		}
	}
	if x, err = spatial(x); err != nil {
		return nil, err
	}
	if w, err = spatial(w); err != nil {
		return nil, err
	}
	xs, ws := x.Shape(), w.Shape()
	g := kernel.Geometry{
		N: xs[0], O: xs[1], OH: xs[2], OW: xs[3], C: ws[1] * group, KH: ws[2], KW: ws[3], Groups: group,
		StrideH: win.stride[0], StrideW: win.stride[1], DilationH: win.dilation[0], DilationW: win.dilation[1],
	}
	if group < 1 || ws[0] != g.O || g.O%group != 0 {
		return nil, fmt.Errorf("weights of shape %v and group %d do not fit an input of shape %v", ws, group, xs)
	}
	if g.PadTop, g.PadBottom, g.H, err = win.transposed(0, g.OH, extra, wanted); err != nil {
		return nil, err
	}
	if g.PadLeft, g.PadRight, g.W, err = win.transposed(1, g.OW, extra, wanted); err != nil {
		return nil, err
	}
	// Where the output is longer than its windows reach by a stride and more,
	// padding would be negative: those zeros come behind the convolution.
	zeros := []int{0, 0, max(-g.PadBottom, 0), max(-g.PadRight, 0)}
	g.H, g.PadBottom = g.H-zeros[2], g.PadBottom+zeros[2]
	g.W, g.PadRight = g.W-zeros[3], g.PadRight+zeros[3]
	y, err := apply(ConvData{g}, g.X(), x, w)
	if err != nil {
		return nil, err
	}
	if y, err = padConstant(y, make([]int, 4), zeros, 0); err != nil {
		return nil, err
	}
	if s.has(2) {
		bias, err := s.node(2)
		if err != nil {
			return nil, err
		}
		if bias.Dims() != 1 || bias.Shape()[0] != g.C {
			return nil, fmt.Errorf("bias has shape %v, want (%d)", bias.Shape(), g.C)
		}
		if bias, err = reshape(bias, []int{1, g.C, 1, 1}); err != nil {
			return nil, err
		}
		if y, err = combine(kernel.Add, y, bias); err != nil {
			return nil, err
		}
	}
	return one(unspatial(y, rank))
}

// transposed works out one axis of a transposed convolution of n inputs: the
// padding that the output loses, and its length.
func (w *slide) transposed(axis, n int, extra, wanted []int) (before, after, out int, err error) {
	span := (w.kernel[axis]-1)*w.dilation[axis] + 1
	full := (n-1)*w.stride[axis] + span + extra[axis]
	before, after = w.before[axis], w.after[axis]
	target := -1
	switch {
	case wanted != nil:
		target = wanted[axis]
	case w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER":
		target = n * w.stride[axis]
	case w.auto == "VALID":
		before, after = 0, 0
	}
	if target > 0 {
		total := max(full-target, 0)
		before, after = total/2, total-total/2
		if w.auto != "SAME_UPPER" {
			before, after = after, before
		}
		// A longer output than the windows reach ends in zeros.
		full = max(full, target)
	}
	out = full - before - after
	if out < 1 || out > maxDim {
		return 0, 0, 0, fmt.Errorf("output of length %d from %d inputs", out, n)
	}
	// What the output is longer than the windows reach is no padding; below one
	// stride it changes nothing, since no window fits into it.
	if rest := full - ((n-1)*w.stride[axis] + span); rest >= w.stride[axis] {
		after -= rest
	}
	return before, after, out, nil
}
