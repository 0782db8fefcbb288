package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Rules of operators that select, pad and rearrange elements.

// cut is the part of one axis that a Slice takes.
type cut struct {
	axis       int
	start, end int64
	step       int64
}

// bounds returns the first index and the number of elements for an axis of a
// length.
func (t cut) bounds(length int64) (start, n int64) {
	clamp := func(x, lo, hi int64) int64 {
		if x < 0 {
			x += length
		}
		return min(max(x, lo), hi)
	}
	if t.step > 0 {
		start, end := clamp(t.start, 0, length), clamp(t.end, 0, length)
		return start, max((end-start+t.step-1)/t.step, 0)
	}
	start = clamp(t.start, 0, length-1)
	end := clamp(t.end, -1, length-1)
	if t.end < -length { // clamp added the length once
		end = -1
	}
	return start, max((start-end-t.step-1)/-t.step, 0)
}

// cuts reads what a Slice takes; ok is false if it is not constant.
func (c *call) cuts() (cuts []cut, ok bool, err error) {
	rank := len(c.in[0].Dims)
	var starts, ends, axes, steps []int64
	if c.version < 10 {
		starts, ends, axes = AttrInts(c.n, "starts", nil), AttrInts(c.n, "ends", nil), AttrInts(c.n, "axes", nil)
	} else {
		var okS, okE bool
		starts, okS = c.ints(1)
		ends, okE = c.ints(2)
		if !okS || !okE {
			return nil, false, nil
		}
		for k, list := range []*[]int64{&axes, &steps} {
			if c.has(3 + k) {
				if *list, ok = c.ints(3 + k); !ok {
					return nil, false, nil
				}
			}
		}
	}
	if axes == nil {
		for k := range starts {
			axes = append(axes, int64(k))
		}
	}
	if len(starts) != len(ends) || len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, false, fmt.Errorf("%w: %d starts, %d ends, %d axes, %d steps", ErrInvalid, len(starts), len(ends), len(axes), len(steps))
	}
	normal, err := normalAxes(axes, rank)
	if err != nil {
		return nil, false, err
	}
	for k, a := range normal {
		// Ends beyond every axis stand for "to the end".
		limit := func(x int64) int64 { return min(max(x, -sizeLimit), sizeLimit) }
		t := cut{axis: a, start: limit(starts[k]), end: limit(ends[k]), step: 1}
		if steps != nil {
			t.step = limit(steps[k])
		}
		if t.step == 0 {
			return nil, false, fmt.Errorf("%w: a step of 0", ErrInvalid)
		}
		cuts = append(cuts, t)
	}
	return cuts, true, nil
}

func sliceRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !ok {
		return nil
	}
	dims := slices.Clone(x.Dims)
	cuts, ok, err := c.cuts()
	if err != nil {
		return err
	}
	if !ok {
		c.set(0, x.DType, c.openSlice(dims))
		return nil
	}
	for _, t := range cuts {
		d := dims[t.axis]
		if d.Size >= 0 {
			_, n := t.bounds(d.Size)
			dims[t.axis] = Dim{Size: n}
			continue
		}
		dims[t.axis] = c.a.symbolicCut(t, d)
	}
	c.set(0, x.DType, dims)
	return nil
}

// symbolicCut is the length of a cut of a named axis, for the cuts whose
// length does not depend on how long the axis is, or does so simply.
func (a *analysis) symbolicCut(t cut, d Dim) Dim {
	whole := a.of(d)
	open := func(f *form) Dim {
		if t.step != 1 {
			return a.dim(a.ceil(a.div(f, &form{c: t.step, den: 1}, false)))
		}
		return a.dim(f)
	}
	switch {
	case t.step < 0:
		if t.start >= sizeLimit-1 || t.start == -1 {
			if t.end <= -sizeLimit {
				return a.dim(a.ceil(a.div(whole, &form{c: -t.step, den: 1}, false)))
			}
		}
	case t.start >= 0 && t.end >= math.MaxInt32:
		return open(a.add(whole, &form{c: t.start, den: 1}, -1))
	case t.start >= 0 && t.end < 0:
		return open(a.add(whole, &form{c: t.end - t.start, den: 1}, 1))
	case t.start < 0 && t.end >= math.MaxInt32:
		return open(&form{c: -t.start, den: 1})
	case t.start < 0 && t.end < 0:
		return open(&form{c: max(t.end-t.start, 0), den: 1})
	}
	return Dim{Size: -1}
}

