package onnx

import "fmt"

// Evaluators that make, fold and bound tensors.

// evalRange counts; the rule has bounded the length.
func evalRange(c *call, in []*tensor) ([]*tensor, error) {
	dims, _ := concreteDims(c.out[0].Dims)
	out := newTensor(c.out[0].DType, dims)
	for _, t := range in {
		if t == nil || t.symbolic() || t.len() != 1 {
			return nil, nil
		}
	}
	for k := range out.i {
		if in[0].i == nil || in[2].i == nil {
			return nil, nil
		}
		out.i[k] = in[0].i[0] + int64(k)*in[2].i[0]
	}
	for k := range out.f {
		if in[0].f == nil || in[2].f == nil {
			return nil, nil
		}
		out.f[k] = in[0].f[0] + float32(k)*in[2].f[0]
	}
	return []*tensor{out}, nil
}

func evalConstantOfShape(c *call, _ []*tensor) ([]*tensor, error) {
	dims, _ := concreteDims(c.out[0].Dims)
	out := newTensor(c.out[0].DType, dims)
	if p := AttrTensor(c.n, "value"); p != nil {
		t, err := readTensor(p)
		if err != nil {
			return nil, err
		}
		if t == nil || t.len() != 1 {
			return nil, fmt.Errorf("%w: the value has to be a tensor of one element", ErrInvalid)
		}
		for k := range out.f {
			out.f[k] = t.f[0]
		}
		for k := range out.i {
			out.i[k] = t.i[0]
		}
	}
	return []*tensor{out}, nil
}

// evalReduce folds the axes that the rule reduced.
func evalReduce(c *call, in []*tensor) ([]*tensor, error) {
	axes, ok, err := c.reduceAxes(len(in[0].dims))
	if err != nil || !ok {
		return nil, err
	}
	kept := append([]int(nil), in[0].dims...)
	elems := 1
	for _, a := range axes {
		elems *= kept[a]
		kept[a] = 1
	}
	n, _ := count(kept, 1<<31-1)
	strides := broadcastStrides(kept, in[0].dims)
	to := indices(in[0].dims, strides, 0)
	op := map[string]string{"ReduceSum": "Add", "ReduceMean": "Add", "ReduceProd": "Mul", "ReduceMax": "Max", "ReduceMin": "Min"}[c.n.GetOpType()]
	if elems == 0 || op == "" {
		return nil, nil
	}
	m := binaryMaths[op]
	out := &tensor{dtype: in[0].dtype, dims: kept}
	seen := make([]bool, n)
	switch {
	case in[0].s != nil:
		out.s = make([]*form, n)
		for k, t := range to {
			if !seen[t] {
				out.s[t], seen[t] = in[0].s[k], true
			} else if out.s[t] != nil && in[0].s[k] != nil {
				out.s[t] = m.s(c.a, out.s[t], in[0].s[k], true)
			} else {
				out.s[t] = nil
			}
		}
		if c.n.GetOpType() == "ReduceMean" {
			return nil, nil
		}
	case in[0].i != nil:
		out.i = make([]int64, n)
		for k, t := range to {
			if !seen[t] {
				out.i[t], seen[t] = in[0].i[k], true
			} else {
				out.i[t], _ = m.i(out.i[t], in[0].i[k])
			}
		}
		if c.n.GetOpType() == "ReduceMean" {
			for k := range out.i {
				out.i[k] /= int64(elems)
			}
		}
	default:
		sums := make([]float64, n)
		for k, t := range to {
			if !seen[t] {
				sums[t], seen[t] = float64(in[0].f[k]), true
			} else {
				sums[t] = m.f(sums[t], float64(in[0].f[k]))
			}
		}
		out.f = make([]float32, n)
		for k, v := range sums {
			if c.n.GetOpType() == "ReduceMean" {
				v /= float64(elems)
			}
			out.f[k] = float32(v)
		}
	}
	return []*tensor{out}, nil
}

// evalClip limits integers and floats.
func evalClip(c *call, in []*tensor) ([]*tensor, error) {
	if c.version < 11 || in[0].symbolic() {
		return nil, nil
	}
	acc := in[0]
	for k, name := range []string{"Max", "Min"} {
		if k+1 >= len(in) || in[k+1] == nil {
			continue
		}
		if in[k+1].symbolic() || in[k+1].len() != 1 {
			return nil, nil
		}
		t, err := c.combine(binaryMaths[name], acc, in[k+1].view(nil), acc.dims)
		if err != nil || t == nil {
			return nil, err
		}
		acc = t
	}
	return []*tensor{acc}, nil
}
