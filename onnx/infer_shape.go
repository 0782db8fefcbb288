package onnx

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Rules of operators that read or change shapes.

// shapeRule: Shape, whose elements are the dimensions themselves.
func shapeRule(c *call) error {
	v, err := c.input(0)
	if err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_INT64)
	if !v.Known {
		return nil
	}
	rank := int64(len(v.Dims))
	clamp := func(x int64) int64 {
		if x < 0 {
			x += rank
		}
		return min(max(x, 0), rank)
	}
	start, end := clamp(AttrInt(c.n, "start", 0)), clamp(AttrInt(c.n, "end", rank))
	dims := v.Dims[start:max(start, end)]
	c.set(0, pb.TensorProto_INT64, []Dim{{Size: int64(len(dims))}})
	t := &tensor{dtype: pb.TensorProto_INT64, dims: []int{len(dims)}, s: make([]*form, len(dims))}
	if sizes, ok := sizesOf(dims); ok {
		t.s, t.i = nil, sizes
	}
	for k := range t.s {
		t.s[k] = c.a.of(dims[k])
	}
	if len(dims) == 0 {
		t.s, t.i = nil, []int64{}
	}
	c.out[0].data = t
	return nil
}

func sizeRule(c *call) error {
	v, err := c.input(0)
	if err != nil {
		return err
	}
	c.set(0, pb.TensorProto_INT64, nil)
	if !v.Known {
		return nil
	}
	n, err := c.a.product(v.Dims...)
	if err != nil {
		return err
	}
	t := &tensor{dtype: pb.TensorProto_INT64, s: []*form{c.a.of(n)}}
	c.out[0].data = t.settle()
	return nil
}

// dimsFrom turns elements into dimensions; unknown and negative ones are open.
func (a *analysis) dimsFrom(sizes []*form) ([]Dim, error) {
	dims := make([]Dim, len(sizes))
	for k, f := range sizes {
		dims[k] = a.dim(f)
		if dims[k].Size > sizeLimit {
			return nil, fmt.Errorf("%w: a dimension of %d", ErrTooLarge, dims[k].Size)
		}
	}
	return dims, nil
}

// reshapeRule: 0 keeps a dimension (unless allowzero), -1 takes what is left.
func reshapeRule(c *call) error {
	x, err := c.input(0)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	var sizes []*form
	if a := Attr(c.n, "shape"); a != nil { // before opset 5
		for _, s := range a.GetInts() {
			sizes = append(sizes, &form{c: s, den: 1})
		}
	} else {
		if _, err := c.input(1); err != nil {
			return err
		}
		var ok bool
		if sizes, ok = c.sizes(1); !ok {
			return nil
		}
	}
	dims := make([]Dim, len(sizes))
	open := -1
	for k, f := range sizes {
		if f == nil {
			dims[k] = Dim{Size: -1}
			continue
		}
		n, number := f.isConst()
		switch {
		case number && n == -1 && open >= 0:
			return fmt.Errorf("%w: more than one -1 in the shape", ErrInvalid)
		case number && n == -1:
			open = k
			dims[k] = Dim{Size: -1}
		case number && n < 0:
			return fmt.Errorf("%w: dimension %d in the shape", ErrInvalid, n)
		case number && n == 0 && AttrInt(c.n, "allowzero", 0) == 0:
			dims[k] = Dim{Size: -1}
			if x.Known {
				if k >= len(x.Dims) {
					return fmt.Errorf("%w: the shape keeps dimension %d of an input of rank %d", ErrInvalid, k, len(x.Dims))
				}
				dims[k] = x.Dims[k]
			}
		case number && n > sizeLimit:
			return fmt.Errorf("%w: dimension %d in the shape", ErrInvalid, n)
		default:
			dims[k] = c.a.dim(f)
		}
	}
	c.set(0, x.DType, dims)
	if !x.Known {
		return nil
	}
	rest, ok, err := c.a.rest(x.Dims, dims, open)
	if err != nil {
		return err
	}
	if open >= 0 && ok {
		c.out[0].Dims[open] = rest
	}
	return nil
}