// openSlice is the shape of a Slice whose bounds are computed: lengths are
// known where start is 0 and the end a form (cropping to another tensor).
func (c *call) openSlice(dims []Dim) []Dim {
	axes, okA := c.ints(3)
	starts, okS := c.sizes(1)
	ends, okE := c.sizes(2)
	steps, okT := c.ints(4)
	if c.has(3) && !okA || !okS || !okE || len(starts) != len(ends) || c.has(4) && !okT {
		for k := range dims {
			if !c.has(3) || !okA || slices.Contains(axes, int64(k)) || slices.Contains(axes, int64(k-len(dims))) {
				dims[k] = Dim{Size: -1}
			}
		}
		return dims
	}
	for k := range starts {
		axis := int64(k)
		if okA && k < len(axes) {
			axis = axes[k]
		}
		n, err := normalAxis(axis, len(dims))
		if err != nil {
			continue
		}
		length := Dim{Size: -1}
		if okT && (k >= len(steps) || steps[k] != 1) || starts[k] == nil || ends[k] == nil {
			dims[n] = length
			continue
		}
		if d := c.a.add(ends[k], starts[k], -1); d != nil {
			if e, ok := ends[k].isConst(); !ok || e >= 0 && e <= formLimit/2 {
				length = c.a.dim(d)
			} else if ok && e >= math.MaxInt32 {
				length = c.a.dim(c.a.add(c.a.of(dims[n]), starts[k], -1))
			}
		}
		dims[n] = length
	}
	return dims
}

func gatherRule(c *call) error {
	x, ok, err := c.shaped(0, -2)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	index, okI, err := c.shaped(1, -1)
	if err != nil || !ok || !okI {
		return err
	}
	axis, err := normalAxis(AttrInt(c.n, "axis", 0), len(x.Dims))
	if err != nil {
		return err
	}
	c.set(0, x.DType, slices.Concat(x.Dims[:axis], index.Dims, x.Dims[axis+1:]))
	return nil
}

// gatherElementsRule: the shape of the indices.
func gatherElementsRule(c *call) error {
	x, err := c.input(0)
	if err != nil {
		return err
	}
	index, err := c.input(1)
	if err != nil {
		return err
	}
	c.same(0, index)
	c.typed(0, x.DType)
	return nil
}

func gatherNDRule(c *call) error {
	x, ok, err := c.shaped(0, -2)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	index, okI, err := c.shaped(1, -2)
	if err != nil || !ok || !okI {
		return err
	}
	last := index.Dims[len(index.Dims)-1].Size
	batch := AttrInt(c.n, "batch_dims", 0)
	if last < 0 {
		return nil
	}
	if batch < 0 || batch+last > int64(len(x.Dims)) || batch >= int64(len(index.Dims)) {
		return fmt.Errorf("%w: indices %v and batch_dims %d for %v", ErrInvalid, index.Dims, batch, x.Dims)
	}
	c.set(0, x.DType, slices.Concat(index.Dims[:len(index.Dims)-1], x.Dims[batch+last:]))
	return nil
}

// pads returns begin and end pads for every axis; ok is false if they are not
// constant or do not fit the rank.
func (c *call) pads(rank int) ([]int64, bool) {
	var list []int64
	if c.version < 11 {
		name := "pads"
		if c.version < 2 {
			name = "paddings"
		}
		list = AttrInts(c.n, name, nil)
	} else {
		var ok bool
		if list, ok = c.ints(1); !ok {
			return nil, false
		}
		if c.has(3) {
			axes, ok := c.ints(3)
			normal, err := normalAxes(axes, rank)
			if !ok || err != nil || len(list) != 2*len(axes) {
				return nil, false
			}
			full := make([]int64, 2*rank)
			for k, a := range normal {
				full[a], full[a+rank] = list[k], list[k+len(axes)]
			}
			list = full
		}
	}
	return list, len(list) == 2*rank
}

func padRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !ok {
		return nil
	}
	rank := len(x.Dims)
	dims := slices.Clone(x.Dims)
	list, ok := c.pads(rank)
	if !ok {
		if c.version < 11 || c.has(1) && c.in[1].known() != nil && !c.in[1].known().symbolic() {
			return fmt.Errorf("%w: the pads do not fit rank %d", ErrInvalid, rank)
		}
		sizes, known := c.sizes(1)
		for k := range dims {
			f := c.a.of(dims[k])
			if known && len(sizes) == 2*rank && !c.has(3) {
				f = c.a.add(c.a.add(f, sizes[k], 1), sizes[k+rank], 1)
			} else {
				f = nil
			}
			dims[k] = c.a.dim(f)
		}
		c.set(0, x.DType, dims)
		return nil
	}
	for k := range dims {
		if max(list[k], -list[k], list[k+rank], -list[k+rank]) > sizeLimit {
			return fmt.Errorf("%w: pads %v", ErrInvalid, list)
		}
		if dims[k], err = c.a.plus(dims[k], list[k]+list[k+rank]); err != nil {
			return err
		}
	}
	c.set(0, x.DType, dims)
	return nil
}

func blockSize(c *call) (int64, error) {
	b := AttrInt(c.n, "blocksize", 0)
	if b < 1 || b > 1<<20 {
		return 0, fmt.Errorf("%w: blocksize %d", ErrInvalid, b)
	}
	return b, nil
}

