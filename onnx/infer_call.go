package onnx

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// rule gives the outputs of a node type and shape, and its elements where the
// rule knows them. Rules are written over Dim, so that the same code infers
// symbolic and concrete shapes.
type rule func(c *call) error

// sizeLimit bounds a dimension, stride, pad or dilation: beyond any real
// model, and far below overflow of what rules compute.
const sizeLimit = 1 << 40

// call is one node while a rule or an evaluator looks at it.
type call struct {
	a       *analysis
	n       *pb.NodeProto
	version int64    // opset of the node's domain
	in      []*value // nil where an optional input is absent
	out     []*value
}

// has reports whether an optional input is there.
func (c *call) has(k int) bool { return k >= 0 && k < len(c.in) && c.in[k] != nil }

// input returns a required input.
func (c *call) input(k int) (*value, error) {
	if !c.has(k) {
		return nil, fmt.Errorf("%w: input %d is missing", ErrInvalid, k)
	}
	return c.in[k], nil
}

// shaped returns a required input whose rank is known; ok is false (and the
// output is left unknown) if it is not. rank -1 accepts any, a rank below -1 at
// least so many: -3 means 2 or more.
func (c *call) shaped(k, rank int) (v *value, ok bool, err error) {
	v, err = c.input(k)
	if err != nil {
		return nil, false, err
	}
	if !v.Known {
		return v, false, nil
	}
	if n := len(v.Dims); rank >= 0 && n != rank {
		return nil, false, fmt.Errorf("%w: input %d has rank %d, want %d", ErrInvalid, k, n, rank)
	} else if rank < -1 && n < -rank-1 {
		return nil, false, fmt.Errorf("%w: input %d has rank %d, want %d or more", ErrInvalid, k, n, -rank-1)
	}
	return v, true, nil
}

// set gives an output its type and shape; outputs that the node does not name
// are skipped.
func (c *call) set(k int, dtype pb.TensorProto_DataType, dims []Dim) {
	if k < len(c.out) {
		c.out[k].DType, c.out[k].Dims, c.out[k].Known = dtype, slices.Clone(dims), true
		if c.out[k].Dims == nil {
			c.out[k].Dims = []Dim{}
		}
	}
}

// typed gives an output a type only.
func (c *call) typed(k int, dtype pb.TensorProto_DataType) {
	if k < len(c.out) {
		c.out[k].DType = dtype
	}
}

// ints returns the elements of a constant integer input; ok is false if it is
// absent or not known.
func (c *call) ints(k int) ([]int64, bool) {
	if !c.has(k) {
		return nil, false
	}
	return c.in[k].known().ints()
}

// floats returns the elements of a constant input; ok is false if it is absent
// or not known.
func (c *call) floats(k int) ([]float32, bool) {
	if !c.has(k) {
		return nil, false
	}
	return c.in[k].known().floats()
}

// sizes returns an input that holds dimensions; nil elements are unknown. ok
// is false if not even their number is known.
func (c *call) sizes(k int) ([]*form, bool) {
	if !c.has(k) {
		return nil, false
	}
	v := c.in[k]
	if t := v.known(); t != nil {
		out := make([]*form, t.len())
		for i := range out {
			out[i] = t.at(i)
		}
		return out, true
	}
	if v.Known && len(v.Dims) == 1 && v.Dims[0].Size >= 0 && v.Dims[0].Size <= 64 {
		return make([]*form, v.Dims[0].Size), true
	}
	return nil, false
}

// listed returns a list of integers that newer versions of an operator take as
// an input and older ones as an attribute. known is false where the input is
// not a constant; present is false where there is neither.
func (c *call) listed(attr string, input int) (list []int64, present, known bool) {
	if a := Attr(c.n, attr); a != nil {
		if a.GetType() == pb.AttributeProto_INT {
			return []int64{a.GetI()}, true, true
		}
		return a.GetInts(), true, true
	}
	if !c.has(input) {
		return nil, false, true
	}
	list, known = c.ints(input)
	return list, true, known
}

