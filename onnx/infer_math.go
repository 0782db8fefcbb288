package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Rules of products, reductions and resampling.

// matMulRule: numpy's product of stacks of matrices.
func matMulRule(c *call) error {
	a, ok, err := c.shaped(0, -2)
	if err != nil {
		return err
	}
	c.typed(0, a.DType)
	b, okB, err := c.shaped(1, -2)
	if err != nil || !ok || !okB {
		return err
	}
	x, y := a.Dims, b.Dims
	if len(x) == 1 {
		x = []Dim{{Size: 1}, x[0]}
	}
	if len(y) == 1 {
		y = []Dim{y[0], {Size: 1}}
	}
	if _, err := agree(x[len(x)-1], y[len(y)-2]); err != nil {
		return fmt.Errorf("inner dimensions of %v and %v: %w", a.Dims, b.Dims, err)
	}
	dims, err := broadcast(x[:len(x)-2], y[:len(y)-2])
	if err != nil {
		return err
	}
	if len(a.Dims) > 1 {
		dims = append(dims, x[len(x)-2])
	}
	if len(b.Dims) > 1 {
		dims = append(dims, y[len(y)-1])
	}
	c.set(0, a.DType, dims)
	return nil
}

func gemmRule(c *call) error {
	a, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, a.DType)
	b, okB, err := c.shaped(1, 2)
	if err != nil || !ok || !okB {
		return err
	}
	x := a.Dims
	if len(x) != 2 {
		// Before opset 7 the input may have any rank and is flattened.
		if len(x) < 2 || c.version >= 7 {
			return fmt.Errorf("%w: input 0 has rank %d, want 2", ErrInvalid, len(x))
		}
		cols, err := c.a.product(x[1:]...)
		if err != nil {
			return err
		}
		x = []Dim{x[0], cols}
	}
	m, k := x[0], x[1]
	if AttrInt(c.n, "transA", 0) != 0 {
		m, k = k, m
	}
	k2, n := b.Dims[0], b.Dims[1]
	if AttrInt(c.n, "transB", 0) != 0 {
		k2, n = n, k2
	}
	if _, err := agree(k, k2); err != nil {
		return fmt.Errorf("inner dimensions: %w", err)
	}
	out := []Dim{m, n}
	if c.has(2) && c.in[2].Known {
		dims, err := broadcast(out, c.in[2].Dims)
		if err != nil {
			return err
		}
		if len(dims) != 2 || m.Size >= 0 && dims[0].Size >= 0 && dims[0] != m || n.Size >= 0 && dims[1].Size >= 0 && dims[1] != n {
			return fmt.Errorf("%w: bias %v for a product %v", ErrInvalid, c.in[2].Dims, out)
		}
	}
	c.set(0, a.DType, out)
	return nil
}

// reduceAxes returns the axes that a reduction folds; ok is false if they are
// not constant.
func (c *call) reduceAxes(rank int) (axes []int, ok bool, err error) {
	list, present, known := c.listed("axes", 1)
	if !known {
		return nil, false, nil
	}
	if !present || len(list) == 0 {
		if AttrInt(c.n, "noop_with_empty_axes", 0) != 0 {
			return nil, true, nil
		}
		for k := range rank {
			axes = append(axes, k)
		}
		return axes, true, nil
	}
	axes, err = normalAxes(list, rank)
	return axes, true, err
}

func reduceRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !ok {
		return nil
	}
	axes, known, err := c.reduceAxes(len(x.Dims))
	if err != nil {
		return err
	}
	keep := AttrInt(c.n, "keepdims", 1) != 0
	if !known {
		if keep {
			c.set(0, x.DType, slices.Repeat([]Dim{{Size: -1}}, len(x.Dims)))
		}
		return nil
	}
	c.set(0, x.DType, reduced(x.Dims, axes, keep))
	return nil
}

func reduced(dims []Dim, axes []int, keep bool) []Dim {
	out := []Dim{}
	for k, d := range dims {
		switch {
		case !slices.Contains(axes, k):
			out = append(out, d)
		case keep:
			out = append(out, Dim{Size: 1})
		}
	}
	return out
}

func argRule(c *call) error {
	x, ok, err := c.shaped(0, -2)
	if err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_INT64)
	if !ok {
		return nil
	}
	axis, err := normalAxis(AttrInt(c.n, "axis", 0), len(x.Dims))
	if err != nil {
		return err
	}
	c.set(0, pb.TensorProto_INT64, reduced(x.Dims, []int{axis}, AttrInt(c.n, "keepdims", 1) != 0))
	return nil
}