func depthToSpaceRule(c *call) error {
	x, ok, err := c.shaped(0, 4)
	if err != nil || !ok {
		return err
	}
	b, err := blockSize(c)
	if err != nil {
		return err
	}
	if n := x.Dims[1].Size; n >= 0 && n%(b*b) != 0 {
		return fmt.Errorf("%w: %d channels with blocksize %d", ErrInvalid, n, b)
	}
	dims := []Dim{x.Dims[0], c.a.quotient(x.Dims[1], b*b, false), {}, {}}
	for k := 2; k < 4; k++ {
		if dims[k], err = c.a.product(x.Dims[k], Dim{Size: b}); err != nil {
			return err
		}
	}
	c.set(0, x.DType, dims)
	return nil
}

func spaceToDepthRule(c *call) error {
	x, ok, err := c.shaped(0, 4)
	if err != nil || !ok {
		return err
	}
	b, err := blockSize(c)
	if err != nil {
		return err
	}
	channels, err := c.a.product(x.Dims[1], Dim{Size: b * b})
	if err != nil {
		return err
	}
	dims := []Dim{x.Dims[0], channels, {}, {}}
	for k := 2; k < 4; k++ {
		if n := x.Dims[k].Size; n >= 0 && n%b != 0 {
			return fmt.Errorf("%w: an axis of length %d with blocksize %d", ErrInvalid, n, b)
		}
		dims[k] = c.a.quotient(x.Dims[k], b, false)
	}
	c.set(0, x.DType, dims)
	return nil
}

// cropRule: the experimental Crop of (N,C,H,W), border (left, top, right,
// bottom) and optionally the size to keep.
func cropRule(c *call) error {
	x, ok, err := c.shaped(0, 4)
	if err != nil || !ok {
		return err
	}
	border, scale := AttrInts(c.n, "border", nil), AttrInts(c.n, "scale", nil)
	if len(border) != 4 || scale != nil && len(scale) != 2 {
		return fmt.Errorf("%w: border %v, scale %v", ErrInvalid, border, scale)
	}
	dims := slices.Clone(x.Dims)
	for k := range 2 {
		if scale != nil {
			if scale[k] < 1 || scale[k] > sizeLimit {
				return fmt.Errorf("%w: scale %v", ErrInvalid, scale)
			}
			dims[2+k] = Dim{Size: scale[k]}
			continue
		}
		a, b := border[1-k], border[3-k]
		if a < 0 || b < 0 || max(a, b) > sizeLimit {
			return fmt.Errorf("%w: border %v", ErrInvalid, border)
		}
		if dims[2+k], err = c.a.plus(dims[2+k], -a-b); err != nil {
			return err
		}
	}
	c.set(0, x.DType, dims)
	return nil
}

// nonZeroRule: (rank, n), the indices of the elements that are not 0; n is
// known for constants only.
func nonZeroRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_INT64)
	if !ok || len(c.out) == 0 {
		return nil
	}
	rank := len(x.Dims)
	c.set(0, pb.TensorProto_INT64, []Dim{{Size: int64(rank)}, {Size: -1}})
	t := x.known()
	if t == nil || t.symbolic() || rank == 0 {
		return nil
	}
	var found []int
	for k := range t.len() {
		if t.f != nil && t.f[k] != 0 || t.i != nil && t.i[k] != 0 {
			found = append(found, k)
		}
	}
	strides := rowStrides(t.dims)
	out := newTensor(pb.TensorProto_INT64, []int{rank, len(found)})
	for d := range rank {
		for k, at := range found {
			out.i[d*len(found)+k] = int64(at / strides[d] % t.dims[d])
		}
	}
	c.set(0, pb.TensorProto_INT64, []Dim{{Size: int64(rank)}, {Size: int64(len(found))}})
	c.out[0].data = out
	return nil
}

func topKRule(c *call) error {
	x, ok, err := c.shaped(0, -2)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	c.typed(1, pb.TensorProto_INT64)
	if !ok {
		return nil
	}
	axis, err := normalAxis(AttrInt(c.n, "axis", -1), len(x.Dims))
	if err != nil {
		return err
	}
	dims := slices.Clone(x.Dims)
	length := dims[axis].Size
	dims[axis] = Dim{Size: -1}
	if list, _, known := c.listed("k", 1); known && len(list) == 1 {
		if list[0] < 0 || length >= 0 && list[0] > length || list[0] > sizeLimit {
			return fmt.Errorf("%w: k is %d", ErrInvalid, list[0])
		}
		dims[axis] = Dim{Size: list[0]}
	}
	c.set(0, x.DType, dims)
	c.set(1, pb.TensorProto_INT64, dims)
	return nil
}

func oneHotRule(c *call) error {
	index, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	values, err := c.input(2)
	if err != nil {
		return err
	}
	c.typed(0, values.DType)
	if !ok {
		return nil
	}
	depth := Dim{Size: -1}
	if d, ok := c.floats(1); ok && len(d) == 1 && d[0] >= 0 && d[0] <= sizeLimit {
		depth = Dim{Size: int64(d[0])}
	}
	axis, err := normalAxis(AttrInt(c.n, "axis", -1), len(index.Dims)+1)
	if err != nil {
		return err
	}
	c.set(0, values.DType, slices.Insert(slices.Clone(index.Dims), axis, depth))
	return nil
}
