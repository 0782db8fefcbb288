package native

import "golang.org/x/sys/cpu"

// widest returns the kernels for this processor; limit "avx512" does without
// AMX, "avx2" keeps to those.
func widest(limit string) *isa {
	switch c := &cpu.X86; {
	case limit == "" && c.HasAVX512F && c.HasAVX512DQ && c.HasAVX512VL && c.HasAVX512BW && c.HasFMA && c.HasAVX512BF16 &&
		c.HasAMXTile && c.HasAMXBF16 && allowTiles():
		return avx512AMX
	case limit != "avx2" && c.HasAVX512F && c.HasAVX512DQ && c.HasAVX512VL && c.HasAVX512BW && c.HasFMA && c.HasAVX512BF16:
		return avx512Half
	case limit != "avx2" && c.HasAVX512F && c.HasAVX512DQ && c.HasAVX512VL && c.HasAVX512BW && c.HasFMA:
		return avx512
	case c.HasAVX2 && c.HasFMA:
		return avx2
	}
	return portable
}

var avx512 = &isa{
	name: "AVX-512", lanes: 16, mr: len(tilesAVX512), nr: 32, dense: 512 << 10,
	tile: func(t *tile) {
		n := t.vectors(16)
		tilesAVX512[t.rows-1][n-1](t)
	},
	winograd: winogradKernels{winogradImageAVX512, winogradGradientAVX512, winogradFilterAVX512, winogradOutputAVX512, winogradFilterGradientAVX512},
	spread:   spreadKernels{spreadAVX512, &stencilsAVX512, &stencilSumsAVX512, &slidesAVX512, &slideSumsAVX512}, maxWindow: maxWindowAVX512, maxBack: maxBackAVX512,
	interleave: func(to, columns []float32, n, k, nr, stride int) {
		interleaveBy(16, transposeAVX512, to, columns, n, k, nr, stride)
	},
	columns: func(to, from []float32, n, c, stride int) {
		if n > 0 && c > 0 {
			_, _ = to[32*n-1], from[(n-1)*stride+c-1]
			columnsAVX512(&to[0], &from[0], n, 4*stride, &lanes[16-min(c, 16)], &lanes[16-max(c-16, 0)])
		}
	},
	add: vecAddAVX512, addClamp: vecAddClampAVX512, sub: vecSubAVX512, div: vecDivAVX512, mul: vecMulAVX512, max: vecMaxAVX512, mulAdd: vecMulAddAVX512,
	scale: vecScaleAVX512, axpy: vecAxpyAVX512, affine: vecAffineAVX512, blend: vecBlendAVX512,
	blendPixels: func(dst, x []float32, taps []blendTap, c, step int) {
		blendPixelsBy(blendPixelsAVX512, dst, x, taps, c, step)
	},
	dropout: func(y, x []float32, z, step, limit uint64, scale float32) {
		if n := len(y); n > 0 {
			dropoutAVX512(&y[0], &x[:n][0], n, z, step, limit, scale)
		}
	},
	exp: vecExpAVX512, expAxpy: vecExpAxpyAVX512, gate: vecGateAVX512, clamp: vecClampAVX512, above: vecAboveAVX512, inside: vecInsideAVX512,
	softmax: func(y, x []float32, c int, log bool) { softmaxBy(softmaxAVX512, logSoftmaxAVX512, y, x, c, log) },
	nll: func(x []float32, label []int32, c int, ignore int32) (sum nllSum) {
		if n := len(label); n > 0 && c > 0 {
			nllAVX512(&sum.loss, &x[:n*c][0], &label[0], n, c, ignore)
		}
		return sum
	},
	sum: func(x []float32) float64 {
		var sums [16]float64
		whole := len(x) &^ (len(sums) - 1)
		if whole > 0 {
			sumRowAVX512(&sums[0], &x[0], whole)
		}
		s := vecSum(x[whole:])
		for _, v := range sums {
			s += v
		}
		return s
	},
	norm: vecNormAVX512, normAdd: vecNormAddAVX512, normBack: vecNormBackAVX512, normBackClip: vecNormBackClipAVX512, sgd: vecSGDAVX512,
	moments: func(s, q, x, shift []float32, n, rows int) {
		momentsAVX512(&s[0], &q[0], &x[0], &shift[0], n, rows, 4*n)
	},
	dots: func(s, q, dy, x, mean []float32, n, rows int) {
		dotsAVX512(&s[0], &q[0], &dy[0], &x[0], &mean[0], n, rows, 4*n)
	},
	dotsClip: func(s, q, dy, x, mean, a, b []float32, n, rows int, lo, hi float32) {
		dotsClipAVX512(&s[0], &q[0], &dy[0], &x[0], &mean[0], &a[0], &b[0], n, rows, 4*n, lo, hi)
	},
	dotsThrough: func(s, q, dy, x, y, dst, mean []float32, n, rows int, lo, hi float32) {
		dotsThroughAVX512(&s[0], &q[0], &dy[0], &x[0], &y[0], &dst[0], &mean[0], n, rows, 4*n, lo, hi)
	},
	settle: func(dst []float64, x []float32) {
		if n := len(x); n > 0 {
			settleAVX512(&dst[:n][0], &x[0], n)
		}
	},
	dotRows: func(dst, a, b []float32, n, sa, sb int) {
		if n > 0 && len(dst) > 0 {
			dotRowsAVX512(&dst[0], &a[0], &b[0], len(dst), n, 4*sa, 4*sb)
		}
	},
	widen: vecWiden, narrow: vecNarrow,
}

