package onnx

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Rules of convolution and pooling.

// window is the sliding window of a convolution or pooling node.
type window struct {
	kernel, strides, dilations []int64
	begin, end                 []int64 // pads; for automatic padding filled in by resolve
	auto                       string  // "", SAME_UPPER, SAME_LOWER
	extra                      []int64 // output_padding of a transposed convolution
	ceil                       bool
}

// window reads the attributes of a window over rank spatial axes; kernel may
// be nil, then the attribute kernel_shape has it.
func (c *call) window(rank int, kernel []int64) (*window, error) {
	w := &window{kernel: slices.Clone(AttrInts(c.n, "kernel_shape", nil)), ceil: AttrInt(c.n, "ceil_mode", 0) != 0}
	if kernel != nil {
		if w.kernel != nil && !slices.Equal(w.kernel, kernel) {
			return nil, fmt.Errorf("%w: kernel_shape %v, the weight has %v", ErrInvalid, w.kernel, kernel)
		}
		w.kernel = kernel
	}
	ones := slices.Repeat([]int64{1}, rank)
	w.strides = slices.Clone(AttrInts(c.n, "strides", ones))
	w.dilations = slices.Clone(AttrInts(c.n, "dilations", ones))
	pads := AttrInts(c.n, "pads", make([]int64, 2*rank))
	if len(w.kernel) != rank || len(w.strides) != rank || len(w.dilations) != rank || len(pads) != 2*rank {
		return nil, fmt.Errorf("%w: kernel_shape %v, strides %v, dilations %v, pads %v for %d spatial axes",
			ErrInvalid, w.kernel, w.strides, w.dilations, pads, rank)
	}
	for k := range rank {
		if w.kernel[k] < 1 || w.strides[k] < 1 || w.dilations[k] < 1 ||
			w.kernel[k] > 1<<20 || w.strides[k] > 1<<20 || w.dilations[k] > 1<<20 {
			return nil, fmt.Errorf("%w: kernel_shape %v, strides %v, dilations %v", ErrInvalid, w.kernel, w.strides, w.dilations)
		}
	}
	for _, p := range pads {
		if p > 1<<30 || p < -(1<<30) {
			return nil, fmt.Errorf("%w: pads %v", ErrInvalid, pads)
		}
	}
	w.begin, w.end = slices.Clone(pads[:rank]), slices.Clone(pads[rank:])
	switch auto := AttrString(c.n, "auto_pad", "NOTSET"); auto {
	case "NOTSET", "":
	case "VALID":
		w.begin, w.end = make([]int64, rank), make([]int64, rank)
	case "SAME_UPPER", "SAME_LOWER":
		w.auto = auto
	default:
		return nil, fmt.Errorf("%w: auto_pad %q", ErrInvalid, auto)
	}
	return w, nil
}

// extent is how many elements the window spans on an axis.
func (w *window) extent(k int) int64 { return (w.kernel[k]-1)*w.dilations[k] + 1 }

// out returns the output length of axis k for an input of length d. Automatic
// padding gives ceil(d/stride); where d is a number, begin and end get the
// pads that it stands for.
func (w *window) out(a *analysis, k int, d Dim) (Dim, error) {
	stride, extent := w.strides[k], w.extent(k)
	if w.auto != "" {
		o := a.quotient(d, stride, true)
		if d.Size >= 0 {
			total := max((o.Size-1)*stride+extent-d.Size, 0)
			w.begin[k], w.end[k] = total/2, total-total/2
			if w.auto == "SAME_LOWER" {
				w.begin[k], w.end[k] = w.end[k], w.begin[k]
			}
		}
		return o, nil
	}
	if d.Size >= 0 && d.Size+w.begin[k]+w.end[k] < extent {
		return Dim{}, fmt.Errorf("%w: a window of %d over an axis of length %d with pads %d and %d", ErrInvalid, extent, d.Size, w.begin[k], w.end[k])
	}
	if !w.ceil {
		x, err := a.plus(d, w.begin[k]+w.end[k]-extent+stride)
		return a.quotient(x, stride, false), err
	}
	// Rounded up, but no window starts in the padding at the end.
	reach := min(w.end[k]-extent+stride, 0)
	x, err := a.plus(d, w.begin[k]+reach)
	return a.quotient(x, stride, true), err
}

