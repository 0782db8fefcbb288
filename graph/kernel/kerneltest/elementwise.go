package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// function is the float64 definition of a UnaryOp.
type function struct {
	op          kernel.UnaryOp
	name        string
	alpha, beta float32
	f           func(x float64) float64
	df          func(x float64) float64
	lo, hi      float64 // range of the arguments tested
	exact       bool    // chooses or rounds, so no error is allowed
	corners     []float64
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func step(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

var functions = []function{
	{op: kernel.Affine, name: "Affine", alpha: -1.5, beta: 0.25, lo: -4, hi: 4,
		f: func(x float64) float64 { return -1.5*x + 0.25 }, df: func(float64) float64 { return -1.5 }},
	{op: kernel.Relu, name: "Relu", lo: -4, hi: 4, exact: true, corners: []float64{0},
		f: func(x float64) float64 { return max(x, 0) }, df: func(x float64) float64 { return step(x > 0) }},
	{op: kernel.Clamp, name: "Clamp", alpha: 0, beta: 6, lo: -4, hi: 10, exact: true, corners: []float64{0, 6},
		f: func(x float64) float64 { return min(max(x, 0), 6) }, df: func(x float64) float64 { return step(x > 0 && x < 6) }},
	{op: kernel.LeakyRelu, name: "LeakyRelu", alpha: 0.125, lo: -4, hi: 4,
		f:  func(x float64) float64 { return max(x, 0) + 0.125*min(x, 0) },
		df: func(x float64) float64 { return 0.125 + 0.875*step(x > 0) }},
	{op: kernel.Elu, name: "Elu", alpha: 0.75, lo: -6, hi: 4,
		f:  func(x float64) float64 { return max(x, 0) + 0.75*math.Expm1(min(x, 0)) },
		df: func(x float64) float64 { return step(x > 0) + step(x <= 0)*0.75*math.Exp(min(x, 0)) }},
	{op: kernel.Sigmoid, name: "Sigmoid", lo: -12, hi: 12, f: sigmoid,
		df: func(x float64) float64 { return sigmoid(x) * (1 - sigmoid(x)) }},
	{op: kernel.HardSigmoid, name: "HardSigmoid", alpha: 0.2, beta: 0.5, lo: -4, hi: 4,
		f:  func(x float64) float64 { return min(max(float64(float32(0.2))*x+0.5, 0), 1) },
		df: func(x float64) float64 { return float64(float32(0.2)) * step(x > -2.5 && x < 2.5) }},
	{op: kernel.HardSwish, name: "HardSwish", lo: -5, hi: 5,
		f: func(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) },
		df: func(x float64) float64 {
			switch {
			case x <= -3:
				return 0
			case x >= 3:
				return 1
			}
			return x/3 + 0.5
		}},
	{op: kernel.Tanh, name: "Tanh", lo: -5, hi: 5, f: math.Tanh,
		df: func(x float64) float64 { return 1 - math.Tanh(x)*math.Tanh(x) }},
	{op: kernel.Exp, name: "Exp", lo: -20, hi: 5, f: math.Exp, df: math.Exp},
	{op: kernel.Log, name: "Log", lo: 0.01, hi: 50, f: math.Log, df: func(x float64) float64 { return 1 / x }},
	{op: kernel.Sqrt, name: "Sqrt", lo: 0.01, hi: 50, f: math.Sqrt, df: func(x float64) float64 { return 0.5 / math.Sqrt(x) }},
	{op: kernel.Abs, name: "Abs", lo: -4, hi: 4, exact: true, corners: []float64{0}, f: math.Abs,
		df: func(x float64) float64 { return step(x > 0) - step(x < 0) }},
	{op: kernel.Neg, name: "Neg", lo: -4, hi: 4, exact: true,
		f: func(x float64) float64 { return -x }, df: func(float64) float64 { return -1 }},
	{op: kernel.Reciprocal, name: "Reciprocal", lo: 0.2, hi: 9,
		f: func(x float64) float64 { return 1 / x }, df: func(x float64) float64 { return -1 / (x * x) }},
	{op: kernel.Erf, name: "Erf", lo: -4, hi: 4, f: math.Erf,
		df: func(x float64) float64 { return 2 / math.Sqrt(math.Pi) * math.Exp(-x*x) }},
	{op: kernel.Softplus, name: "Softplus", lo: -9, hi: 30,
		f: func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, df: sigmoid},
	{op: kernel.Floor, name: "Floor", lo: -4, hi: 4, exact: true, corners: []float64{-1, 0, 2, -0.5}, f: math.Floor, df: func(float64) float64 { return 0 }},
	{op: kernel.Ceil, name: "Ceil", lo: -4, hi: 4, exact: true, corners: []float64{-1, 0, 2, 0.5}, f: math.Ceil, df: func(float64) float64 { return 0 }},
	{op: kernel.Round, name: "Round", lo: -4, hi: 4, exact: true, corners: []float64{-1.5, -0.5, 0.5, 1.5, 2.5}, f: math.RoundToEven, df: func(float64) float64 { return 0 }},
}

// atLeast returns the magnitudes of v, but none below floor.
func atLeast(v []float64, floor float64) []float64 {
	m := make([]float64, len(v))
	for i, x := range v {
		m[i] = max(math.Abs(x), floor)
	}
	return m
}

func testUnary(t *testing.T, dev kernel.Device) {
	for i, f := range functions {
		for _, n := range []int{1, 15, 1037, 40001} {
			rng := newRand(dev, uint64(i))
			x := uniform(rng, n, f.lo, f.hi)
			copy(x, f.corners)
			dy := normal(rng, n)
			y, dx := value{want: make([]float64, n)}, value{want: make([]float64, n)}
			y32 := make([]float64, n)
			for k, v := range x {
				y.want[k] = f.f(v)
				y32[k] = float64(float32(y.want[k]))
				dx.want[k] = dy[k] * f.df(v)
			}
			if !f.exact {
				y.mag = atLeast(y.want, 0.1)
			}
			dx.mag = make([]float64, n)
			for k := range dx.mag {
				dx.mag[k] = math.Abs(dy[k]) * max(math.Abs(f.df(x[k])), 1)
			}
			name := fmt.Sprintf("%s %d", f.name, n)
			(&spec{name: name, desc: kernel.Unary{Op: f.op, Alpha: f.alpha, Beta: f.beta, Len: n},
				in: [][]float64{x, nil}, want: []value{y}, tol: funcTol, alias: [][2]int{{1, 0}}}).test(t, dev)
			back := &spec{name: name + " backward", desc: kernel.UnaryBackward{Op: f.op, Alpha: f.alpha, Beta: f.beta, Len: n},
				in: [][]float64{x, y32, dy, nil}, want: []value{dx}, tol: funcTol, alias: [][2]int{{3, 2}}}
			if n == 15 && len(f.corners) == 0 {
				back.point, back.loss = x, func(v []float64) float64 {
					s := 0.0
					for k, x := range v {
						s += dy[k] * f.f(x)
					}
					return s
				}
			}
			back.test(t, dev)
		}
	}
	testUnarySpecials(t, dev)
}

// testUnarySpecials checks what becomes of NaN and the infinities.
func testUnarySpecials(t *testing.T, dev kernel.Device) {
	nan, inf := math.NaN(), math.Inf(1)
	x := make([]float64, 40)
	copy(x, []float64{nan, inf, -inf, 1})
	x[20], x[38], x[39] = nan, -inf, nan
	with := func(f func(float64) float64) []value {
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = f(v)
		}
		return []value{{want: y}}
	}
	relu := func(v float64) float64 { return max(v, 0) }
	clamp := func(v float64) float64 { return min(max(v, -1), 6) }
	(&spec{name: "Relu of NaN", desc: kernel.Unary{Op: kernel.Relu, Len: 40}, in: [][]float64{x, nil}, want: with(relu)}).test(t, dev)
	(&spec{name: "Clamp of NaN", desc: kernel.Unary{Op: kernel.Clamp, Alpha: -1, Beta: 6, Len: 40}, in: [][]float64{x, nil}, want: with(clamp)}).test(t, dev)
	big := []float64{100, -100, 0, 90, -90}
	want := []float64{1, sigmoid(-100), 0.5, 1, sigmoid(-90)}
	(&spec{name: "Sigmoid far out", desc: kernel.Unary{Op: kernel.Sigmoid, Len: 5}, in: [][]float64{big, nil},
		want: []value{{want, atLeast(want, 0.1)}}, tol: funcTol}).test(t, dev)
	want = []float64{100, 0, math.Ln2, 90, 0}
	(&spec{name: "Softplus far out", desc: kernel.Unary{Op: kernel.Softplus, Len: 5}, in: [][]float64{big, nil},
		want: []value{{want, atLeast(want, 0.1)}}, tol: funcTol}).test(t, dev)
}