// avx512Half has instructions for bfloat16 as well.
var avx512Half = func() *isa {
	v := *avx512
	v.name = "AVX-512 with bfloat16"
	v.widen = func(dst []float32, x []uint16) {
		if len(dst) > 0 {
			widenAVX512(&dst[0], &x[:len(dst)][0], len(dst))
		}
	}
	v.narrow = func(dst []uint16, x []float32) {
		if len(dst) > 0 {
			narrowAVX512(&dst[0], &x[:len(dst)][0], len(dst))
		}
	}
	v.half = &halfISA{
		shape: shape{mr: len(tilesHalf), nr: 32, run: tileHalf},
		pair: func(dst []float32, a, b []uint16) {
			if n := len(dst); n > 0 {
				pairAVX512(&dst[0], &a[:n][0], &b[:n][0], n)
			}
		},
		narrowRows: func(dst, x []float32, n, step, second, c int) {
			if n > 0 {
				_, _ = dst[32*n-1], x[(n-1)*step+second+c-1]
				narrowRowsAVX512(&dst[0], &x[0], n, 128, 4*step, 4*second, c)
			}
		},
		winograd: winogradKernels{image: winogradImageHalf, gradient: winogradGradientHalf, output: winogradOutputHalf},
		add:      vecAddHalf, addClamp: vecAddClampHalf, clamp: vecClampHalf, above: vecAboveHalf, inside: vecInsideHalf,
		scale: vecScaleHalf, axpy: vecAxpyHalf, blend: vecBlendHalf,
		dropout: func(y, x []uint16, z, step, limit uint64, scale float32) {
			if n := len(y); n > 0 {
				dropoutHalf(&y[0], &x[:n][0], n, z, step, limit, scale)
			}
		},
		norm: vecNormHalf, normAdd: vecNormAddHalf, normBack: vecNormBackHalf, normBackClip: vecNormBackClipHalf,
		moments: func(s, q []float32, x []uint16, shift []float32, n, rows int) {
			momentsHalf(&s[0], &q[0], &x[0], &shift[0], n, rows, 2*n)
		},
		dots: func(s, q []float32, dy, x []uint16, mean []float32, n, rows int) {
			dotsHalf(&s[0], &q[0], &dy[0], &x[0], &mean[0], n, rows, 2*n)
		},
		dotsClip: func(s, q []float32, dy, x []uint16, mean, a, b []float32, n, rows int, lo, hi float32) {
			dotsClipHalf(&s[0], &q[0], &dy[0], &x[0], &mean[0], &a[0], &b[0], n, rows, 2*n, lo, hi)
		},
		dotsThrough: func(s, q []float32, dy, x, y, dst []uint16, mean []float32, n, rows int, lo, hi float32) {
			dotsThroughHalf(&s[0], &q[0], &dy[0], &x[0], &y[0], &dst[0], &mean[0], n, rows, 2*n, lo, hi)
		},
		spread: spreadKernels{spreadHalf, &stencilsHalf, &stencilSumsHalf, &slidesHalf, &slideSumsHalf}, maxWindow: maxWindowHalf, maxBack: maxBackHalf,
		dotRows: func(dst []float32, a, b []uint16, n, sa, sb int) {
			if n > 0 && len(dst) > 0 {
				dotRowsHalf(&dst[0], &a[0], &b[0], len(dst), n, 2*sa, 2*sb)
			}
		},
		pairRows: func(dst []float32, x []uint16, n, dstStep, step, second, c int) {
			if n > 0 {
				_, _ = dst[(n-1)*dstStep+c-1], x[(n-1)*step+second+c-1]
				pairRowsAVX512(&dst[0], &x[0], n, 4*dstStep, 2*step, 2*second, c)
			}
		},
	}
	return &v
}()

