package native

import "github.com/graft-onnx/graft/graph/kernel"

// resample works row by row: the rows of the input that an output row needs
// are blended into one row of scratch, and the columns are blended from there.
func resample(p *program, d kernel.Resample) {
	in, out := d.Cols.In*d.C, d.Cols.Out()
	rows := d.N * d.Rows.Out()
	if rows == 0 || out*d.C == 0 {
		return
	}
	from, to := d.From.Over(d.C), d.To.Over(d.C)
	step := in // what lies together in a row of the input
	if from.Of > d.C {
		step = d.C
	}
	halfIn, halfOut := p.isHalf(0), p.isHalf(1)
	parts := min(p.parts(rows*(in+out*d.C), grain), rows)
	buffers := p.reserve(in * parts)
	stride := (p.scratch/4 - buffers) / parts
	spare := 0 // for what is widened and narrowed
	if halfIn {
		spare = step
	}
	if halfOut {
		spare = max(spare, d.C)
	}
	spares := p.reserve(spare * parts)
	p.stage(parts, func(part int) {
		lo, hi := span(rows, part, parts, 1)
		buf := p.s[buffers+part*stride : buffers+part*stride+in]
		tmp := p.s[spares+part*spare : spares+(part+1)*spare]
		for i := lo; i < hi; i++ {
			n, r := i/d.Rows.Out(), i%d.Rows.Out()
			row := d.Cols.In * from.Of
			at := n*d.Rows.In*row + from.First
			blended := buf
			switch {
			case halfIn:
				for k := 0; k < in; k += step {
					blendHalf(p.isa, buf[k:k+step], p.h[0][at+k/d.C*from.Of:], d.Rows, r, row, tmp)
				}
			case from.Of > d.C:
				for k := 0; k < in; k += step {
					blend(p.isa, buf[k:k+step], p.f[0][at+k/d.C*from.Of:], d.Rows, r, row)
				}
			default:
				blended = blendRow(p.isa, buf, p.f[0][at:], d.Rows, r)
			}
			for j := range out {
				at := (i*out+j)*to.Of + to.First
				if halfOut {
					blend(p.isa, tmp[:d.C], blended, d.Cols, j, d.C)
					p.isa.narrow(p.h[1][at:at+d.C], tmp[:d.C])
				} else {
					blend(p.isa, p.f[1][at:at+d.C], blended, d.Cols, j, d.C)
				}
			}
		}
	})
}

// blendRow is blend of whole rows that needs no copy where one is taken as it
// is.
func blendRow(v *isa, buf, x []float32, t kernel.Taps, i int) []float32 {
	n := len(buf)
	if k := t.Start[i]; t.Start[i+1] == k+1 && t.Weight[k] == 1 {
		return x[t.Index[k]*n : (t.Index[k]+1)*n]
	}
	blend(v, buf, x, t, i, n)
	return buf
}

// blend computes dst = output i of the taps; inputs lie stride elements apart.
func blend(v *isa, dst, x []float32, t kernel.Taps, i, stride int) {
	k, end := t.Start[i], t.Start[i+1]
	if k == end {
		clear(dst)
		return
	}
	v.scale(dst, x[t.Index[k]*stride:], t.Weight[k])
	for k++; k < end; k++ {
		v.axpy(dst, x[t.Index[k]*stride:], t.Weight[k])
	}
}

// blendHalf is blend of bfloat16, which it widens to tmp.
func blendHalf(v *isa, dst []float32, x []uint16, t kernel.Taps, i, stride int, tmp []float32) {
	n := len(dst)
	clear(dst)
	for k := t.Start[i]; k < t.Start[i+1]; k++ {
		at := t.Index[k] * stride
		v.widen(tmp[:n], x[at:at+n])
		if k == t.Start[i] {
			v.scale(dst, tmp[:n], t.Weight[k])
		} else {
			v.axpy(dst, tmp[:n], t.Weight[k])
		}
	}
}
