package onnx

import (
	"fmt"
	"math"
)

// Evaluators that compute.

// unaryMath is a function of one element, by kind of element; nil where the
// operator has no such kind or no form.
type unaryMath struct {
	f func(float64) float64
	i func(int64) int64
	s func(a *analysis, x *form) *form
}

func same(x int64) int64 { return x }

var unaryMaths = map[string]unaryMath{
	"Neg":        {func(x float64) float64 { return -x }, func(x int64) int64 { return -x }, func(a *analysis, x *form) *form { return a.add(&form{den: 1}, x, -1) }},
	"Abs":        {math.Abs, func(x int64) int64 { return max(x, -x) }, nil},
	"Floor":      {math.Floor, same, func(a *analysis, x *form) *form { return a.floor(x) }},
	"Ceil":       {math.Ceil, same, func(a *analysis, x *form) *form { return a.ceil(x) }},
	"Round":      {math.RoundToEven, same, nil},
	"Sqrt":       {math.Sqrt, nil, nil},
	"Exp":        {math.Exp, nil, nil},
	"Log":        {math.Log, nil, nil},
	"Reciprocal": {func(x float64) float64 { return 1 / x }, nil, nil},
	"Not":        {nil, func(x int64) int64 { return 1 - min(max(x, 0), 1) }, nil},
	"Relu":       {func(x float64) float64 { return max(x, 0) }, func(x int64) int64 { return max(x, 0) }, nil},
	"Sin":        {math.Sin, nil, nil},
	"Cos":        {math.Cos, nil, nil},
	"Tanh":       {math.Tanh, nil, nil},
	"Sigmoid":    {func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, nil, nil},
	"Sign": {func(x float64) float64 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return x
	}, func(x int64) int64 { return min(max(x, -1), 1) }, nil},
}

func evalUnary(c *call, in []*tensor) ([]*tensor, error) {
	m, x := unaryMaths[c.n.GetOpType()], in[0]
	out := &tensor{dtype: x.dtype, dims: x.dims}
	switch {
	case x.s != nil:
		if m.s == nil {
			return nil, nil
		}
		out.s = make([]*form, len(x.s))
		for k, f := range x.s {
			if f != nil {
				out.s[k] = m.s(c.a, f)
			}
		}
	case x.i != nil:
		if m.i == nil {
			return nil, nil
		}
		out.i = make([]int64, len(x.i))
		for k, v := range x.i {
			out.i[k] = narrow(m.i(v), x.dtype)
		}
	default:
		if m.f == nil {
			return nil, nil
		}
		out.f = make([]float32, len(x.f))
		for k, v := range x.f {
			out.f[k] = float32(m.f(float64(v)))
		}
	}
	return []*tensor{out}, nil
}