// tileHalf is the micro-kernel of AVX512_BF16.
func tileHalf(t *tile) {
	n := t.vectors(16)
	tilesHalf[t.rows-1][n-1](t)
}

// avx512AMX multiplies tiles of bfloat16.
var avx512AMX = func() *isa {
	v, half := *avx512Half, *avx512Half.half
	v.name, v.half = "AVX-512 with AMX", &half
	half.shape = shape{mr: 48, nr: 32, amx: true, run: func(t *tile) {
		n := t.vectors(16)
		t.shapeAMX()
		tilesAMX[n-1](t)
	}}
	return &v
}()

var avx2 = &isa{
	name: "AVX2", lanes: 8, mr: len(tilesAVX2), nr: 16, dense: 512 << 10,
	tile: func(t *tile) {
		n := t.vectors(8)
		tilesAVX2[t.rows-1][n-1](t)
	},
	winograd: winogradKernels{winogradImageAVX2, winogradGradientAVX2, winogradFilterAVX2, winogradOutputAVX2, winogradFilterGradientAVX2},
	spread:   spreadKernels{taps: spreadAVX2, stencils: &stencilsAVX2, sums: &stencilSumsAVX2}, maxWindow: maxWindowAVX2, maxBack: maxBackAVX2,
	interleave: func(to, columns []float32, n, k, nr, stride int) {
		interleaveBy(8, transposeAVX2, to, columns, n, k, nr, stride)
	},
	columns: func(to, from []float32, n, c, stride int) {
		if n > 0 && c > 0 {
			_, _ = to[16*n-1], from[(n-1)*stride+c-1]
			columnsAVX2(&to[0], &from[0], n, 4*stride, &lanes[16-min(c, 8)], &lanes[16-max(c-8, 0)])
		}
	},
	add: vecAddAVX2, addClamp: vecAddClampAVX2, sub: vecSubAVX2, div: vecDivAVX2, mul: vecMulAVX2, max: vecMaxAVX2, mulAdd: vecMulAddAVX2,
	scale: vecScaleAVX2, axpy: vecAxpyAVX2, affine: vecAffineAVX2, blend: vecBlendAVX2,
	blendPixels: func(dst, x []float32, taps []blendTap, c, step int) {
		blendPixelsBy(blendPixelsAVX2, dst, x, taps, c, step)
	},
	dropout: vecDropout,
	exp:     vecExpAVX2, expAxpy: vecExpAxpyAVX2, gate: vecGateAVX2, clamp: vecClampAVX2, above: vecAboveAVX2, inside: vecInsideAVX2,
	softmax: func(y, x []float32, c int, log bool) { softmaxBy(softmaxAVX2, logSoftmaxAVX2, y, x, c, log) },
	nll: func(x []float32, label []int32, c int, ignore int32) (sum nllSum) {
		if n := len(label); n > 0 && c > 0 {
			nllAVX2(&sum.loss, &x[:n*c][0], &label[0], n, c, ignore)
		}
		return sum
	},
	sum: func(x []float32) float64 {
		var sums [8]float64
		whole := len(x) &^ (len(sums) - 1)
		if whole > 0 {
			sumRowAVX2(&sums[0], &x[0], whole)
		}
		s := vecSum(x[whole:])
		for _, v := range sums {
			s += v
		}
		return s
	},
	norm: vecNormAVX2, normAdd: vecNormAddAVX2, normBack: vecNormBackAVX2, normBackClip: vecNormBackClipAVX2, sgd: vecSGDAVX2,
	moments: func(s, q, x, shift []float32, n, rows int) {
		momentsAVX2(&s[0], &q[0], &x[0], &shift[0], n, rows, 4*n)
	},
	dots: func(s, q, dy, x, mean []float32, n, rows int) {
		dotsAVX2(&s[0], &q[0], &dy[0], &x[0], &mean[0], n, rows, 4*n)
	},
	dotsClip: func(s, q, dy, x, mean, a, b []float32, n, rows int, lo, hi float32) {
		dotsClipAVX2(&s[0], &q[0], &dy[0], &x[0], &mean[0], &a[0], &b[0], n, rows, 4*n, lo, hi)
	},
	dotsThrough: func(s, q, dy, x, y, dst, mean []float32, n, rows int, lo, hi float32) {
		dotsThroughAVX2(&s[0], &q[0], &dy[0], &x[0], &y[0], &dst[0], &mean[0], n, rows, 4*n, lo, hi)
	},
	settle: func(dst []float64, x []float32) {
		if n := len(x); n > 0 {
			settleAVX2(&dst[:n][0], &x[0], n)
		}
	},
	dotRows: func(dst, a, b []float32, n, sa, sb int) {
		if n > 0 && len(dst) > 0 {
			dotRowsAVX2(&dst[0], &a[0], &b[0], len(dst), n, 4*sa, 4*sb)
		}
	},
	widen: vecWiden, narrow: vecNarrow,
}

