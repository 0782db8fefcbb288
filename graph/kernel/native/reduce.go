package native

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

// reduceBlock is how many neighbouring outputs one pass folds together.
const reduceBlock = 64

func reduce(p *program, d kernel.Reduce) error {
	if d.Op > kernel.ReduceSumSquare {
		return fmt.Errorf("native: reduction %d: %w", d.Op, kernel.ErrUnsupported)
	}
	if rows, c, ok := channelSum(d); ok {
		sumChannels(p, d, rows, c)
		return nil
	}
	in, out := kernel.Strides(d.In), kernel.Strides(d.Shape)
	var kept, folded []axis // s[0] walks y, s[1] walks x
	for _, k := range physicalOrder(len(d.In)) {
		if d.Shape[k] == d.In[k] {
			kept = append(kept, axis{d.In[k], [3]int{out[k], in[k]}})
		} else {
			folded = append(folded, axis{d.In[k], [3]int{0, in[k]}})
		}
	}
	kept, folded = merge(kept), merge(folded)
	count := points(folded)
	if points(kept) == 0 {
		return nil
	}
	inner := axis{n: 1, s: [3]int{1, 1}}
	if k := len(kept) - 1; k >= 0 && kept[k].s[1] == 1 {
		inner, kept = kept[k], kept[:k]
	}
	run := axis{n: 1, s: [3]int{0, 1}}
	if k := len(folded) - 1; k >= 0 && inner.n == 1 {
		run, folded = folded[k], folded[:k]
	}
	steps := points(folded)
	blocks := (inner.n + reduceBlock - 1) / reduceBlock
	f := folder{op: d.Op, run: run, steps: steps, folded: folded, count: float64(count)}
	p.split(points(kept)*blocks, grain/max(1, count*min(inner.n, reduceBlock))+1, func(lo, hi int) {
		x, y := p.f[0], p.f[1]
		for i := lo; i < hi; i++ {
			b := i % blocks * reduceBlock
			walk(kept, i/blocks, i/blocks+1, func(o [3]int) {
				n := min(reduceBlock, inner.n-b)
				f.fold(y[o[0]+b:o[0]+b+n], x[o[1]+b:])
			})
		}
	})
	return nil
}

// channelSum reports whether a reduction adds up all rows of c channels, as a
// bias wants of its gradient.
func channelSum(d kernel.Reduce) (rows, c int, ok bool) {
	if len(d.In) != 4 || d.Op != kernel.ReduceSum && d.Op != kernel.ReduceMean {
		return 0, 0, false
	}
	rows, c = d.In[0]*d.In[2]*d.In[3], d.In[1]
	return rows, c, rows > 1 && c > 0 && slices.Equal(d.Shape, []int{1, c, 1, 1})
}

func sumChannels(p *program, d kernel.Reduce, rows, c int) {
	n := 1.0
	if d.Op == kernel.ReduceMean {
		n = float64(rows)
	}
	rowSums(p, rows, c, 1,
		func(v [][]float32) { clear(v[0]) },
		func(at columns, s, q []float32, v [][]float32) {
			if x := at.half[0]; x != nil {
				p.isa.half.moments(s, q, x, v[0], at.n, at.rows)
			} else {
				p.isa.moments(s, q, at.full[0], v[0], at.n, at.rows)
			}
		},
		func(c int, s, _ float64) { p.f[1][c] = float32(s / n) })
}

// folder folds the points of a box into a row of outputs.
type folder struct {
	op     kernel.ReduceOp
	folded []axis
	steps  int
	run    axis // innermost folded axis, when y is a single element
	count  float64
}

func (f *folder) fold(y, x []float32) {
	var acc [reduceBlock]float64
	a := acc[:len(y)]
	switch f.op {
	case kernel.ReduceMax:
		for i := range a {
			a[i] = math.Inf(-1)
		}
	case kernel.ReduceMin:
		for i := range a {
			a[i] = math.Inf(1)
		}
	}
	op, run := f.op, f.run
	walk(f.folded, 0, f.steps, func(o [3]int) {
		if len(a) == 1 {
			for i := range run.n {
				a[0] = foldOne(op, a[0], float64(x[o[1]+i*run.s[1]]))
			}
			return
		}
		row := x[o[1] : o[1]+len(a)]
		switch op {
		case kernel.ReduceSum, kernel.ReduceMean:
			for i, v := range row {
				a[i] += float64(v)
			}
		default:
			for i, v := range row {
				a[i] = foldOne(op, a[i], float64(v))
			}
		}
	})
	for i, v := range a {
		if op == kernel.ReduceMean {
			v /= f.count
		}
		y[i] = float32(v)
	}
}

func foldOne(op kernel.ReduceOp, a, v float64) float64 {
	switch op {
	case kernel.ReduceMax:
		return max(a, v) // NaN if either is
	case kernel.ReduceMin:
		return min(a, v)
	case kernel.ReduceSumSquare:
		return a + v*v
	default:
		return a + v
	}
}
