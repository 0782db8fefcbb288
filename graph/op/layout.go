package op

import (
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

// rowMajor returns the strides of a shape in row-major order.
func rowMajor(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// plain reports whether a tensor of the shape lies in memory in row-major
// order: all ranks but 4 do, and rank 4 with one channel or one pixel.
func plain(shape []int) bool {
	return len(shape) != 4 || shape[1] == 1 || shape[2]*shape[3] == 1
}

// sameOrder reports whether the elements of two shapes, taken in logical
// row-major order, lie in the same order in memory: then a reshape is free.
func sameOrder(from, to []int) bool {
	if plain(from) && plain(to) {
		return true
	}
	return len(from) == 4 && len(to) == 4 && from[0] == to[0] && from[1] == to[1]
}

// move copies the elements of src, of shape from, to dst, of shape to, in
// logical row-major order.
func move(b *Block, src Ref, from []int, dst Ref, to []int) {
	n := kernel.Len(from)
	c := kernel.Copy{SrcLen: n, DstLen: n}
	switch {
	case sameOrder(from, to):
		c.Shape, c.SrcStrides, c.DstStrides = []int{n}, []int{1}, []int{1}
	case plain(to):
		c.Shape, c.SrcStrides, c.DstStrides = slices.Clone(from), kernel.Strides(from), rowMajor(from)
	case plain(from):
		c.Shape, c.SrcStrides, c.DstStrides = slices.Clone(to), rowMajor(to), kernel.Strides(to)
	default:
		t := b.Temp(n * kernel.Float32.Size())
		move(b, src, from, t, []int{n})
		move(b, t, []int{n}, dst, to)
		return
	}
	b.Call(c, src, dst)
}

// fit returns a buffer with the elements of r, of shape from, in the memory
// order of shape to: r itself where the orders agree, a temporary otherwise.
func fit(b *Block, r Ref, from, to []int) Ref {
	if sameOrder(from, to) {
		return r
	}
	t := b.Temp(kernel.Len(from) * kernel.Float32.Size())
	move(b, r, from, t, to)
	return t
}

// around splits the memory of a tensor at one logical axis into
// (outer, axis, inner).
func around(shape []int, axis int) (outer, n, inner int) {
	phys := shape
	if len(shape) == 4 {
		phys = []int{shape[0], shape[2], shape[3], shape[1]}
		axis = []int{0, 3, 1, 2}[axis]
	}
	return kernel.Len(phys[:axis]), phys[axis], kernel.Len(phys[axis+1:])
}

// align gives a shape the rank by leading ones; rank 0 becomes 1, since the
// kernels want at least one axis.
func align(shape []int, rank int) []int {
	r := make([]int, max(rank, 1, len(shape)))
	for i := range r {
		r[i] = 1
	}
	copy(r[len(r)-len(shape):], shape)
	return r
}
