package native

import "github.com/graft-onnx/graft/graph/kernel"

// maxRank bounds the axes of a box, so that walks need no heap.
const maxRank = 16

// axis is one axis of a box that up to three tensors are walked by: its length
// and the stride of each tensor, in elements.
type axis struct {
	n int
	s [3]int
}

// physicalOrder lists logical axes from the outermost in memory to the
// innermost.
func physicalOrder(rank int) []int {
	if rank == 4 {
		return []int{0, 2, 3, 1}
	}
	o := make([]int, rank)
	for i := range o {
		o[i] = i
	}
	return o
}

// broadcastAxes returns the axes of the shape out in physical order, with the
// strides of out and of the tensors that are broadcast to it.
func broadcastAxes(out []int, tensors ...[]int) []axis {
	strides := [3][]int{kernel.Strides(out)}
	for i, t := range tensors {
		s := kernel.Strides(t)
		for k, n := range t {
			if n == 1 {
				s[k] = 0
			}
		}
		strides[i+1] = s
	}
	var axes []axis
	for _, k := range physicalOrder(len(out)) {
		a := axis{n: out[k]}
		for i := range tensors {
			a.s[i+1] = strides[i+1][k]
		}
		a.s[0] = strides[0][k]
		axes = append(axes, a)
	}
	return merge(axes)
}

// merge drops axes of length 1 and joins neighbours that every tensor walks
// evenly.
func merge(axes []axis) []axis {
	var m []axis
	for _, a := range axes {
		if a.n == 1 {
			continue
		}
		if k := len(m) - 1; k >= 0 && even(m[k], a) {
			m[k] = axis{m[k].n * a.n, a.s}
			continue
		}
		m = append(m, a)
	}
	return m
}

// even reports whether stepping outer once is the same as stepping inner
// through its whole length, for every tensor.
func even(outer, inner axis) bool {
	for i := range outer.s {
		if outer.s[i] != inner.s[i]*inner.n {
			return false
		}
	}
	return true
}

// points returns the number of points of a box.
func points(axes []axis) int {
	n := 1
	for _, a := range axes {
		n *= a.n
	}
	return n
}

// walk calls f with the offsets of the points lo to hi-1 of a box, in
// row-major order.
func walk(axes []axis, lo, hi int, f func(o [3]int)) {
	var at [maxRank]int
	var o [3]int
	rest := lo
	for k := len(axes) - 1; k >= 0; k-- {
		at[k] = rest % axes[k].n
		rest /= axes[k].n
		for i := range o {
			o[i] += at[k] * axes[k].s[i]
		}
	}
	for i := lo; i < hi; i++ {
		f(o)
		for k := len(axes) - 1; k >= 0; k-- {
			a := &axes[k]
			at[k]++
			for t := range o {
				o[t] += a.s[t]
			}
			if at[k] < a.n {
				break
			}
			for t := range o {
				o[t] -= a.n * a.s[t]
			}
			at[k] = 0
		}
	}
}
