package native

import (
	"fmt"
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// grain is how many elements of cheap work one share should have at least:
// waking a worker costs about as much.
const grain = 16384

// each applies f to every element of x.
func each(f func(float32) float32) func(y, x []float32) {
	return func(y, x []float32) {
		x = x[:len(y)]
		for i, v := range x {
			y[i] = f(v)
		}
	}
}

// each64 applies a float64 function.
func each64(f func(float64) float64) func(y, x []float32) {
	return each(func(v float32) float32 { return float32(f(float64(v))) })
}

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

func softplus(x float64) float64 {
	if x > 0 {
		return x + math.Log1p(math.Exp(-x))
	}
	return math.Log1p(math.Exp(x))
}

// clamp32 is min(max(x, lo), hi) that lets a NaN through.
func clamp32(x, lo, hi float32) float32 {
	if x < lo {
		x = lo
	}
	if x > hi {
		x = hi
	}
	return x
}

func unary(p *program, d kernel.Unary) error {
	a, b := d.Alpha, d.Beta
	var f func(y, x []float32)
	var half func(h [][]uint16)
	costly := true
	bounded := func(lo, hi float32) {
		costly = false
		f = func(y, x []float32) { p.isa.clamp(y, x, lo, hi) }
		half = func(h [][]uint16) { p.isa.half.clamp(h[1], h[0], lo, hi) }
	}
	switch d.Op {
	case kernel.Affine:
		costly = false
		f = func(y, x []float32) { p.isa.affine(y, x, a, b) }
	case kernel.Relu:
		bounded(0, float32(math.Inf(1)))
	case kernel.Clamp:
		bounded(a, b)
	case kernel.LeakyRelu:
		f = each(func(v float32) float32 {
			if v < 0 {
				return a * v
			}
			return v
		})
	case kernel.Elu:
		f = each64(func(v float64) float64 {
			if v < 0 {
				return float64(a) * math.Expm1(v)
			}
			return v
		})
	case kernel.Sigmoid:
		return chunked(p, d.Len, func(y, x, tmp []float32) { vecSigmoid(p.isa, y, x, tmp) })
	case kernel.HardSigmoid:
		f = each(func(v float32) float32 { return clamp32(a*v+b, 0, 1) })
	case kernel.HardSwish:
		costly = false
		f = func(y, x []float32) { p.isa.gate(y, x, 1.0/6, 0.5, 0, 1) }
	case kernel.Tanh:
		f = each64(math.Tanh)
	case kernel.Exp:
		f = each64(math.Exp)
	case kernel.Log:
		f = each64(math.Log)
	case kernel.Sqrt:
		f = each64(math.Sqrt)
	case kernel.Abs:
		f = each64(math.Abs)
	case kernel.Neg:
		f = each(func(v float32) float32 { return -v })
	case kernel.Reciprocal:
		f = each(func(v float32) float32 { return 1 / v })
	case kernel.Erf:
		f = each64(math.Erf)
	case kernel.Softplus:
		f = each64(softplus)
	case kernel.Floor:
		f = each64(math.Floor)
	case kernel.Ceil:
		f = each64(math.Ceil)
	case kernel.Round:
		f = each64(math.RoundToEven)
	default:
		return fmt.Errorf("native: unary operation %d: %w", d.Op, kernel.ErrUnsupported)
	}
	g := grain
	if costly {
		g = grain / 8
	}
	p.elements(d.Len, g, func(a [][]float32) { f(a[1], a[0]) }, half)
	return nil
}

// chunked runs f over arguments 0 and 1 in chunks, with scratch of a chunk's
// length.
func chunked(p *program, n int, f func(y, x, tmp []float32)) error {
	const chunk = streamed
	parts := p.parts(n, grain/4)
	at := p.reserve(parts * chunk)
	s := p.stream(n, parts, chunk, false)
	p.stage(parts, func(part int) {
		from, to := span(n, part, parts, 32)
		for lo := from; lo < to; lo += chunk {
			hi := min(lo+chunk, to)
			a := s.open(part, lo, hi).full
			f(a[1], a[0], p.s[at+part*chunk:at+part*chunk+hi-lo])
			s.close(part, lo, hi)
		}
	})
	return nil
}

func unaryBackward(p *program, d kernel.UnaryBackward) error {
	slope, err := derivative(d)
	if err != nil {
		return err
	}
	g := grain / 8
	body := func(f [][]float32) {
		x, y, dy, dx := f[0], f[1], f[2], f[3]
		y, dy, dx = y[:len(x)], dy[:len(x)], dx[:len(x)]
		for i, v := range x {
			dx[i] = dy[i] * slope(v, y[i])
		}
	}
	var half func(h [][]uint16)
	switch d.Op {
	case kernel.Relu:
		g = grain
		body = func(f [][]float32) { p.isa.above(f[3], f[2], f[0], 0) }
		half = func(h [][]uint16) { p.isa.half.above(h[3], h[2], h[0], 0) }
	case kernel.Clamp:
		g = grain
		body = func(f [][]float32) { p.isa.inside(f[3], f[2], f[0], d.Alpha, d.Beta) }
		half = func(h [][]uint16) { p.isa.half.inside(h[3], h[2], h[0], d.Alpha, d.Beta) }
	case kernel.Affine:
		g = grain
		body = func(f [][]float32) { p.isa.scale(f[3], f[2], d.Alpha) }
	}
	p.elements(d.Len, g, body, half)
	return nil
}

// derivative returns f'(x), which may be told from x or from y = f(x).
func derivative(d kernel.UnaryBackward) (func(x, y float32) float32, error) {
	a, b := d.Alpha, d.Beta
	switch d.Op {
	case kernel.Affine, kernel.Relu, kernel.Clamp:
		return nil, nil // vector kernels of their own
	case kernel.LeakyRelu:
		return func(x, _ float32) float32 {
			if x > 0 {
				return 1
			}
			return a
		}, nil
	case kernel.Elu:
		return func(x, y float32) float32 {
			if x > 0 {
				return 1
			}
			return y + a // a*exp(x), for y = a*(exp(x)-1)
		}, nil
	case kernel.Sigmoid:
		return func(_, y float32) float32 { return y * (1 - y) }, nil
	case kernel.HardSigmoid:
		return func(x, _ float32) float32 {
			if v := a*x + b; v > 0 && v < 1 {
				return a
			}
			return 0
		}, nil
	case kernel.HardSwish:
		return func(x, _ float32) float32 {
			switch {
			case x <= -3:
				return 0
			case x >= 3:
				return 1
			}
			return x*(1.0/3) + 0.5
		}, nil
	case kernel.Tanh:
		return func(_, y float32) float32 { return 1 - y*y }, nil
	case kernel.Exp:
		return func(_, y float32) float32 { return y }, nil
	case kernel.Log:
		return func(x, _ float32) float32 { return 1 / x }, nil
	case kernel.Sqrt:
		return func(_, y float32) float32 { return 0.5 / y }, nil
	case kernel.Abs:
		return func(x, _ float32) float32 {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return -1
			}
			return 0
		}, nil
	case kernel.Neg:
		return func(_, _ float32) float32 { return -1 }, nil
	case kernel.Reciprocal:
		return func(_, y float32) float32 { return -y * y }, nil
	case kernel.Erf:
		return func(x, _ float32) float32 {
			return float32(2 / math.Sqrt(math.Pi) * math.Exp(-float64(x)*float64(x)))
		}, nil
	case kernel.Softplus:
		return func(x, _ float32) float32 { return float32(sigmoid(float64(x))) }, nil
	case kernel.Floor, kernel.Ceil, kernel.Round:
		return func(_, _ float32) float32 { return 0 }, nil
	}
	return nil, fmt.Errorf("native: gradient of unary operation %d: %w", d.Op, kernel.ErrUnsupported)
}
