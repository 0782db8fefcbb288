package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// tensor is a small constant in memory, for shape arithmetic: floats, integers
// (booleans as 0 and 1), or forms where elements depend on symbolic
// dimensions. Exactly one of the slices holds the elements, row major.
type tensor struct {
	dtype pb.TensorProto_DataType
	dims  []int
	f     []float32
	i     []int64
	s     []*form // nil elements are unknown
}

// evaluator computes a node whose inputs are all known; absent inputs are nil.
// The outputs' types are those of c.out.
type evaluator func(c *call, in []*tensor) ([]*tensor, error)

func (t *tensor) len() int { return max(len(t.f), len(t.i), len(t.s)) }

func (t *tensor) symbolic() bool { return t.s != nil }

// count multiplies dims; ok is false above limit.
func count(dims []int, limit int) (n int, ok bool) {
	n = 1
	for _, d := range dims {
		if d == 0 {
			return 0, true
		}
	}
	for _, d := range dims {
		if d < 0 || n > limit/d {
			return 0, false
		}
		n *= d
	}
	return n, n <= limit
}

// newTensor makes a tensor of zeros for a type.
func newTensor(dtype pb.TensorProto_DataType, dims []int) *tensor {
	n, _ := count(dims, math.MaxInt)
	t := &tensor{dtype: dtype, dims: dims}
	if IsFloat(dtype) {
		t.f = make([]float32, n)
	} else {
		t.i = make([]int64, n)
	}
	return t
}

