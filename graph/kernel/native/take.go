package native

import "github.com/graft-onnx/graft/graph/kernel"

func take(p *program, d kernel.Take) {
	n := len(d.Index)
	p.split(d.Outer*n, grain/max(d.Inner, 1)+1, func(lo, hi int) {
		x, y := p.f[0], p.f[1]
		for i := lo; i < hi; i++ {
			row := y[i*d.Inner : (i+1)*d.Inner]
			j := d.Index[i%n]
			if j < 0 {
				clear(row)
				continue
			}
			from := (i/n*d.Axis + j) * d.Inner
			copy(row, x[from:from+d.Inner])
		}
	})
}

// takeBackward splits the inner axis, or the outer one where it is long
// enough: either way an element belongs to one share and its sum has the order
// of Index.
func takeBackward(p *program, d kernel.TakeBackward) {
	if d.Outer*d.Axis*d.Inner == 0 {
		return
	}
	n := len(d.Index)
	add := func(o, lo, hi int) {
		dy, dx := p.f[0], p.f[1]
		for j := range d.Axis {
			at := (o*d.Axis + j) * d.Inner
			clear(dx[at+lo : at+hi])
		}
		for j, k := range d.Index {
			if k < 0 {
				continue
			}
			to, from := (o*d.Axis+k)*d.Inner, (o*n+j)*d.Inner
			p.isa.add(dx[to+lo:to+hi], dx[to+lo:to+hi], dy[from+lo:from+hi])
		}
	}
	cost := (d.Axis + n) * d.Inner
	if d.Outer >= p.pool.threads {
		p.split(d.Outer, grain/cost+1, func(lo, hi int) {
			for o := lo; o < hi; o++ {
				add(o, 0, d.Inner)
			}
		})
		return
	}
	p.splitAligned(d.Inner, grain/max(1, cost*d.Outer/d.Inner)+1, 16, func(lo, hi int) {
		for o := range d.Outer {
			add(o, lo, hi)
		}
	})
}