// softmaxRule: the axis has to be one of the input's.
func softmaxRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	if ok {
		def := int64(1)
		if c.version >= 13 {
			def = -1
		}
		// Before opset 13 the axis only says where rows end, and may be the rank.
		axis := AttrInt(c.n, "axis", def)
		if rank := int64(len(x.Dims)); axis < -rank || axis > rank || axis == rank && c.version >= 13 {
			return fmt.Errorf("%w: axis %d for rank %d", ErrInvalid, axis, rank)
		}
	}
	c.same(0, x)
	return nil
}

// resizeRule: Upsample and all versions of Resize. Output lengths are the
// sizes, or floor(length*scale).
func resizeRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !ok {
		return nil
	}
	rank := len(x.Dims)
	axes := make([]int, rank)
	for k := range axes {
		axes[k] = k
	}
	if list := AttrInts(c.n, "axes", nil); list != nil {
		if axes, err = normalAxes(list, rank); err != nil {
			return err
		}
	}
	dims := slices.Clone(x.Dims)
	// Upsample and Resize-10 have (X, scales), later Resize (X, roi, scales,
	// sizes).
	scalesAt, sizesAt := 1, -1
	if c.n.GetOpType() == "Resize" && c.version >= 11 {
		scalesAt, sizesAt = 2, 3
	}
	if c.has(sizesAt) && !(c.in[sizesAt].Known && len(c.in[sizesAt].Dims) == 1 && c.in[sizesAt].Dims[0].Size == 0) {
		sizes, known := c.sizes(sizesAt)
		if known && len(sizes) != len(axes) {
			return fmt.Errorf("%w: %d sizes for %d axes", ErrInvalid, len(sizes), len(axes))
		}
		for k, a := range axes {
			if !known {
				dims[a] = Dim{Size: -1}
				continue
			}
			d, err := c.a.dimsFrom(sizes[k : k+1])
			if err != nil {
				return err
			}
			dims[a] = d[0]
		}
		if policy := AttrString(c.n, "keep_aspect_ratio_policy", "stretch"); policy != "stretch" {
			return fmt.Errorf("%w: keep_aspect_ratio_policy %q", ErrUnsupported, policy)
		}
		c.set(0, x.DType, dims)
		return nil
	}
	scales := AttrFloats(c.n, "scales", nil) // Upsample-7
	known := scales != nil
	if !known {
		if !c.has(scalesAt) {
			return fmt.Errorf("%w: neither scales nor sizes", ErrInvalid)
		}
		if t := c.in[scalesAt].known(); t != nil && t.symbolic() && t.len() == len(axes) {
			for k, a := range axes {
				dims[a] = c.a.dim(c.a.floor(c.a.mul(c.a.of(dims[a]), t.s[k])))
			}
			c.set(0, x.DType, dims)
			return nil
		}
		scales, known = c.floats(scalesAt)
	}
	if !known {
		for _, a := range axes {
			dims[a] = Dim{Size: -1}
		}
		c.set(0, x.DType, dims)
		return nil
	}
	if len(scales) != len(axes) {
		return fmt.Errorf("%w: %d scales for %d axes", ErrInvalid, len(scales), len(axes))
	}
	for k, a := range axes {
		s := float64(scales[k])
		if !(s > 0) || s > 1<<20 {
			return fmt.Errorf("%w: scale %g", ErrInvalid, s)
		}
		if d := dims[a]; d.Size >= 0 {
			// In float32, as runtimes compute it.
			n := math.Floor(float64(float32(d.Size) * scales[k]))
			if n > sizeLimit {
				return fmt.Errorf("%w: a dimension of %g", ErrTooLarge, n)
			}
			dims[a] = Dim{Size: int64(n)}
			continue
		}
		dims[a] = c.a.dim(c.a.floor(c.a.mul(c.a.of(dims[a]), (&tensor{f: scales}).at(k))))
	}
	c.set(0, x.DType, dims)
	return nil
}

// gridSampleRule: X (N,C,H,W), grid (N,OH,OW,2) to (N,C,OH,OW).
func gridSampleRule(c *call) error {
	x, ok, err := c.shaped(0, 4)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	grid, okG, err := c.shaped(1, 4)
	if err != nil || !ok || !okG {
		return err
	}
	c.set(0, x.DType, []Dim{x.Dims[0], x.Dims[1], grid.Dims[1], grid.Dims[2]})
	return nil
}
