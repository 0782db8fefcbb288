package op

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
)

// slide is the sliding window of convolutions and poolings, as the attributes
// kernel_shape, strides, dilations, pads, auto_pad and ceil_mode describe it.
// Lists are for the spatial axes, one or two of them.
type slide struct {
	kernel, stride, dilation []int
	before, after            []int
	auto                     string
	ceil                     bool
}

// window reads the attributes for up to limit spatial axes; size is the window
// where the operator knows it from its weights, nil where kernel_shape is
// required.
func window(s *Source, axes, limit int, size []int) (*slide, error) {
	if axes < 1 || axes > limit {
		return nil, fmt.Errorf("%d spatial axes are not supported, only 1 to %d", axes, limit)
	}
	w := &slide{}
	var err error
	if w.kernel, err = attrInts(s, "kernel_shape"); err != nil {
		return nil, err
	}
	if w.kernel == nil {
		w.kernel = size
	}
	if len(w.kernel) != axes {
		return nil, fmt.Errorf("kernel_shape %v does not fit %d spatial axes", w.kernel, axes)
	}
	for i, k := range w.kernel {
		if k < 1 || k > maxDim || (size != nil && size[i] != k) {
			return nil, fmt.Errorf("kernel_shape %v is out of range or does not fit the weights", w.kernel)
		}
	}
	if w.stride, err = attrList(s, "strides", axes, 1, 1, maxDim); err != nil {
		return nil, err
	}
	if w.dilation, err = attrList(s, "dilations", axes, 1, 1, maxDim); err != nil {
		return nil, err
	}
	pads, err := attrList(s, "pads", 2*axes, 0, 0, maxDim)
	if err != nil {
		return nil, err
	}
	w.before, w.after = pads[:axes], pads[axes:]
	if w.auto, err = attr(s, "auto_pad", "NOTSET"); err != nil {
		return nil, err
	}
	switch w.auto {
	case "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
	default:
		return nil, fmt.Errorf("auto_pad %q is not known", w.auto)
	}
	if w.ceil, err = attrBool(s, "ceil_mode", false); err != nil {
		return nil, err
	}
	if axes == 1 {
		w.only(-1, 0)
	}
	return w, nil
}

// only keeps some axes, two in the end: -1 stands for an axis of length 1
// without a window, and the axis comes first where it is alone.
func (w *slide) only(axes ...int) {
	if len(axes) == 1 {
		axes = append(axes, -1)
	}
	pick := func(from []int, none int) []int {
		r := make([]int, len(axes))
		for i, a := range axes {
			r[i] = none
			if a >= 0 {
				r[i] = from[a]
			}
		}
		return r
	}
	w.kernel, w.stride, w.dilation = pick(w.kernel, 1), pick(w.stride, 1), pick(w.dilation, 1)
	w.before, w.after = pick(w.before, 0), pick(w.after, 0)
}

// along works out one axis: the padding and the number of windows.
func (w *slide) along(axis, in int, pooling bool) (before, after, out int, err error) {
	span := (w.kernel[axis]-1)*w.dilation[axis] + 1
	stride := w.stride[axis]
	before, after = w.before[axis], w.after[axis]
	switch w.auto {
	case "SAME_UPPER", "SAME_LOWER":
		out = (in + stride - 1) / stride
		total := max((out-1)*stride+span-in, 0)
		before, after = total/2, total-total/2
		if w.auto == "SAME_LOWER" {
			before, after = after, before
		}
		return before, after, out, nil
	case "VALID":
		before, after = 0, 0
	}
	room := in + before + after - span
	if room < 0 {
		return 0, 0, 0, fmt.Errorf("a window of %d does not fit into %d with padding %d and %d", span, in, before, after)
	}
	out = room/stride + 1
	if pooling && w.ceil && room%stride != 0 && out*stride < in+before {
		// The last window may hang over the end, but has to start on the
		// input or on the padding before it.
		out++
	}
	return before, after, out, nil
}

// place fills the window into the geometry of an input.
func (w *slide) place(g *kernel.Geometry, pooling bool) (err error) {
	g.KH, g.KW = w.kernel[0], w.kernel[1]
	g.StrideH, g.StrideW = w.stride[0], w.stride[1]
	g.DilationH, g.DilationW = w.dilation[0], w.dilation[1]
	if g.PadTop, g.PadBottom, g.OH, err = w.along(0, g.H, pooling); err != nil {
		return err
	}
	g.PadLeft, g.PadRight, g.OW, err = w.along(1, g.W, pooling)
	return err
}