var combinations = []struct {
	op    kernel.BinaryOp
	name  string
	f     func(a, b float64) float64
	exact bool
}{
	{kernel.Add, "Add", func(a, b float64) float64 { return a + b }, false},
	{kernel.Sub, "Sub", func(a, b float64) float64 { return a - b }, false},
	{kernel.Mul, "Mul", func(a, b float64) float64 { return a * b }, false},
	{kernel.Div, "Div", func(a, b float64) float64 { return a / b }, false},
	{kernel.Max, "Max", func(a, b float64) float64 { return max(a, b) }, true},
	{kernel.Min, "Min", func(a, b float64) float64 { return min(a, b) }, true},
	{kernel.Pow, "Pow", math.Pow, false},
	{kernel.PRelu, "PRelu", func(a, b float64) float64 { return max(a, 0) + b*min(a, 0) }, false},
	{kernel.Greater, "Greater", func(a, b float64) float64 { return step(a > b) }, true},
	{kernel.GreaterEqual, "GreaterEqual", func(a, b float64) float64 { return step(a >= b) }, true},
	{kernel.Equal, "Equal", func(a, b float64) float64 { return step(a == b) }, true},
}

// broadcast returns the element of a tensor that output position pos reads.
func broadcast(shape []int, pos []int) int {
	i := 0
	for k, n := range shape {
		p := pos[k]
		if n == 1 {
			p = 0
		}
		i = i*n + p
	}
	return i
}

