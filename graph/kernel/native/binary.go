package native

import (
	"fmt"
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// rowFunc combines a row of two operands; a stride of 0 repeats one element.
type rowFunc func(y, a, b []float32, sa, sb int)

func rows(f func(a, b float32) float32) rowFunc {
	return func(y, a, b []float32, sa, sb int) {
		switch {
		case sa == 1 && sb == 1:
			a, b = a[:len(y)], b[:len(y)]
			for i := range y {
				y[i] = f(a[i], b[i])
			}
		case sa == 1:
			v := b[0]
			a = a[:len(y)]
			for i := range y {
				y[i] = f(a[i], v)
			}
		case sb == 1:
			v := a[0]
			b = b[:len(y)]
			for i := range y {
				y[i] = f(v, b[i])
			}
		default:
			v := f(a[0], b[0])
			for i := range y {
				y[i] = v
			}
		}
	}
}

// rowsOr uses a vector loop for two whole rows, f for everything else.
func rowsOr(vec func(y, a, b []float32), f func(a, b float32) float32) rowFunc {
	slow := rows(f)
	return func(y, a, b []float32, sa, sb int) {
		if sa == 1 && sb == 1 {
			vec(y, a, b)
			return
		}
		slow(y, a, b, sa, sb)
	}
}

func truth(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

func binaryFunc(v *isa, op kernel.BinaryOp) (rowFunc, error) {
	switch op {
	case kernel.Add:
		return func(y, a, b []float32, sa, sb int) {
			switch {
			case sa == 1 && sb == 1:
				v.add(y, a, b)
			case sa == 1:
				v.affine(y, a, 1, b[0])
			case sb == 1:
				v.affine(y, b, 1, a[0])
			default:
				fillRow(y, a[0]+b[0])
			}
		}, nil
	case kernel.Mul:
		return func(y, a, b []float32, sa, sb int) {
			switch {
			case sa == 1 && sb == 1:
				v.mul(y, a, b)
			case sa == 1:
				v.scale(y, a, b[0])
			case sb == 1:
				v.scale(y, b, a[0])
			default:
				fillRow(y, a[0]*b[0])
			}
		}, nil
	case kernel.Sub:
		return rowsOr(v.sub, func(a, b float32) float32 { return a - b }), nil
	case kernel.Div:
		return rowsOr(v.div, func(a, b float32) float32 { return a / b }), nil
	case kernel.Max:
		return rowsOr(v.max, func(a, b float32) float32 {
			if b > a || b != b {
				return b
			}
			return a
		}), nil
	case kernel.Min:
		return rows(func(a, b float32) float32 {
			if b < a || b != b {
				return b
			}
			return a
		}), nil
	case kernel.Pow:
		return rows(power), nil
	case kernel.PRelu:
		return rows(func(a, b float32) float32 {
			if a < 0 {
				return a * b
			}
			return a
		}), nil
	case kernel.Greater:
		return rows(func(a, b float32) float32 { return truth(a > b) }), nil
	case kernel.GreaterEqual:
		return rows(func(a, b float32) float32 { return truth(a >= b) }), nil
	case kernel.Equal:
		return rows(func(a, b float32) float32 { return truth(a == b) }), nil
	}
	return nil, fmt.Errorf("native: binary operation %d: %w", op, kernel.ErrUnsupported)
}

func power(a, b float32) float32 {
	switch b {
	case 2:
		return a * a
	case 1:
		return a
	}
	return float32(math.Pow(float64(a), float64(b)))
}

func fillRow(y []float32, v float32) {
	for i := range y {
		y[i] = v
	}
}

func binary(p *program, d kernel.Binary) error {
	f, err := binaryFunc(p.isa, d.Op)
	if err != nil {
		return err
	}
	axes := broadcastAxes(d.Out, d.A, d.B)
	if points(axes) == 0 {
		return nil
	}
	inner := axis{n: 1, s: [3]int{1, 1, 1}}
	if k := len(axes) - 1; k >= 0 {
		inner, axes = axes[k], axes[:k]
	}
	if len(axes) == 0 && inner.s[1] == 1 && inner.s[2] == 1 {
		var half func(a [][]uint16)
		if d.Op == kernel.Add {
			half = func(a [][]uint16) { p.isa.half.add(a[2], a[0], a[1]) }
		}
		p.elements(inner.n, grain, func(a [][]float32) { f(a[2], a[0], a[1], 1, 1) }, half)
		return nil
	}
	if len(axes) == 0 { // one row: split it
		p.splitAligned(inner.n, grain, 16, func(lo, hi int) {
			a, b := p.f[0][lo*inner.s[1]:], p.f[1][lo*inner.s[2]:]
			f(p.f[2][lo:hi], a, b, inner.s[1], inner.s[2])
		})
		return nil
	}
	p.split(points(axes), grain/inner.n+1, func(lo, hi int) {
		a, b, y := p.f[0], p.f[1], p.f[2]
		walk(axes, lo, hi, func(o [3]int) {
			f(y[o[0]:o[0]+inner.n], a[o[1]:], b[o[2]:], inner.s[1], inner.s[2])
		})
	})
	return nil
}

func addN(p *program, d kernel.AddN) {
	var half func(h [][]uint16)
	lo, hi := clipBounds(d.Act)
	if d.Inputs == 2 { // the sum of more is rounded once
		half = func(h [][]uint16) { p.isa.half.addClamp(h[2], h[0], h[1], lo, hi) }
	}
	p.elements(d.Len, grain, func(f [][]float32) {
		// Chunks stay in the cache while all inputs are added to them.
		y := f[d.Inputs]
		for from := 0; from < len(y); from += 4096 {
			to := min(from+4096, len(y))
			part := y[from:to]
			if d.Inputs == 1 {
				p.isa.clamp(part, f[0][from:to], lo, hi)
				continue
			}
			sum := f[0]
			for i := 1; i < d.Inputs-1; i++ {
				p.isa.add(part, sum[from:to], f[i][from:to])
				sum = y
			}
			p.isa.addClamp(part, sum[from:to], f[d.Inputs-1][from:to], lo, hi)
		}
	}, half)
}

func fill(p *program, d kernel.Fill) {
	p.splitAligned(d.Len, grain, 16, func(lo, hi int) { fillRow(p.f[0][lo:hi], d.Value) })
}