// pool gives the output shape of a window over the spatial axes of x; channels
// replaces axis 1.
func (c *call) windowShape(x *value, w *window, channels Dim) ([]Dim, error) {
	dims := []Dim{x.Dims[0], channels}
	for k, d := range x.Dims[2:] {
		o, err := w.out(c.a, k, d)
		if err != nil {
			return nil, err
		}
		dims = append(dims, o)
	}
	return dims, nil
}

// convRule: X (N,C,...) * W (O,C/group,...) [+ B (O)].
func convRule(c *call) error {
	return c.conv(c.in, 0, 1, 2)
}

// conv is the rule of convolutions whose input, weight and bias are inputs x,
// w and b; b -1 has none.
func (c *call) conv(in []*value, xk, wk, bk int) error {
	x, ok, err := c.shaped(xk, -4)
	if err != nil {
		return err
	}
	weight, okW, err := c.shaped(wk, -4)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !ok || !okW {
		return nil
	}
	if len(weight.Dims) != len(x.Dims) {
		return fmt.Errorf("%w: weight %v for an input %v", ErrInvalid, weight.Dims, x.Dims)
	}
	group := AttrInt(c.n, "group", 1)
	if group < 1 || group > sizeLimit {
		return fmt.Errorf("%w: group %d", ErrInvalid, group)
	}
	channels, per, outs := x.Dims[1].Size, weight.Dims[1].Size, weight.Dims[0].Size
	if channels >= 0 && per >= 0 && (per > sizeLimit/group || channels != per*group) {
		return fmt.Errorf("%w: weight %v and group %d for %d channels", ErrInvalid, weight.Dims, group, channels)
	}
	if outs >= 0 && outs%group != 0 {
		return fmt.Errorf("%w: %d outputs in %d groups", ErrInvalid, outs, group)
	}
	if bk >= 0 && c.has(bk) && in[bk].Known {
		if len(in[bk].Dims) != 1 {
			return fmt.Errorf("%w: bias %v", ErrInvalid, in[bk].Dims)
		}
		if _, err := agree(in[bk].Dims[0], weight.Dims[0]); err != nil {
			return fmt.Errorf("bias: %w", err)
		}
	}
	kernel := AttrInts(c.n, "kernel_shape", nil)
	if k, ok := sizesOf(weight.Dims[2:]); ok {
		kernel = k
	}
	w, err := c.window(len(x.Dims)-2, kernel)
	if err != nil {
		return err
	}
	dims, err := c.windowShape(x, w, weight.Dims[0])
	if err != nil {
		return err
	}
	c.set(0, x.DType, dims)
	return nil
}

// sizesOf returns dims as numbers; ok is false if one is unknown.
func sizesOf(dims []Dim) ([]int64, bool) {
	out := make([]int64, len(dims))
	for k, d := range dims {
		if d.Size < 0 {
			return nil, false
		}
		out[k] = d.Size
	}
	return out, true
}

// integerConvRule: ConvInteger, int32 out.
func integerConvRule(c *call) error {
	if err := c.conv(c.in, 0, 1, -1); err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_INT32)
	return nil
}

// quantConvRule: QLinearConv, the type of the output's zero point.
func quantConvRule(c *call) error {
	zero, err := c.input(7)
	if err != nil {
		return err
	}
	if err := c.conv(c.in, 0, 3, 8); err != nil {
		return err
	}
	c.typed(0, zero.DType)
	return nil
}

// transposedConv reads the window of ConvTranspose: X (N,C,...), W
// (C,O/group,...); the output is (N,O,...) with (d-1)*stride + output_padding +
// extent - pads, or output_shape, from which the pads then follow.
func convTransposeRule(c *call) error {
	x, ok, err := c.shaped(0, -4)
	if err != nil {
		return err
	}
	weight, okW, err := c.shaped(1, -4)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !ok || !okW {
		return nil
	}
	if len(weight.Dims) != len(x.Dims) {
		return fmt.Errorf("%w: weight %v for an input %v", ErrInvalid, weight.Dims, x.Dims)
	}
	if _, err := agree(x.Dims[1], weight.Dims[0]); err != nil {
		return fmt.Errorf("weight: %w", err)
	}
	dims, _, err := c.transposed(x, weight)
	if err != nil {
		return err
	}
	c.set(0, x.DType, dims)
	return nil
}

