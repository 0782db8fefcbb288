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
	runs := blendRuns(d)
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
			for _, run := range runs {
				at := (i*out+run.first)*to.Of + to.First
				switch {
				case halfOut && p.isa.half != nil && run.taps != nil:
					for _, t := range run.taps {
						p.isa.half.blend(p.h[1][at:at+d.C], blended[t.a:], blended[t.b:], t.u, t.v)
						at += to.Of
					}
				case !halfOut && run.taps != nil:
					p.isa.blendPixels(p.f[1][at:], blended, run.taps, d.C, to.Of)
				default:
					for j := run.first; j < run.first+run.outputs; j++ {
						if halfOut {
							blend(p.isa, tmp[:d.C], blended, d.Cols, j, d.C)
							p.isa.narrow(p.h[1][at:at+d.C], tmp[:d.C])
						} else {
							blend(p.isa, p.f[1][at:at+d.C], blended, d.Cols, j, d.C)
						}
						at += to.Of
					}
				}
			}
		}
	})
}

// blendTap is an output pixel that two input pixels make, by the places of their
// first elements in a row. The assembly reads it by position.
type blendTap struct {
	a, b int
	u, v float32 // weights
}

// blendRun is some neighbouring outputs of a row: with taps if all are of two
// pixels, as between the edges of a bilinear interpolation.
type blendRun struct {
	first, outputs int
	taps           []blendTap
}

// blendRuns cuts the columns of an output row into runs.
func blendRuns(d kernel.Resample) (runs []blendRun) {
	t := d.Cols
	for j := range t.Out() {
		k := t.Start[j]
		two := t.Start[j+1] == k+2
		if last := len(runs) - 1; last < 0 || two != (runs[last].taps != nil) {
			runs = append(runs, blendRun{first: j})
		}
		run := &runs[len(runs)-1]
		run.outputs++
		if two {
			run.taps = append(run.taps, blendTap{t.Index[k] * d.C, t.Index[k+1] * d.C, t.Weight[k], t.Weight[k+1]})
		}
	}
	return runs
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