// binaryMath is a function of two elements; i reports false where it has no
// result (division by zero).
type binaryMath struct {
	f func(x, y float64) float64
	i func(x, y int64) (int64, bool)
	s func(a *analysis, x, y *form, integer bool) *form
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// compare makes a comparison; forms are compared where the sign of their
// difference is certain.
func compare(holds func(sign int) bool) binaryMath {
	return binaryMath{
		f: func(x, y float64) float64 {
			switch {
			case x < y:
				return float64(bit(holds(-1)))
			case x > y:
				return float64(bit(holds(1)))
			case x == y:
				return float64(bit(holds(0)))
			}
			return 0
		},
		i: func(x, y int64) (int64, bool) {
			switch {
			case x < y:
				return bit(holds(-1)), true
			case x > y:
				return bit(holds(1)), true
			}
			return bit(holds(0)), true
		},
		s: func(a *analysis, x, y *form, _ bool) *form {
			d := a.add(x, y, -1)
			if d == nil {
				return nil
			}
			sign, ok := signOf(*d)
			if !ok {
				return nil
			}
			return &form{c: bit(holds(sign)), den: 1}
		},
	}
}

// signOf returns the sign of a form if it is the same for all sizes; atoms are
// dimensions, so none is negative, and those of inputs are at least 1.
func signOf(f form) (int, bool) {
	if len(f.terms) == 0 {
		return sign(f.c), true
	}
	pos, neg := f.c > 0, f.c < 0
	for _, t := range f.terms {
		pos, neg = pos || t.k > 0, neg || t.k < 0
	}
	switch {
	case pos && !neg && f.c > 0:
		return 1, true
	case neg && !pos && f.c < 0:
		return -1, true
	}
	return 0, false
}

func sign(x int64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// larger is Max (sign 1) or Min (sign -1) of two forms, where it is certain.
func larger(want int) func(a *analysis, x, y *form, _ bool) *form {
	return func(a *analysis, x, y *form, _ bool) *form {
		d := a.add(x, y, -1)
		if d == nil {
			return nil
		}
		s, ok := signOf(*d)
		switch {
		case !ok:
			return nil
		case s == 0 || s == want:
			return x
		}
		return y
	}
}

func pair(f func(x, y int64) int64) func(x, y int64) (int64, bool) {
	return func(x, y int64) (int64, bool) { return f(x, y), true }
}

var binaryMaths = map[string]binaryMath{
	"Add": {func(x, y float64) float64 { return x + y }, pair(func(x, y int64) int64 { return x + y }),
		func(a *analysis, x, y *form, _ bool) *form { return a.add(x, y, 1) }},
	"Sub": {func(x, y float64) float64 { return x - y }, pair(func(x, y int64) int64 { return x - y }),
		func(a *analysis, x, y *form, _ bool) *form { return a.add(x, y, -1) }},
	"Mul": {func(x, y float64) float64 { return x * y }, pair(func(x, y int64) int64 { return x * y }),
		func(a *analysis, x, y *form, _ bool) *form { return a.mul(x, y) }},
	"Div": {func(x, y float64) float64 { return x / y }, func(x, y int64) (int64, bool) {
		if y == 0 || y == -1 && x == math.MinInt64 {
			return 0, false
		}
		return x / y, true
	}, func(a *analysis, x, y *form, integer bool) *form { return a.div(x, y, integer) }},
	"Mod": {math.Mod, func(x, y int64) (int64, bool) {
		if y == 0 || y == -1 {
			return 0, y == -1
		}
		r := x % y
		if r != 0 && (r < 0) != (y < 0) {
			r += y
		}
		return r, true
	}, func(a *analysis, x, y *form, integer bool) *form {
		if !integer {
			return nil
		}
		return a.add(x, a.mul(a.div(x, y, true), y), -1)
	}},
	"Pow":            {math.Pow, intPow, nil},
	"Min":            {math.Min, pair(func(x, y int64) int64 { return min(x, y) }), larger(-1)},
	"Max":            {math.Max, pair(func(x, y int64) int64 { return max(x, y) }), larger(1)},
	"And":            {nil, pair(func(x, y int64) int64 { return x & y }), nil},
	"Or":             {nil, pair(func(x, y int64) int64 { return x | y }), nil},
	"Xor":            {nil, pair(func(x, y int64) int64 { return x ^ y }), nil},
	"Equal":          compare(func(s int) bool { return s == 0 }),
	"Less":           compare(func(s int) bool { return s < 0 }),
	"LessOrEqual":    compare(func(s int) bool { return s <= 0 }),
	"Greater":        compare(func(s int) bool { return s > 0 }),
	"GreaterOrEqual": compare(func(s int) bool { return s >= 0 }),
}

func intPow(x, y int64) (int64, bool) {
	if y < 0 {
		return 0, false
	}
	r := int64(1)
	for range min(y, 64) {
		r *= x
	}
	return r, y <= 64 || x == 0 || x == 1
}

// evalBinary applies an operator of two or more inputs with broadcasting, from
// left to right.
func evalBinary(c *call, in []*tensor) ([]*tensor, error) {
	if AttrInt(c.n, "broadcast", 0) != 0 {
		return nil, nil // before opset 7 the axes align from the left
	}
	op := c.n.GetOpType()
	if op == "Sum" {
		op = "Add"
	}
	m := binaryMaths[op]
	if op == "Mod" && AttrInt(c.n, "fmod", 0) != 0 {
		m.s, m.i = nil, func(x, y int64) (int64, bool) {
			if y == 0 || y == -1 {
				return 0, y == -1
			}
			return x % y, true
		}
	}
	acc := in[0]
	for _, t := range in[1:] {
		if acc == nil || t == nil {
			return nil, nil
		}
		dims, err := broadcastSizes(acc.dims, t.dims)
		if err != nil {
			return nil, err
		}
		if acc, err = c.combine(m, acc, t, dims); err != nil || acc == nil {
			return nil, err
		}
	}
	return []*tensor{acc}, nil
}

func (c *call) combine(m binaryMath, x, y *tensor, dims []int) (*tensor, error) {
	dtype := c.out[0].DType
	xi, yi := indices(dims, broadcastStrides(x.dims, dims), 0), indices(dims, broadcastStrides(y.dims, dims), 0)
	if x.symbolic() || y.symbolic() {
		if m.s == nil {
			return nil, nil
		}
		out := &tensor{dtype: dtype, dims: dims, s: make([]*form, len(xi))}
		for k := range xi {
			if a, b := x.at(int(xi[k])), y.at(int(yi[k])); a != nil && b != nil {
				out.s[k] = m.s(c.a, a, b, !IsFloat(x.dtype))
			}
		}
		return out, nil
	}
	out := newTensor(dtype, dims)
	for k := range xi {
		if x.i != nil && y.i != nil && m.i != nil {
			v, ok := m.i(x.i[xi[k]], y.i[yi[k]])
			if !ok {
				return nil, fmt.Errorf("%w: %s of %d and %d", ErrInvalid, c.n.GetOpType(), x.i[xi[k]], y.i[yi[k]])
			}
			if out.i == nil {
				return nil, nil
			}
			out.i[k] = narrow(v, dtype)
			continue
		}
		if x.f == nil || y.f == nil || m.f == nil {
			return nil, nil
		}
		v := m.f(float64(x.f[xi[k]]), float64(y.f[yi[k]]))
		if out.f != nil {
			out.f[k] = float32(v)
		} else {
			out.i[k] = int64(v) // comparisons
		}
	}
	return out, nil
}

func broadcastSizes(a, b []int) ([]int, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := append([]int(nil), a...)
	for k, d := range b {
		at := k + len(a) - len(b)
		switch {
		case out[at] == d || d == 1:
		case out[at] == 1:
			out[at] = d
		default:
			return nil, fmt.Errorf("%w: shapes %v and %v do not broadcast", ErrInvalid, a, b)
		}
	}
	return out, nil
}

func evalWhere(c *call, in []*tensor) ([]*tensor, error) {
	dims, _ := concreteDims(c.out[0].Dims)
	ci := indices(dims, broadcastStrides(in[0].dims, dims), 0)
	xi, yi := indices(dims, broadcastStrides(in[1].dims, dims), 0), indices(dims, broadcastStrides(in[2].dims, dims), 0)
	out := &tensor{dtype: in[1].dtype, dims: dims}
	symbolic := in[0].symbolic() || in[1].symbolic() || in[2].symbolic()
	for k := range ci {
		cond := in[0].at(int(ci[k]))
		from, at := in[2], int(yi[k])
		if cond != nil && cond.c != 0 {
			from, at = in[1], int(xi[k])
		}
		switch {
		case symbolic && (cond == nil || len(cond.terms) > 0):
			out.s = append(out.s, nil)
		case symbolic:
			out.s = append(out.s, from.at(at))
		case from.i != nil:
			out.i = append(out.i, from.i[at])
		default:
			out.f = append(out.f, from.f[at])
		}
	}
	return []*tensor{out}, nil
}

var evaluators = map[string]evaluator{
	"Reshape": evalView, "Squeeze": evalView, "Unsqueeze": evalView, "Flatten": evalView, "Identity": evalView,
	"Transpose": evalTranspose, "Expand": evalExpand, "Tile": evalTile, "Slice": evalSlice, "Gather": evalGather,
	"Concat": evalConcat, "Split": evalSplit, "Pad": evalPad, "Cast": evalCast, "CastLike": evalCast,
	"Where": evalWhere, "Range": evalRange, "ConstantOfShape": evalConstantOfShape, "Clip": evalClip,
	"ReduceSum": evalReduce, "ReduceMean": evalReduce, "ReduceProd": evalReduce, "ReduceMax": evalReduce, "ReduceMin": evalReduce,
	"Sum": evalBinary,
}

func init() {
	for op := range unaryMaths {
		evaluators[op] = evalUnary
	}
	for op := range binaryMaths {
		evaluators[op] = evalBinary
	}
}