// normalAxis counts an axis from the front.
func normalAxis(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("%w: axis %d for rank %d", ErrInvalid, axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// normalAxes counts axes from the front and refuses repeated ones.
func normalAxes(axes []int64, rank int) ([]int, error) {
	out := make([]int, len(axes))
	for k, a := range axes {
		n, err := normalAxis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out[:k], n) {
			return nil, fmt.Errorf("%w: axis %d is listed twice", ErrInvalid, a)
		}
		out[k] = n
	}
	return out, nil
}

// plus returns d+k.
func (a *analysis) plus(d Dim, k int64) (Dim, error) {
	if d.Size >= 0 {
		n := d.Size + k
		if n < 0 || n > sizeLimit {
			return Dim{}, fmt.Errorf("%w: a dimension of %d", ErrInvalid, n)
		}
		return Dim{Size: n}, nil
	}
	return a.dim(a.add(a.of(d), &form{c: k, den: 1}, 1)), nil
}

// sum adds dimensions.
func (a *analysis) sum(dims ...Dim) (Dim, error) {
	total := Dim{}
	var f *form = &form{den: 1}
	for _, d := range dims {
		f = a.add(f, a.of(d), 1)
		if total.Size < 0 || d.Size < 0 {
			total.Size = -1
			continue
		}
		if total.Size += d.Size; total.Size > sizeLimit {
			return Dim{}, fmt.Errorf("%w: dimensions %v together", ErrTooLarge, dims)
		}
	}
	if total.Size >= 0 {
		return total, nil
	}
	return a.dim(f), nil
}

// product multiplies dimensions.
func (a *analysis) product(dims ...Dim) (Dim, error) {
	n, f := int64(1), &form{c: 1, den: 1}
	symbolic := false
	for _, d := range dims {
		if d.Size < 0 {
			symbolic = true
			f = a.mul(f, a.of(d))
			continue
		}
		if d.Size > 0 && n > sizeLimit/d.Size {
			return Dim{}, fmt.Errorf("%w: product of %v", ErrTooLarge, dims)
		}
		n *= d.Size
	}
	if !symbolic {
		return Dim{Size: n}, nil
	}
	if n == 0 {
		return Dim{}, nil
	}
	return a.dim(a.mul(f, &form{c: n, den: 1})), nil
}

// quotient divides a dimension by a positive number, rounding down or up.
func (a *analysis) quotient(d Dim, k int64, up bool) Dim {
	if d.Size >= 0 {
		if up {
			return Dim{Size: (d.Size + k - 1) / k}
		}
		return Dim{Size: d.Size / k}
	}
	q := a.div(a.of(d), &form{c: k, den: 1}, false)
	if up {
		return a.dim(a.ceil(q))
	}
	return a.dim(a.floor(q))
}

// broadcast joins two shapes by numpy's rule. Where a number above 1 meets a
// name, the number wins; two different names give an unknown dimension.
func broadcast(x, y []Dim) ([]Dim, error) {
	if len(x) < len(y) {
		x, y = y, x
	}
	out := slices.Clone(x)
	for k, d := range y {
		at := k + len(x) - len(y)
		e, err := joinDims(out[at], d)
		if err != nil {
			return nil, fmt.Errorf("%w: shapes %v and %v do not broadcast", ErrInvalid, x, y)
		}
		out[at] = e
	}
	return out, nil
}

func joinDims(a, b Dim) (Dim, error) {
	switch {
	case a == b && (a.Size >= 0 || a.Param != ""):
		return a, nil
	case a.Size == 1:
		return b, nil
	case b.Size == 1:
		return a, nil
	case a.Size >= 0 && b.Size >= 0:
		return Dim{}, ErrInvalid
	case a.Size >= 0:
		return a, nil
	case b.Size >= 0:
		return b, nil
	}
	return Dim{Size: -1}, nil
}

// agree returns what two equal dimensions are: the more precise one.
func agree(a, b Dim) (Dim, error) {
	switch {
	case a.Size >= 0 && b.Size >= 0 && a.Size != b.Size:
		return Dim{}, fmt.Errorf("%w: dimensions %v and %v have to be equal", ErrInvalid, a, b)
	case a.Size >= 0:
		return a, nil
	case b.Size >= 0:
		return b, nil
	case a.Param == "":
		return b, nil
	}
	return a, nil
}
