package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Evaluators that only move elements: they work on numbers and on forms alike.

// evalView keeps the elements under the inferred shape: Reshape, Squeeze,
// Unsqueeze, Flatten, Identity.
func evalView(_ *call, in []*tensor) ([]*tensor, error) {
	return []*tensor{in[0].view(nil)}, nil
}

func evalTranspose(c *call, in []*tensor) ([]*tensor, error) {
	dims, _ := concreteDims(c.out[0].Dims)
	own := rowStrides(in[0].dims)
	strides := make([]int, len(dims))
	for k, p := range permutation(c.n, len(dims)) {
		strides[k] = own[p]
	}
	return []*tensor{in[0].pick(dims, indices(dims, strides, 0))}, nil
}

func evalExpand(c *call, in []*tensor) ([]*tensor, error) {
	dims, _ := concreteDims(c.out[0].Dims)
	return []*tensor{in[0].pick(dims, indices(dims, broadcastStrides(in[0].dims, dims), 0))}, nil
}

func evalTile(c *call, in []*tensor) ([]*tensor, error) {
	dims, _ := concreteDims(c.out[0].Dims)
	own, from := rowStrides(in[0].dims), rowStrides(dims)
	n, _ := count(dims, 1<<31-1)
	index := make([]int32, n)
	for k := range index {
		rest, at := k, 0
		for d := range dims {
			at += rest / from[d] % in[0].dims[d] * own[d]
			rest %= from[d]
		}
		index[k] = int32(at)
	}
	return []*tensor{in[0].pick(dims, index)}, nil
}

func evalSlice(c *call, in []*tensor) ([]*tensor, error) {
	dims, _ := concreteDims(c.out[0].Dims)
	cuts, ok, err := c.cuts()
	if err != nil || !ok {
		return nil, err
	}
	own := rowStrides(in[0].dims)
	offset := 0
	for _, cut := range cuts {
		start, _ := cut.bounds(int64(in[0].dims[cut.axis]))
		offset += int(start) * own[cut.axis]
		own[cut.axis] *= int(cut.step)
	}
	return []*tensor{in[0].pick(dims, indices(dims, own, offset))}, nil
}

func evalGather(c *call, in []*tensor) ([]*tensor, error) {
	axis, err := normalAxis(AttrInt(c.n, "axis", 0), len(in[0].dims))
	if err != nil {
		return nil, err
	}
	which, ok := in[1].ints()
	if !ok {
		return nil, nil
	}
	size := in[0].dims[axis]
	outer, _ := count(in[0].dims[:axis], 1<<31-1)
	inner, _ := count(in[0].dims[axis+1:], 1<<31-1)
	index := make([]int32, 0, outer*len(which)*inner)
	for o := range outer {
		for _, w := range which {
			if w < 0 {
				w += int64(size)
			}
			if w < 0 || w >= int64(size) {
				return nil, fmt.Errorf("%w: index %d for an axis of length %d", ErrInvalid, w, size)
			}
			for k := range inner {
				index = append(index, int32((o*size+int(w))*inner+k))
			}
		}
	}
	return []*tensor{in[0].pick(nil, index)}, nil
}

func evalConcat(c *call, in []*tensor) ([]*tensor, error) {
	axis, err := normalAxis(AttrInt(c.n, "axis", 1), len(c.out[0].Dims))
	if err != nil {
		return nil, err
	}
	dims, _ := concreteDims(c.out[0].Dims)
	symbolic := false
	for _, t := range in {
		if t == nil {
			return nil, nil
		}
		symbolic = symbolic || t.symbolic()
	}
	outer, _ := count(dims[:axis], 1<<31-1)
	out := &tensor{}
	for o := range outer {
		for _, t := range in {
			per := t.len() / max(outer, 1)
			for k := o * per; k < (o+1)*per; k++ {
				switch {
				case symbolic:
					out.s = append(out.s, t.at(k))
				case t.i != nil:
					out.i = append(out.i, t.i[k])
				default:
					out.f = append(out.f, t.f[k])
				}
			}
		}
	}
	return []*tensor{out}, nil
}

func evalSplit(c *call, in []*tensor) ([]*tensor, error) {
	axis, err := normalAxis(AttrInt(c.n, "axis", 0), len(in[0].dims))
	if err != nil {
		return nil, err
	}
	own := rowStrides(in[0].dims)
	offset := 0
	var out []*tensor
	for _, v := range c.out {
		dims, ok := concreteDims(v.Dims)
		if !ok {
			return nil, nil
		}
		out = append(out, in[0].pick(dims, indices(dims, own, offset)))
		offset += dims[axis] * own[axis]
	}
	return out, nil
}

// evalPad pads with a constant.
func evalPad(c *call, in []*tensor) ([]*tensor, error) {
	pads, ok := c.pads(len(in[0].dims))
	if !ok || AttrString(c.n, "mode", "constant") != "constant" || in[0].symbolic() {
		return nil, nil
	}
	fill := AttrFloat(c.n, "value", 0)
	if len(in) > 2 && in[2] != nil {
		f, ok := in[2].floats()
		if !ok || len(f) != 1 {
			return nil, nil
		}
		fill = f[0]
	}
	dims, _ := concreteDims(c.out[0].Dims)
	out := newTensor(in[0].dtype, dims)
	from, own := rowStrides(dims), rowStrides(in[0].dims)
	n, _ := count(dims, 1<<31-1)
	for k := range n {
		rest, at := k, 0
		for d := range dims {
			j := rest/from[d] - int(pads[d])
			rest %= from[d]
			if j < 0 || j >= in[0].dims[d] {
				at = -1
				break
			}
			at += j * own[d]
		}
		switch {
		case out.f != nil && at >= 0:
			out.f[k] = in[0].f[at]
		case out.f != nil:
			out.f[k] = fill
		case at >= 0:
			out.i[k] = in[0].i[at]
		default:
			out.i[k] = int64(fill)
		}
	}
	return []*tensor{out}, nil
}

// evalCast converts between numbers; forms become whole by rounding down,
// which for shape arithmetic (no negative numbers) is what a cast does.
func evalCast(c *call, in []*tensor) ([]*tensor, error) {
	return []*tensor{c.a.cast(in[0], c.out[0].DType)}, nil
}

func (a *analysis) cast(t *tensor, to pb.TensorProto_DataType) *tensor {
	if t.symbolic() {
		u := &tensor{dtype: to, dims: t.dims, s: make([]*form, len(t.s))}
		for k, f := range t.s {
			switch {
			case to == pb.TensorProto_BOOL && t.dtype != pb.TensorProto_BOOL:
			case IsFloat(to):
				u.s[k] = f
			default:
				u.s[k] = a.floor(f)
			}
		}
		return u
	}
	u := newTensor(to, t.dims)
	for k := range t.len() {
		switch {
		case u.f != nil && t.f != nil:
			u.f[k] = t.f[k]
		case u.f != nil:
			u.f[k] = float32(t.i[k])
		case to == pb.TensorProto_BOOL:
			if t.f != nil && t.f[k] != 0 || t.i != nil && t.i[k] != 0 {
				u.i[k] = 1
			}
		case t.f != nil:
			u.i[k] = narrow(truncate(t.f[k]), to)
		default:
			u.i[k] = narrow(t.i[k], to)
		}
	}
	return u
}

// truncate rounds towards zero; out of range numbers become the nearest limit.
func truncate(f float32) int64 {
	switch {
	case f != f:
		return 0
	case f >= 1<<62:
		return 1 << 62
	case f <= -(1 << 62):
		return -(1 << 62)
	}
	return int64(f)
}