// transposed returns the output shape of a ConvTranspose and its window, with
// the pads resolved where the lengths are numbers.
func (c *call) transposed(x, weight *value) ([]Dim, *window, error) {
	rank := len(x.Dims) - 2
	kernel := AttrInts(c.n, "kernel_shape", nil)
	if k, ok := sizesOf(weight.Dims[2:]); ok {
		kernel = k
	}
	w, err := c.window(rank, kernel)
	if err != nil {
		return nil, nil, err
	}
	w.extra = slices.Clone(AttrInts(c.n, "output_padding", make([]int64, rank)))
	shape := AttrInts(c.n, "output_shape", nil)
	if len(w.extra) != rank || shape != nil && len(shape) != rank && len(shape) != rank+2 {
		return nil, nil, fmt.Errorf("%w: output_padding %v, output_shape %v", ErrInvalid, w.extra, shape)
	}
	group := AttrInt(c.n, "group", 1)
	if group < 1 || group > sizeLimit {
		return nil, nil, fmt.Errorf("%w: group %d", ErrInvalid, group)
	}
	channels, err := c.a.product(weight.Dims[1], Dim{Size: group})
	if err != nil {
		return nil, nil, err
	}
	dims := []Dim{x.Dims[0], channels}
	for k, d := range x.Dims[2:] {
		// The length without pads: (d-1)*stride + output_padding + extent.
		if w.extra[k] < 0 || w.extra[k] > 1<<20 {
			return nil, nil, fmt.Errorf("%w: output_padding %v", ErrInvalid, w.extra)
		}
		full, err := c.a.product(d, Dim{Size: w.strides[k]})
		if err == nil {
			full, err = c.a.plus(full, w.extra[k]+w.extent(k)-w.strides[k])
		}
		if err != nil {
			return nil, nil, err
		}
		var o Dim
		switch {
		case shape != nil:
			o = Dim{Size: shape[k+len(shape)-rank]}
			if o.Size < 1 || o.Size > sizeLimit {
				return nil, nil, fmt.Errorf("%w: output_shape %v", ErrInvalid, shape)
			}
		case w.auto != "":
			if o, err = c.a.product(d, Dim{Size: w.strides[k]}); err != nil {
				return nil, nil, err
			}
		default:
			if o, err = c.a.plus(full, -w.begin[k]-w.end[k]); err != nil {
				return nil, nil, err
			}
			dims = append(dims, o)
			continue
		}
		if full.Size >= 0 && o.Size >= 0 {
			total := max(full.Size-o.Size, 0)
			w.extra[k] += max(o.Size-full.Size, 0)
			// With output_shape the larger half goes to the end only for
			// SAME_UPPER; the standard gives it to the beginning otherwise.
			w.begin[k], w.end[k] = total-total/2, total/2
			if w.auto == "SAME_UPPER" {
				w.begin[k], w.end[k] = total/2, total-total/2
			}
		}
		dims = append(dims, o)
	}
	return dims, w, nil
}

// poolRule: MaxPool (with indices as output 1), AveragePool, LpPool.
func poolRule(c *call) error {
	x, ok, err := c.shaped(0, -4)
	if err != nil || !ok {
		return err
	}
	w, err := c.window(len(x.Dims)-2, nil)
	if err != nil {
		return err
	}
	dims, err := c.windowShape(x, w, x.Dims[1])
	if err != nil {
		return err
	}
	c.set(0, x.DType, dims)
	c.set(1, pb.TensorProto_INT64, dims)
	return nil
}

// globalPoolRule: (N,C,...) to (N,C,1,...).
func globalPoolRule(c *call) error {
	x, ok, err := c.shaped(0, -3)
	if err != nil || !ok {
		return err
	}
	dims := slices.Clone(x.Dims)
	for k := 2; k < len(dims); k++ {
		dims[k] = Dim{Size: 1}
	}
	c.set(0, x.DType, dims)
	return nil
}

// adaptivePoolRule: graft.AdaptiveAveragePool, (N,C,H,W) to
// (N,C,output_size[0],output_size[1]).
func adaptivePoolRule(c *call) error {
	x, ok, err := c.shaped(0, 4)
	if err != nil || !ok {
		return err
	}
	size := AttrInts(c.n, "output_size", nil)
	if len(size) != 2 || size[0] < 1 || size[1] < 1 || size[0] > sizeLimit || size[1] > sizeLimit {
		return fmt.Errorf("%w: output_size %v, want two positive numbers", ErrInvalid, size)
	}
	c.set(0, x.DType, []Dim{x.Dims[0], x.Dims[1], {Size: size[0]}, {Size: size[1]}})
	return nil
}

// channelDropoutRule: graft.ChannelDropout, (N,C,H,W) as it is.
func channelDropoutRule(c *call) error {
	if _, _, err := c.shaped(0, 4); err != nil {
		return err
	}
	return sameRule(c)
}
