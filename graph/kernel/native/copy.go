package native

import (
	"cmp"
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

func copyBox(p *program, d kernel.Copy) {
	switch d.DType {
	case kernel.Float32:
		copyElements(p, d, func() (x, y []float32) { return p.f[0], p.f[1] })
	case kernel.Int32:
		copyElements(p, d, func() (x, y []int32) { return p.i[0], p.i[1] })
	case kernel.Uint64:
		copyElements(p, d, func() (x, y []uint64) { return p.u[0], p.u[1] })
	case kernel.BFloat16:
		copyElements(p, d, func() (x, y []uint16) { return p.h[0], p.h[1] })
	}
}

// copyElements plans a copy: axes are ordered so that the destination is
// written in memory order, and the innermost axis is a plain loop.
func copyElements[T any](p *program, d kernel.Copy, args func() (x, y []T)) {
	var axes []axis
	for i, n := range d.Shape {
		axes = append(axes, axis{n, [3]int{d.DstStrides[i], d.SrcStrides[i]}})
	}
	slices.SortStableFunc(axes, func(a, b axis) int { return cmp.Compare(abs(b.s[0]), abs(a.s[0])) })
	axes = merge(axes)
	if points(axes) == 0 {
		return
	}
	inner := axis{n: 1, s: [3]int{1, 1}}
	if k := len(axes) - 1; k >= 0 {
		inner, axes = axes[k], axes[:k]
	}
	if len(axes) == 0 {
		p.splitAligned(inner.n, 2*grain, 16, func(lo, hi int) {
			x, y := args()
			copyRow(y, x, d.DstOffset+lo*inner.s[0], d.SrcOffset+lo*inner.s[1], hi-lo, inner.s[0], inner.s[1])
		})
		return
	}
	// A transposition: reading down the columns of x, a few columns at a time
	// shares every cache line that is read.
	tile := axis{n: 1}
	if k := len(axes) - 1; inner.s[1] != 1 && axes[k].s[1] == 1 {
		tile, axes = axes[k], axes[:k]
	}
	if d.DType == kernel.Float32 && tile.n > 1 && tile.s[0] > 0 && inner.s[0] == 1 && inner.s[1] > 0 {
		transposeBoxes(p, d.DstOffset, d.SrcOffset, axes, tile, inner)
		return
	}
	const block = 16
	tiles := (tile.n + block - 1) / block
	p.split(points(axes)*tiles, 2*grain/(inner.n*min(tile.n, block))+1, func(lo, hi int) {
		x, y := args()
		for i := lo; i < hi; {
			first := i / tiles
			last := (hi - 1) / tiles
			b := i % tiles * block
			end := min((hi-first*tiles)*block, tile.n)
			if b == 0 && tiles == 1 {
				walk(axes, first, last+1, func(o [3]int) {
					copyTile(y, x, d.DstOffset+o[0], d.SrcOffset+o[1], 0, tile.n, inner, tile)
				})
				return
			}
			walk(axes, first, first+1, func(o [3]int) {
				for ; b < end; b += block {
					copyTile(y, x, d.DstOffset+o[0], d.SrcOffset+o[1], b, min(b+block, tile.n), inner, tile)
				}
			})
			i = (first + 1) * tiles
		}
	})
}

// copyTile copies the rows lo to hi of a tile.
func copyTile[T any](y, x []T, dst, src, lo, hi int, inner, tile axis) {
	if hi-lo == 1 {
		copyRow(y, x, dst+lo*tile.s[0], src+lo*tile.s[1], inner.n, inner.s[0], inner.s[1])
		return
	}
	for i := range inner.n {
		row := x[src+lo+i*inner.s[1]:]
		row = row[:hi-lo]
		at := dst + i*inner.s[0] + lo*tile.s[0]
		for _, v := range row {
			y[at] = v
			at += tile.s[0]
		}
	}
}

func copyRow[T any](y, x []T, dst, src, n, ds, ss int) {
	switch {
	case ds == 1 && ss == 1:
		copy(y[dst:dst+n], x[src:src+n])
	case ds == 1 && ss == 0:
		v := x[src]
		row := y[dst : dst+n]
		for i := range row {
			row[i] = v
		}
	default:
		for range n {
			y[dst] = x[src]
			dst += ds
			src += ss
		}
	}
}

func abs(n int) int { return max(n, -n) }
