// Resize: https://onnx.ai/onnx/operators/onnx__Resize.html (opsets 10, 11, 13,
// 18, 19).
// Upsample: https://onnx.ai/onnx/operators/onnx__Upsample.html (opsets 1, 7, 9).

package op

import (
	"fmt"
	"math"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("Resize", buildResize)
	register("Upsample", buildUpsample)
}

// Resample applies sparse matrices along H and W of (N,C,H,W).
type Resample struct{ Rows, Cols kernel.Taps }

// Name implements Spec.
func (Resample) Name() string { return "Resample" }

// DiffWRT implements Spec.
func (Resample) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (r Resample) Lower(b *Block) error {
	in := b.InShape(0)
	b.Call(kernel.Resample{N: in[0], C: in[1], Rows: r.Rows, Cols: r.Cols}, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec: the transposed matrices.
func (r Resample) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := apply(Resample{r.Rows.Transpose(), r.Cols.Transpose()}, shapeOf(in[0]), grad)
	return gorgonia.Nodes{dx}, err
}

// ResampleGrad is Resample of some channels of its input, from First on: the
// gradient of what was resampled into a concatenation.
type ResampleGrad struct {
	last
	Rows, Cols kernel.Taps
	First      int
}

// Name implements Spec.
func (ResampleGrad) Name() string { return "Resample" }

// Lower implements Spec.
func (r ResampleGrad) Lower(b *Block) error {
	in, out := b.InShape(0), b.OutShape()
	b.Call(kernel.Resample{N: out[0], C: out[1], Rows: r.Rows, Cols: r.Cols, From: kernel.Channels{First: r.First, Of: in[1]}}, b.In(0), b.Out())
	return nil
}

// ResampleAxis applies a sparse matrix along one axis of a tensor of any rank.
type ResampleAxis struct {
	Axis int
	Taps kernel.Taps
}

// Name implements Spec.
func (ResampleAxis) Name() string { return "Resample" }

// DiffWRT implements Spec.
func (ResampleAxis) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (r ResampleAxis) Lower(b *Block) error {
	outer, _, inner := around(b.InShape(0), r.Axis)
	b.Call(kernel.Resample{N: outer, C: inner, Rows: r.Taps, Cols: identityTaps(1)}, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec.
func (r ResampleAxis) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := apply(ResampleAxis{r.Axis, r.Taps.Transpose()}, shapeOf(in[0]), grad)
	return gorgonia.Nodes{dx}, err
}

// resample applies the taps of every axis; nil leaves an axis alone.
func resample(x *Node, taps []*kernel.Taps) (*Node, error) {
	taps = slices.Clone(taps)
	if x.Dims() == 4 && (taps[2] != nil || taps[3] != nil) {
		r := Resample{identityTaps(x.Shape()[2]), identityTaps(x.Shape()[3])}
		if taps[2] != nil {
			r.Rows = *taps[2]
		}
		if taps[3] != nil {
			r.Cols = *taps[3]
		}
		shape := shapeOf(x)
		shape[2], shape[3] = r.Rows.Out(), r.Cols.Out()
		var err error
		if x, err = apply(r, shape, x); err != nil {
			return nil, err
		}
		taps[2], taps[3] = nil, nil
	}
	for axis, t := range taps {
		if t == nil {
			continue
		}
		shape := shapeOf(x)
		shape[axis] = t.Out()
		var err error
		if x, err = apply(ResampleAxis{axis, *t}, shape, x); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func buildUpsample(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	mode, err := attr(s, "mode", "nearest")
	if err != nil {
		return nil, err
	}
	var scales []float32
	switch {
	case s.has(1):
		scales, err = s.floats(1)
	case s.Attr["scales"] != nil:
		scales, err = attr[[]float32](s, "scales", nil)
	default: // opset 1
		var h, w float32
		if h, err = attr(s, "height_scale", float32(0)); err == nil {
			w, err = attr(s, "width_scale", float32(0))
		}
		scales = []float32{1, 1, h, w}
	}
	if err != nil {
		return nil, err
	}
	r := resizing{mode: mode, coordinates: "asymmetric", nearest: "floor", cubicA: -0.75}
	return one(r.apply(x, scales, nil, nil))
}

func buildResize(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	r, err := readResizing(s)
	if err != nil {
		return nil, err
	}
	if s.Opset < 11 {
		scales, err := s.floats(1)
		if err != nil {
			return nil, err
		}
		return one(r.apply(x, scales, nil, nil))
	}
	var scales, roi []float32
	var sizes []int
	if r.coordinates == "tf_crop_and_resize" {
		if roi, err = s.floats(1); err != nil {
			return nil, err
		}
	}
	if s.has(2) {
		if scales, err = s.floats(2); err != nil {
			return nil, err
		}
	}
	if len(scales) == 0 {
		if sizes, err = s.ints(3); err != nil {
			return nil, err
		}
		scales = nil
	}
	return one(r.apply(x, scales, sizes, roi))
}

// resizing holds the attributes of Resize.
type resizing struct {
	mode, coordinates, nearest, policy string
	cubicA                             float64
	excludeOutside, antialias          bool
	extrapolation                      float32
	axes                               []int
}

func readResizing(s *Source) (r resizing, err error) {
	text := func(name, def string, known ...string) string {
		v, e := attr(s, name, def)
		if e == nil && !slices.Contains(known, v) {
			e = fmt.Errorf("attribute %s is %q, want one of %q", name, v, known)
		}
		if err == nil {
			err = e
		}
		return v
	}
	r.mode = text("mode", "nearest", "nearest", "linear", "cubic")
	r.policy = text("keep_aspect_ratio_policy", "stretch", "stretch", "not_larger", "not_smaller")
	if s.Opset < 11 {
		r.coordinates, r.nearest = "asymmetric", "floor"
	} else {
		r.coordinates = text("coordinate_transformation_mode", "half_pixel", "half_pixel", "half_pixel_symmetric",
			"pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize")
		r.nearest = text("nearest_mode", "round_prefer_floor", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
	}
	if err != nil {
		return r, err
	}
	a, err := attr(s, "cubic_coeff_a", float32(-0.75))
	if err != nil {
		return r, err
	}
	r.cubicA = float64(a)
	if r.excludeOutside, err = attrBool(s, "exclude_outside", false); err != nil {
		return r, err
	}
	if r.antialias, err = attrBool(s, "antialias", false); err != nil {
		return r, err
	}
	if r.extrapolation, err = attr(s, "extrapolation_value", float32(0)); err != nil {
		return r, err
	}
	r.axes, err = attrInts(s, "axes")
	return r, err
}

// apply resizes x by scales, or to sizes where there are no scales; both are
// for the axes of the attribute, or for all of them. roi holds the starts of
// those axes and then their ends.
func (r resizing) apply(x *Node, scales []float32, sizes []int, roi []float32) (*Node, error) {
	shape := shapeOf(x)
	axes, err := axesOf(r.axes, len(shape))
	if err != nil {
		return nil, err
	}
	if len(axes) == 0 {
		for i := range shape {
			axes = append(axes, i)
		}
	}
	if r.mode == "bilinear" || r.mode == "trilinear" {
		r.mode = "linear"
	}
	n := max(len(scales), len(sizes))
	if n != len(axes) || (roi != nil && len(roi) != 2*n) {
		return nil, fmt.Errorf("scales %v, sizes %v and roi %v do not fit %d axes", scales, sizes, roi, len(axes))
	}
	if sizes != nil {
		if sizes, scales, err = r.fitSizes(sizes, axes, shape); err != nil {
			return nil, err
		}
	}
	taps := make([]*kernel.Taps, len(shape))
	for i, a := range axes {
		l := length{in: shape[a], scale: scales[i], end: 1}
		if !(l.scale > 0) || math.IsInf(float64(l.scale), 0) {
			return nil, fmt.Errorf("scale %g of axis %d is out of range", l.scale, a)
		}
		if roi != nil {
			l.start, l.end = float64(roi[i]), float64(roi[i+n])
			if size := math.Abs(l.start) + math.Abs(l.end); !(size < maxDim) {
				return nil, fmt.Errorf("roi %v is out of range", roi)
			}
		}
		exact := l.scale * float32(l.in)
		if roi != nil {
			exact = float32(float64(exact) * (l.end - l.start))
		}
		if sizes != nil {
			l.out, l.exact = sizes[i], float64(sizes[i])
		} else {
			if !(exact < maxDim) {
				return nil, fmt.Errorf("scale %g makes axis %d too large", l.scale, a)
			}
			l.out, l.exact = int(math.Floor(float64(exact))), float64(exact)
		}
		if l.out < 1 {
			return nil, fmt.Errorf("axis %d of length %d becomes empty; empty tensors are not supported", a, l.in)
		}
		if l.out == l.in && l.scale == 1 && roi == nil {
			continue
		}
		if l.out > maxTaps/r.perOutput(l) {
			return nil, fmt.Errorf("axis %d becomes %d long, which is too large", a, l.out)
		}
		t := r.taps(l)
		taps[a] = &t
	}
	// Outside of the region of interest the taps give 0: shifting the values
	// makes that the extrapolation value.
	if x, err = affine(x, 1, -r.extrapolation); err != nil {
		return nil, err
	}
	if x, err = resample(x, taps); err != nil {
		return nil, err
	}
	return affine(x, 1, r.extrapolation)
}

// fitSizes applies keep_aspect_ratio_policy and returns the sizes and the
// scales they stand for.
func (r resizing) fitSizes(sizes, axes, shape []int) ([]int, []float32, error) {
	sizes = slices.Clone(sizes)
	scales := make([]float32, len(sizes))
	exact := make([]float64, len(sizes))
	for i, a := range axes {
		if sizes[i] < 1 || sizes[i] > maxDim {
			return nil, nil, fmt.Errorf("size %d of axis %d is out of range", sizes[i], a)
		}
		exact[i] = float64(sizes[i]) / float64(shape[a])
	}
	common := 0.0
	switch r.policy {
	case "not_larger":
		common = slices.Min(exact)
	case "not_smaller":
		common = slices.Max(exact)
	}
	for i, a := range axes {
		if common > 0 {
			exact[i] = common
			sizes[i] = max(int(math.Floor(common*float64(shape[a])+0.5)), 1)
		}
		scales[i] = float32(exact[i])
	}
	return sizes, scales, nil
}