// lanes holds 16 lanes of ones, then 16 of zeros: the mask of the first n
// lanes starts n before the middle.
var lanes = func() (l [32]int32) {
	for i := range 16 {
		l[i] = -1
	}
	return l
}()

// vectors returns how many vectors of width lanes hold the tile's columns, and
// sets the mask of the last.
func (t *tile) vectors(width int) int {
	n := (t.cols + width - 1) / width
	used := t.cols - (n-1)*width
	t.mask, t.whole = &lanes[16-used], used == width
	return n
}

// interleaveBy is interleave on a transposition of width columns by multiples
// of 4 elements; what is left over is plain Go's.
func interleaveBy(width int, transpose func(dst, src *float32, n, dstRow, srcRow int), to, columns []float32, n, k, nr, stride int) {
	whole := k &^ 3
	j := 0
	for ; whole > 0 && j+width <= n; j += width {
		transpose(&to[j], &columns[j*stride], whole/4, 4*nr, 4*stride)
		if whole < k {
			interleaveGo(to[whole*nr+j:], columns[j*stride+whole:], width, k-whole, nr, stride)
		}
	}
	if j < n {
		interleaveGo(to[j:], columns[j*stride:], n-j, k, nr, stride)
	}
}

// blendPixelsBy is blendPixels by assembly, softmaxBy softmax.
func blendPixelsBy(f func(dst, x *float32, taps *blendTap, n, c, step int), dst, x []float32, taps []blendTap, c, step int) {
	if n := len(taps); n > 0 && c > 0 {
		_ = dst[(n-1)*step+c-1]
		f(&dst[0], &x[0], &taps[0], n, c, step)
	}
}

func softmaxBy(plain, logarithm func(y, x *float32, n, c int), y, x []float32, c int, log bool) {
	f := plain
	if log {
		f = logarithm
	}
	if n := len(y); n > 0 {
		f(&y[0], &x[:n][0], n/c, c)
	}
}