// readTensor decodes a stored tensor; nil for types that no evaluator reads.
func readTensor(p *pb.TensorProto) (*tensor, error) {
	t := &tensor{dtype: DataType(p), dims: Dims(p)}
	var err error
	switch {
	case IsFloat(t.dtype):
		t.f, err = Floats(p)
	case IsInt(t.dtype):
		t.i, err = Ints(p)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// write encodes the tensor under a name; nil if it is symbolic.
func (t *tensor) write(name string) (*pb.TensorProto, error) {
	switch {
	case t.symbolic():
		return nil, nil
	case IsFloat(t.dtype):
		return NewTensor(name, t.dtype, t.dims, t.f)
	default:
		return NewIntTensor(name, t.dtype, t.dims, t.i)
	}
}

// at returns an element as a form; nil if it is unknown or not a simple
// fraction.
func (t *tensor) at(k int) *form {
	switch {
	case t.s != nil:
		return t.s[k]
	case t.i != nil:
		return &form{c: t.i[k], den: 1} // arithmetic checks its range
	}
	const den = 1 << 12
	v := float64(t.f[k]) * den
	if v != math.Trunc(v) || math.Abs(v) > formLimit {
		return nil
	}
	return reduce(form{c: int64(v), den: den})
}

// settle turns forms that are all numbers into numbers.
func (t *tensor) settle() *tensor {
	if !t.symbolic() {
		return t
	}
	for _, f := range t.s {
		if f == nil || len(f.terms) > 0 || (f.den != 1 && !IsFloat(t.dtype)) {
			return t
		}
	}
	out := newTensor(t.dtype, t.dims)
	for k, f := range t.s {
		if out.f != nil {
			out.f[k] = float32(float64(f.c) / float64(f.den))
		} else {
			out.i[k] = f.c
		}
	}
	return out
}

// ints returns the elements as integers; ok is false if any is not one.
func (t *tensor) ints() ([]int64, bool) {
	switch {
	case t == nil:
		return nil, false
	case t.i != nil || t.len() == 0:
		return t.i, true
	}
	return nil, false
}

// floats returns the elements as floats; ok is false if any is unknown.
func (t *tensor) floats() ([]float32, bool) {
	switch {
	case t == nil || t.s != nil:
		return nil, false
	case t.i != nil:
		f := make([]float32, len(t.i))
		for k, v := range t.i {
			f[k] = float32(v)
		}
		return f, true
	}
	return t.f, true
}

// view returns the same elements under other dimensions.
func (t *tensor) view(dims []int) *tensor {
	u := *t
	u.dims = dims
	return &u
}

// pick returns a tensor of elements of t, by index; -1 picks zero.
func (t *tensor) pick(dims []int, index []int32) *tensor {
	u := &tensor{dtype: t.dtype, dims: dims}
	switch {
	case t.s != nil:
		u.s = make([]*form, len(index))
		for k, j := range index {
			if j >= 0 {
				u.s[k] = t.s[j]
			} else {
				u.s[k] = &form{den: 1}
			}
		}
	case t.i != nil:
		u.i = make([]int64, len(index))
		for k, j := range index {
			if j >= 0 {
				u.i[k] = t.i[j]
			}
		}
	default:
		u.f = make([]float32, len(index))
		for k, j := range index {
			if j >= 0 {
				u.f[k] = t.f[j]
			}
		}
		if !IsFloat(t.dtype) {
			u.f, u.i = nil, make([]int64, len(index))
		}
	}
	return u
}

// walk calls visit with the offset of every element of a strided box, row
// major.
func walk(dims, strides []int, offset int, visit func(offset int)) {
	for _, d := range dims {
		if d == 0 {
			return
		}
	}
	index := make([]int, len(dims))
	for {
		visit(offset)
		k := len(dims) - 1
		for ; k >= 0; k-- {
			index[k]++
			offset += strides[k]
			if index[k] < dims[k] {
				break
			}
			offset -= strides[k] * dims[k]
			index[k] = 0
		}
		if k < 0 {
			return
		}
	}
}

// rowStrides returns the strides of a row-major tensor.
func rowStrides(dims []int) []int {
	s := make([]int, len(dims))
	n := 1
	for k := len(dims) - 1; k >= 0; k-- {
		s[k] = n
		n *= dims[k]
	}
	return s
}

// broadcastStrides returns strides that spread a tensor over dims.
func broadcastStrides(of, dims []int) []int {
	own := rowStrides(of)
	s := make([]int, len(dims))
	for k := range of {
		if of[k] != 1 {
			s[k+len(dims)-len(of)] = own[k]
		}
	}
	return s
}

// indices lists the offsets that walk visits.
func indices(dims, strides []int, offset int) []int32 {
	n, _ := count(dims, math.MaxInt32)
	out := make([]int32, 0, n)
	walk(dims, strides, offset, func(o int) { out = append(out, int32(o)) })
	return out
}

// concreteDims returns dims as ints; ok is false if one is unknown.
func concreteDims(dims []Dim) ([]int, bool) {
	out := make([]int, len(dims))
	for k, d := range dims {
		if d.Size < 0 {
			return nil, false
		}
		out[k] = int(d.Size)
	}
	return out, true
}

// evaluate computes the outputs of a node from known inputs, where there is an
// evaluator and the result is small enough. limit bounds the elements.
func (c *call) evaluate(limit int) error {
	ev := evaluators[OpName(c.n)]
	if ev == nil || NormalDomain(c.n.GetDomain()) != "" {
		return nil
	}
	in := make([]*tensor, len(c.in))
	symbolic := false
	for k, v := range c.in {
		if v == nil || k == 1 && c.n.GetOpType() == "CastLike" {
			continue // only the type of CastLike's second input counts
		}
		if in[k] = v.content(limit); in[k] == nil {
			return nil
		}
		symbolic = symbolic || in[k].symbolic()
	}
	if symbolic || slices.ContainsFunc(c.in, func(v *value) bool { return v != nil && v.param }) {
		limit = min(limit, constantLimit)
	}
	for k, v := range c.out {
		if c.n.GetOutput()[k] == "" {
			continue
		}
		if v.data != nil || v.proto != nil {
			return nil // the rule knew
		}
		if !v.Known || !IsFloat(v.DType) && !IsInt(v.DType) {
			return nil
		}
		dims, ok := concreteDims(v.Dims)
		if !ok {
			return nil
		}
		if _, ok := count(dims, limit); !ok {
			return nil
		}
	}
	for _, v := range c.out {
		dims, _ := concreteDims(v.Dims)
		n, _ := count(dims, limit)
		if c.a.spent += n; c.a.spent > foldBudget {
			return fmt.Errorf("%w: constants of more than %d elements in all", ErrTooLarge, foldBudget)
		}
	}
	out, err := ev(c, in)
	if err != nil {
		return err
	}
	for k, t := range out {
		if t == nil || k >= len(c.out) {
			continue
		}
		dims, _ := concreteDims(c.out[k].Dims)
		if n, _ := count(dims, limit); n != t.len() {
			return fmt.Errorf("%w: %d elements computed where shape %v was inferred", ErrInvalid, t.len(), dims)
		}
		t.dims, t.dtype = dims, c.out[k].DType
		c.out[k].data = t.settle()
	}
	return nil
}

// content returns the elements of a constant of up to limit elements.
func (v *value) content(limit int) *tensor {
	if t := v.known(); t != nil {
		return t
	}
	if v.proto == nil {
		return nil
	}
	if n, err := Len(v.proto); err != nil || n > limit {
		return nil
	}
	t, _ := readTensor(v.proto)
	return t
}
