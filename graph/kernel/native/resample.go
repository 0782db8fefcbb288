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
				if k := d.Cols.Start[j]; halfOut && p.isa.half != nil && d.Cols.Start[j+1] == k+2 {
					a, b := blended[d.Cols.Index[k]*d.C:], blended[d.Cols.Index[k+1]*d.C:]
					p.isa.half.blend(p.h[1][at:at+d.C], a, b, d.Cols.Weight[k], d.Cols.Weight[k+1])
				} else if halfOut {
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
	if k+2 <= end {
		v.blend(dst, x[t.Index[k]*stride:], x[t.Index[k+1]*stride:], t.Weight[k], t.Weight[k+1])
		k += 2
	} else {
		v.scale(dst, x[t.Index[k]*stride:], t.Weight[k])
		k++
	}
	for ; k < end; k++ {
		v.axpy(dst, x[t.Index[k]*stride:], t.Weight[k])
	}
}

// blendHalf is blend of bfloat16, which it widens to tmp where there are no
// instructions for it.
func blendHalf(v *isa, dst []float32, x []uint16, t kernel.Taps, i, stride int, tmp []float32) {
	n, first := len(dst), t.Start[i]
	if first == t.Start[i+1] {
		clear(dst)
	}
	for k := first; k < t.Start[i+1]; k++ {
		in, w := x[t.Index[k]*stride:][:n], t.Weight[k]
		if v.half != nil {
			if k == first {
				v.half.scale(dst, in, w)
			} else {
				v.half.axpy(dst, in, w)
			}
			continue
		}
		v.widen(tmp[:n], in)
		if k == first {
			v.scale(dst, tmp[:n], w)
		} else {
			v.axpy(dst, tmp[:n], w)
		}
	}
}