// rest returns what dimension `open` of a reshaped tensor has to be; with open
// -1 it only checks the number of elements. ok is false if it is not known.
func (a *analysis) rest(from, to []Dim, open int) (d Dim, ok bool, err error) {
	left := slices.Clone(from)
	num, den := int64(1), int64(1)
	var symbols []Dim
	for k, t := range to {
		if k == open {
			continue
		}
		if t.Size < 0 {
			if at := slices.Index(left, t); at >= 0 && t.Param != "" {
				left = slices.Delete(left, at, at+1)
				continue
			}
			symbols = append(symbols, t)
			continue
		}
		if t.Size > 0 && den > sizeLimit/t.Size {
			return d, false, fmt.Errorf("%w: shape %v", ErrTooLarge, to)
		}
		den *= t.Size
	}
	var kept []Dim
	for _, f := range left {
		if f.Size < 0 {
			kept = append(kept, f)
			continue
		}
		if f.Size > 0 && num > sizeLimit/f.Size {
			return d, false, fmt.Errorf("%w: shape %v", ErrTooLarge, from)
		}
		num *= f.Size
	}
	if len(kept) == 0 && len(symbols) == 0 {
		switch {
		case open < 0 && num != den, open >= 0 && (den == 0 && num != 0 || den != 0 && num%den != 0):
			return d, false, fmt.Errorf("%w: shape %v cannot become %v", ErrInvalid, from, to)
		case open < 0:
			return d, true, nil
		case den == 0:
			return Dim{Size: 0}, true, nil
		}
		return Dim{Size: num / den}, true, nil
	}
	if open < 0 || den == 0 {
		return d, false, nil
	}
	p, err := a.product(kept...)
	if err != nil {
		return d, false, err
	}
	f := a.of(p)
	for _, s := range symbols {
		f = a.div(f, a.of(s), true)
	}
	f = a.mul(f, &form{c: num, den: 1})
	f = a.div(f, &form{c: den, den: 1}, true)
	if f == nil {
		return d, false, nil
	}
	return a.dim(f), true, nil
}

func flattenRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !ok {
		return nil
	}
	axis := AttrInt(c.n, "axis", 1)
	rank := int64(len(x.Dims))
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis > rank {
		return fmt.Errorf("%w: axis %d for rank %d", ErrInvalid, axis, rank)
	}
	rows, err := c.a.product(x.Dims[:axis]...)
	if err != nil {
		return err
	}
	cols, err := c.a.product(x.Dims[axis:]...)
	if err != nil {
		return err
	}
	c.set(0, x.DType, []Dim{rows, cols})
	return nil
}

// permutation is the perm attribute, reversed order by default. It is valid
// after transposeRule.
func permutation(n *pb.NodeProto, rank int) []int {
	perm := make([]int, rank)
	for k := range perm {
		perm[k] = rank - 1 - k
	}
	if a := Attr(n, "perm"); a != nil {
		for k, p := range a.GetInts() {
			perm[k] = int(p)
		}
	}
	return perm
}

func transposeRule(c *call) error {
	x, err := c.input(0)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if !x.Known {
		return nil
	}
	rank := len(x.Dims)
	if a := Attr(c.n, "perm"); a != nil {
		seen := make([]bool, rank)
		for _, p := range a.GetInts() {
			if p < 0 || p >= int64(rank) || seen[p] || len(a.GetInts()) != rank {
				return fmt.Errorf("%w: perm %v for rank %d", ErrInvalid, a.GetInts(), rank)
			}
			seen[p] = true
		}
		if len(a.GetInts()) != rank {
			return fmt.Errorf("%w: perm %v for rank %d", ErrInvalid, a.GetInts(), rank)
		}
	}
	dims := make([]Dim, rank)
	for k, p := range permutation(c.n, rank) {
		dims[k] = x.Dims[p]
	}
	c.set(0, x.DType, dims)
	return nil
}

func squeezeRule(c *call) error {
	x, err := c.input(0)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	list, present, known := c.listed("axes", 1)
	if !x.Known || !known {
		return nil
	}
	var axes []int
	if present {
		if axes, err = normalAxes(list, len(x.Dims)); err != nil {
			return err
		}
	}
	dims := []Dim{}
	for k, d := range x.Dims {
		drop := slices.Contains(axes, k)
		if !present {
			if d.Size < 0 {
				return nil // whether it goes depends on the input
			}
			drop = d.Size == 1
		}
		if drop && d.Size > 1 {
			return fmt.Errorf("%w: axis %d of length %d cannot be squeezed", ErrInvalid, k, d.Size)
		}
		if !drop {
			dims = append(dims, d)
		}
	}
	c.set(0, x.DType, dims)
	return nil
}