// positions calls f with every position of a shape in row-major order.
func positions(shape []int, f func(i int, pos []int)) {
	pos := make([]int, len(shape))
	for i := range kernel.Len(shape) {
		f(i, pos)
		for k := len(shape) - 1; k >= 0; k-- {
			if pos[k]++; pos[k] < shape[k] {
				break
			}
			pos[k] = 0
		}
	}
}

func testBinary(t *testing.T, dev kernel.Device) {
	shapes := [][2][]int{
		{{}, {}}, {{17}, {17}}, {{30011}, {30011}}, {{1}, {9}}, {{5, 1}, {1, 7}},
		{{2, 3, 4, 5}, {2, 3, 4, 5}}, {{2, 19, 4, 5}, {1, 19, 1, 1}}, {{2, 3, 4, 5}, {2, 1, 4, 5}},
		{{2, 3, 1, 5}, {2, 1, 4, 5}}, {{2, 32, 9, 7}, {2, 32, 1, 1}}, {{1, 1, 1, 1}, {2, 3, 4, 5}},
		{{1, 8, 1, 1}, {3, 1, 50, 40}}, {{2, 3, 4, 5, 6}, {1, 3, 1, 5, 1}}, {{3, 0, 2}, {3, 1, 2}},
	}
	for i, c := range combinations {
		for k, s := range shapes {
			rng := newRand(dev, uint64(100*i+k))
			out := make([]int, len(s[0]))
			for d := range out {
				out[d] = max(s[0][d], s[1][d])
				if s[0][d] == 0 || s[1][d] == 0 {
					out[d] = 0
				}
			}
			lo := -3.0
			if c.op == kernel.Pow {
				lo = 0.125
			}
			a, b := uniform(rng, kernel.Len(s[0]), lo, 3), uniform(rng, kernel.Len(s[1]), -3, 3)
			for j := range a { // some equal pairs
				if j%5 == 0 && len(b) == len(a) && lo < 0 {
					a[j] = b[j]
				}
			}
			y := value{want: make([]float64, kernel.Len(out))}
			if !c.exact {
				y.mag = make([]float64, len(y.want))
			}
			positions(out, func(i int, pos []int) {
				u, v := a[broadcast(s[0], pos)], b[broadcast(s[1], pos)]
				y.want[i] = c.f(u, v)
				if !c.exact {
					y.mag[i] = math.Abs(y.want[i])
					if c.op == kernel.Add || c.op == kernel.Sub {
						y.mag[i] = math.Abs(u) + math.Abs(v)
					}
				}
			})
			var alias [][2]int
			if fmt.Sprint(s[0]) == fmt.Sprint(out) {
				alias = append(alias, [2]int{2, 0})
			}
			if fmt.Sprint(s[1]) == fmt.Sprint(out) {
				alias = append(alias, [2]int{2, 1})
			}
			(&spec{name: fmt.Sprintf("%s %v %v", c.name, s[0], s[1]), desc: kernel.Binary{Op: c.op, A: s[0], B: s[1], Out: out},
				in: [][]float64{a, b, nil}, want: []value{y}, tol: funcTol, alias: alias}).test(t, dev)
		}
	}
	nan := math.NaN()
	a, b := []float64{nan, 1, nan, 2}, []float64{1, nan, nan, 3}
	(&spec{name: "Max of NaN", desc: kernel.Binary{Op: kernel.Max, A: []int{4}, B: []int{4}, Out: []int{4}},
		in: [][]float64{a, b, nil}, want: []value{{want: []float64{nan, nan, nan, 3}}}}).test(t, dev)
	(&spec{name: "Min of NaN", desc: kernel.Binary{Op: kernel.Min, A: []int{4}, B: []int{4}, Out: []int{4}},
		in: [][]float64{a, b, nil}, want: []value{{want: []float64{nan, nan, nan, 2}}}}).test(t, dev)
	testAddN(t, dev)
}

