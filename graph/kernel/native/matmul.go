package native

import "github.com/graft-onnx/graft/graph/kernel"

// matMul packs b into panels of nr columns and runs the micro-kernel over
// blocks of rows of a, which is read in place in either orientation.
func (d *Device) matMul(p *program, m kernel.MatMul) {
	if m.Batch*m.M*m.N == 0 {
		return
	}
	mr, nr := d.isa.mr, d.isa.nr
	na, nb := m.Batch, m.Batch
	if m.SharedA {
		na = 1
	}
	if m.SharedB {
		nb = 1
	}
	panels := ceilDiv(m.N, nr)
	size := m.K * nr
	packed := p.reserve(nb * panels * size)
	p.split(nb*panels, grain/max(size, 1)+1, func(lo, hi int) {
		for q := lo; q < hi; q++ {
			b := p.f[1][q/panels*m.K*m.N : (q/panels+1)*m.K*m.N]
			packMatrix(d.isa, p.s[packed+q*size:packed+(q+1)*size], b, q%panels*nr, m.N, m.K, m.TransB)
		}
	})

	rows := max(mr, min(mr*itemTiles, bufferFloats/max(m.K, 1)/mr*mr))
	blocks := ceilDiv(m.M, rows)
	shares := 1
	threads := p.parts(m.Batch*m.M*panels*size, p.isa.dense)
	if blocks*m.Batch < 8*threads {
		shares = min(panels, ceilDiv(8*threads, blocks*m.Batch))
	}
	work := m.Batch * blocks * shares
	parts := 1
	if threads > 1 {
		parts = min(chunksPerThread*threads, work)
	}
	workers := make([]tile, p.on(parts))
	runs := make([]run, 1)
	p.stageOn(parts, func(thread, part int) {
		w := &workers[thread]
		*w = tile{}
		w.runs, w.steps, w.bStep, w.cRow = runs, m.K, nr, m.N
		w.aRow, w.aStep = m.K, 1
		if m.TransA {
			w.aRow, w.aStep = 1, m.M
		}
		lo, hi := span(work, part, parts, 1)
		for q := lo; q < hi; q++ {
			i0, i1 := cut(m.M, rows, q/shares%blocks)
			batch := q / shares / blocks
			a := p.f[0][batch%na*m.M*m.K : (batch%na+1)*m.M*m.K]
			from, to := span(panels, q%shares, shares, 1)
			pieces := ceilDiv(i1-i0, mr)
			for panel := from; panel < to; panel++ {
				at := packed + (batch%nb*panels+panel)*size
				w.b = p.s[at : at+size]
				for k := range pieces {
					lo, hi := cut(i1-i0, mr, k)
					w.rows = hi - lo
					if m.K > 0 {
						w.a = a[(i0+lo)*w.aRow:]
					}
					w.c = p.f[2][(batch*m.M+i0+lo)*m.N+panel*nr:]
					w.cols = min(nr, m.N-panel*nr)
					d.isa.tile(w)
				}
			}
		}
	})
}

// packMatrix lays out nr columns of a matrix of n columns and k rows, which
// transposed is stored (n, k); zeros past the last column.
func packMatrix(v *isa, to, b []float32, first, n, k int, transposed bool) {
	nr := v.nr
	cols := min(nr, n-first)
	if !transposed {
		v.columns(to, b[min(first, len(b)):], k, cols, n)
		return
	}
	packColumns(v, to, b[first*k:], cols, k, k)
}