func unsqueezeRule(c *call) error {
	x, err := c.input(0)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	list, present, known := c.listed("axes", 1)
	if !present {
		return fmt.Errorf("%w: axes are missing", ErrInvalid)
	}
	if !x.Known || !known {
		return nil
	}
	if len(list) > 64 {
		return fmt.Errorf("%w: %d axes", ErrInvalid, len(list))
	}
	axes, err := normalAxes(list, len(x.Dims)+len(list))
	if err != nil {
		return err
	}
	dims := make([]Dim, 0, len(x.Dims)+len(axes))
	next := 0
	for k := range len(x.Dims) + len(axes) {
		if slices.Contains(axes, k) {
			dims = append(dims, Dim{Size: 1})
		} else {
			dims = append(dims, x.Dims[next])
			next++
		}
	}
	c.set(0, x.DType, dims)
	return nil
}

func concatRule(c *call) error {
	first, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, first.DType)
	if !ok {
		return nil
	}
	dims := slices.Clone(first.Dims)
	axis, err := normalAxis(AttrInt(c.n, "axis", 1), len(dims))
	if err != nil {
		return err
	}
	lengths := []Dim{dims[axis]}
	for k := 1; k < len(c.in); k++ {
		v, ok, err := c.shaped(k, len(dims))
		if err != nil || !ok {
			return err
		}
		lengths = append(lengths, v.Dims[axis])
		for j := range dims {
			if j != axis {
				if dims[j], err = agree(dims[j], v.Dims[j]); err != nil {
					return fmt.Errorf("input %d, axis %d: %w", k, j, err)
				}
			}
		}
	}
	if dims[axis], err = c.a.sum(lengths...); err != nil {
		return err
	}
	c.set(0, first.DType, dims)
	return nil
}

func splitRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	for k := range c.out {
		c.typed(k, x.DType)
	}
	if !ok {
		return nil
	}
	axis, err := normalAxis(AttrInt(c.n, "axis", 0), len(x.Dims))
	if err != nil {
		return err
	}
	sizes, present, known := c.listed("split", 1)
	length, n := x.Dims[axis], int64(len(c.out))
	if !present && Attr(c.n, "num_outputs") != nil && AttrInt(c.n, "num_outputs", 0) != n {
		return fmt.Errorf("%w: num_outputs is %d, the node has %d outputs", ErrInvalid, AttrInt(c.n, "num_outputs", 0), n)
	}
	total := int64(0)
	for k := range c.out {
		dims := slices.Clone(x.Dims)
		switch {
		case present && !known:
			dims[axis] = Dim{Size: -1}
		case present:
			if len(sizes) != len(c.out) || sizes[k] < 0 || sizes[k] > sizeLimit {
				return fmt.Errorf("%w: split %v for %d outputs", ErrInvalid, sizes, n)
			}
			dims[axis] = Dim{Size: sizes[k]}
			total += sizes[k]
		case length.Size < 0:
			dims[axis] = c.a.quotient(length, n, false)
		default:
			// Parts of one length; since opset 18 the last may be smaller.
			per := (length.Size + n - 1) / n
			if c.version < 18 && length.Size%n != 0 {
				return fmt.Errorf("%w: an axis of length %d in %d equal parts", ErrInvalid, length.Size, n)
			}
			dims[axis] = Dim{Size: min(per, max(length.Size-int64(k)*per, 0))}
		}
		c.set(k, x.DType, dims)
	}
	if present && known && length.Size >= 0 && total != length.Size {
		return fmt.Errorf("%w: split %v of an axis of length %d", ErrInvalid, sizes, length.Size)
	}
	return nil
}

func expandRule(c *call) error {
	x, err := c.input(0)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	sizes, ok := c.sizes(1)
	if !ok || !x.Known {
		return nil
	}
	to, err := c.a.dimsFrom(sizes)
	if err != nil {
		return err
	}
	dims, err := broadcast(x.Dims, to)
	if err != nil {
		return err
	}
	c.set(0, x.DType, dims)
	return nil
}

func tileRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil {
		return err
	}
	c.typed(0, x.DType)
	if c.version < 6 {
		return fmt.Errorf("%w: Tile before opset 6", ErrUnsupported)
	}
	repeats, okR := c.sizes(1)
	if !ok || !okR {
		return nil
	}
	if len(repeats) != len(x.Dims) {
		return fmt.Errorf("%w: %d repeats for rank %d", ErrInvalid, len(repeats), len(x.Dims))
	}
	times, err := c.a.dimsFrom(repeats)
	if err != nil {
		return err
	}
	dims := slices.Clone(x.Dims)
	for k := range dims {
		if dims[k], err = c.a.product(dims[k], times[k]); err != nil {
			return err
		}
	}
	c.set(0, x.DType, dims)
	return nil
}