func testAddN(t *testing.T, dev kernel.Device) {
	for _, n := range []int{1, 19, 20011} {
		for inputs := 1; inputs <= 4; inputs++ {
			s := spec{name: fmt.Sprintf("AddN %d of %d", inputs, n), desc: kernel.AddN{Inputs: inputs, Len: n}, alias: [][2]int{{inputs, 0}}}
			y := value{make([]float64, n), make([]float64, n)}
			for i := range inputs {
				x := normal(newRand(dev, uint64(i)), n)
				s.in = append(s.in, x)
				for k, v := range x {
					y.want[k] += v
					y.mag[k] += math.Abs(v)
				}
			}
			s.in, s.want = append(s.in, nil), []value{y}
			s.test(t, dev)
			clipped := value{make([]float64, n), y.mag}
			for k, v := range y.want {
				clipped.want[k] = min(max(v, -0.25), 1)
			}
			s.name += " clipped"
			s.desc, s.want = kernel.AddN{Inputs: inputs, Len: n, Act: kernel.Clip{On: true, Lo: -0.25, Hi: 1}}, []value{clipped}
			s.test(t, dev)
		}
		fill := make([]float64, n)
		for i := range fill {
			fill[i] = -2.5
		}
		(&spec{name: fmt.Sprintf("Fill %d", n), desc: kernel.Fill{Len: n, Value: -2.5}, in: [][]float64{nil}, want: []value{{want: fill}}}).test(t, dev)
	}
}

func testReduce(t *testing.T, dev kernel.Device) {
	names := []string{"Sum", "Mean", "Max", "Min", "SumSquare"}
	shapes := [][2][]int{
		{{7}, {1}}, {{7}, {7}}, {{40001}, {1}}, {{5, 9}, {5, 1}}, {{5, 9}, {1, 9}}, {{300, 70}, {1, 70}},
		{{2, 19, 5, 7}, {2, 19, 1, 1}}, {{2, 33, 40, 30}, {1, 33, 1, 1}}, {{2, 19, 5, 7}, {2, 1, 5, 7}}, {{2, 19, 5, 7}, {1, 1, 1, 1}},
		{{2, 19, 5, 7}, {1, 19, 5, 1}}, {{2, 3, 4, 5, 6}, {2, 1, 4, 1, 6}}, {{3, 1, 2}, {1, 1, 2}},
	}
	for op, name := range names {
		for i, s := range shapes {
			rng := newRand(dev, uint64(100*op+i))
			x := normal(rng, kernel.Len(s[0]))
			n := kernel.Len(s[1])
			count := float64(len(x) / n)
			y := value{make([]float64, n), make([]float64, n)}
			for k := range y.want {
				y.want[k] = []float64{0, 0, math.Inf(-1), math.Inf(1), 0}[op]
			}
			positions(s[0], func(i int, pos []int) {
				k, v := broadcast(s[1], pos), x[i]
				switch kernel.ReduceOp(op) {
				case kernel.ReduceSum:
					y.want[k] += v
				case kernel.ReduceMean:
					y.want[k] += v / count
				case kernel.ReduceMax:
					y.want[k] = max(y.want[k], v)
				case kernel.ReduceMin:
					y.want[k] = min(y.want[k], v)
				case kernel.ReduceSumSquare:
					y.want[k] += v * v
				}
				switch kernel.ReduceOp(op) {
				case kernel.ReduceSum:
					y.mag[k] += math.Abs(v)
				case kernel.ReduceMean:
					y.mag[k] += math.Abs(v) / count
				case kernel.ReduceSumSquare:
					y.mag[k] += v * v
				}
			})
			(&spec{name: fmt.Sprintf("%s %v %v", name, s[0], s[1]), desc: kernel.Reduce{Op: kernel.ReduceOp(op), In: s[0], Shape: s[1]},
				in: [][]float64{x, nil}, want: []value{y}}).test(t, dev)
		}
	}
}
