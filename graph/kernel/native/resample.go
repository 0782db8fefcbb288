package native

import "github.com/graft-onnx/graft/graph/kernel"

// resample works row by row: the rows of the input that an output row needs
// are blended into one row of scratch, and the columns are blended from there.
func resample(p *program, d kernel.Resample) {
	in, out := d.Cols.In*d.C, d.Cols.Out()*d.C
	rows := d.N * d.Rows.Out()
	if rows == 0 || out == 0 {
		return
	}
	parts := p.parts(rows*(in+out), grain)
	parts = min(parts, rows)
	at := p.reserve(in * parts)
	stride := (p.scratch/4 - at) / parts
	p.stage(parts, func(part int) {
		lo, hi := span(rows, part, parts, 1)
		x, y := p.f[0], p.f[1]
		buf := p.s[at+part*stride : at+part*stride+in]
		for i := lo; i < hi; i++ {
			n, r := i/d.Rows.Out(), i%d.Rows.Out()
			blended := blendRow(p.isa, buf, x[n*d.Rows.In*in:], d.Rows, r, in)
			row := y[i*out : (i+1)*out]
			for j := range d.Cols.Out() {
				blend(p.isa, row[j*d.C:(j+1)*d.C], blended, d.Cols, j, d.C)
			}
		}
	})
}

// blendRow is blend that needs no copy where one row is taken as it is.
func blendRow(v *isa, buf, x []float32, t kernel.Taps, i, n int) []float32 {
	if k := t.Start[i]; t.Start[i+1] == k+1 && t.Weight[k] == 1 {
		return x[t.Index[k]*n : (t.Index[k]+1)*n]
	}
	blend(v, buf, x, t, i, n)
	return buf
}

// blend computes dst = output i of the taps, for stretches of n elements.
func blend(v *isa, dst, x []float32, t kernel.Taps, i, n int) {
	k, end := t.Start[i], t.Start[i+1]
	if k == end {
		clear(dst)
		return
	}
	v.scale(dst, x[t.Index[k]*n:], t.Weight[k])
	for k++; k < end; k++ {
		v.axpy(dst, x[t.Index[k]*n:], t.Weight[k])
	}
}
