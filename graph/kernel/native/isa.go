package native

import "os"

//go:generate go run ./internal/asmgen

// isa is the set of inner loops for one instruction set. Everything else in
// the package is the same for all. Vector loops take their length from the
// first argument; destinations may be one of the sources.
type isa struct {
	name   string
	lanes  int // float32 in a vector
	mr, nr int // of the dense micro-kernel
	dense  int // products that a share of a dense kernel should have at least
	tile   func(t *tile)
	spread spreadKernels
	// interleave writes n columns of k elements, stride apart, as k rows whose
	// starts lie nr apart.
	interleave func(to, columns []float32, n, k, nr, stride int)
	// columns copies c of every stride elements into n rows of nr, zeros after.
	columns func(to, from []float32, n, c, stride int)
	// maxWindow and maxBack are a max pooling and its gradient.
	maxWindow, maxBack func(t *windowTile)
	winograd           winogradKernels

	add func(dst, a, b []float32) // a + b
	// addClamp is min(max(a + b, lo), hi); NaN stays NaN.
	addClamp func(dst, a, b []float32, lo, hi float32)
	mul      func(dst, a, b []float32)               // a * b
	sub      func(dst, a, b []float32)               // a - b
	div      func(dst, a, b []float32)               // a / b
	max      func(dst, a, b []float32)               // max(a, b), NaN if either is
	mulAdd   func(dst, a, b []float32)               // dst + a*b
	scale    func(dst, x []float32, a float32)       // a*x
	axpy     func(dst, x []float32, a float32)       // dst + a*x
	affine   func(dst, x []float32, a, b float32)    // a*x + b
	blend    func(dst, a, b []float32, u, v float32) // u*a + v*b
	// blendPixels does so for pixels of c elements, step apart in dst.
	blendPixels func(dst, x []float32, taps []blendTap, c, step int)
	// clamp is min(max(x, lo), hi); NaN stays NaN.
	clamp func(dst, x []float32, lo, hi float32)
	// gate is x * min(max(a*x+b, lo), hi).
	gate func(dst, x []float32, a, b, lo, hi float32)
	// above is dy where x > lo, inside dy where lo < x < hi, else 0.
	above  func(dst, dy, x []float32, lo float32)
	inside func(dst, dy, x []float32, lo, hi float32)
	// sum adds in float64.
	sum func(x []float32) float64
	// These are for exponents of at most 80.
	exp     func(dst, x []float32, shift float32) // e to the (x-shift)
	expAxpy func(dst, x []float32, a float32)     // dst + a times e to the x
	// softmax is that of rows of c elements, or its logarithm.
	softmax func(y, x []float32, c int, log bool)
	// nll sums over rows of c log-probabilities, one for each label; a label that
	// is no class counts for nothing.
	nll func(x []float32, label []int32, c int, ignore int32) nllSum
	// norm is clamp((x-mean)*a + b, lo, hi). Of the kernels named norm, the
	// arguments but y, x, r, dx and dy are one row, which repeats.
	norm func(y, x, mean, a, b []float32, lo, hi float32)
	// normAdd is clamp((x-mean)*a + b + r, lo, hi).
	normAdd func(y, x, mean, a, b, r []float32, lo, hi float32)
	// normBack is k*dy - m*(x-mean) - q; normBackClip takes dy for 0 unless
	// lo < (x-mean)*k + b < hi.
	normBack     func(dx, dy, x, mean, k, m, q []float32)
	normBackClip func(dx, dy, x, mean, k, m, q, b []float32, lo, hi float32)
	// sgd is a step of gradient descent with momentum.
	sgd func(param, velocity, grad []float32, rate, momentum, decay float32)
	// moments adds x-shift to s and its square to q, dots adds dy to s and
	// dy*(x-mean) to q, for some rows of n columns. dotsClip takes dy for 0
	// unless lo < (x-mean)*a + b < hi; dotsThrough does unless lo < y < hi, and
	// stores that to dst. The sums and the vectors of columns are as long as n
	// made a multiple of sumWidth.
	moments     func(s, q, x, shift []float32, n, rows int)
	dots        func(s, q, dy, x, mean []float32, n, rows int)
	dotsClip    func(s, q, dy, x, mean, a, b []float32, n, rows int, lo, hi float32)
	dotsThrough func(s, q, dy, x, y, dst, mean []float32, n, rows int, lo, hi float32)
	// settle adds x, a multiple of sumWidth, to dst and zeroes it.
	settle func(dst []float64, x []float32)
	// dotRows adds to dst the sum over n rows of a*b; rows of a lie sa apart,
	// rows of b sb.
	dotRows func(dst, a, b []float32, n, sa, sb int)

	// dropout is scale*x where the random word of the state z + i*step of
	// element i has at least limit in its upper half, else 0.
	dropout func(y, x []float32, z, step, limit uint64, scale float32)

	// widen and narrow convert bfloat16 and float32.
	widen  func(dst []float32, x []uint16)
	narrow func(dst []uint16, x []float32)
	// half is nil without instructions for bfloat16.
	half *halfISA
}

// shape is a dense micro-kernel. That of AMX takes any number of rows at a time,
// best a multiple of mr, and has its own order of b: see amx.go.
type shape struct {
	run    func(t *tile)
	mr, nr int
	amx    bool
}

// halfISA is what dense kernels on bfloat16 need beside isa.
type halfISA struct {
	shape                    // on words of a and b
	winograd winogradKernels // with bfloat16 pixels; none of filters
	// pair puts elements of a and b side by side into words.
	pair func(dst []float32, a, b []uint16)
	// narrowRows does so with c elements, 32 at most, of two rows that lie second
	// apart: n rows of 32 words, zeros after c. The next two lie step further.
	narrowRows func(dst, x []float32, n, step, second, c int)
	// These have bfloat16 at y and x, dotRows in a and b.
	maxWindow, maxBack func(t *windowTile)
	spread             spreadKernels
	dotRows            func(dst []float32, a, b []uint16, n, sa, sb int)
	// Of isa, with bfloat16 everywhere.
	add      func(dst, a, b []uint16)
	addClamp func(dst, a, b []uint16, lo, hi float32)
	clamp    func(dst, x []uint16, lo, hi float32)
	above    func(dst, dy, x []uint16, lo float32)
	inside   func(dst, dy, x []uint16, lo, hi float32)
	dropout  func(y, x []uint16, z, step, limit uint64, scale float32)
	// Of isa, with bfloat16 at x, and at dst of blend.
	scale func(dst []float32, x []uint16, a float32)
	axpy  func(dst []float32, x []uint16, a float32)
	blend func(dst []uint16, a, b []float32, u, v float32)
	// Of isa, with bfloat16 at y, x, r, dx, dy and dst.
	norm         func(y, x []uint16, mean, a, b []float32, lo, hi float32)
	normAdd      func(y, x []uint16, mean, a, b []float32, r []uint16, lo, hi float32)
	normBack     func(dx, dy, x []uint16, mean, k, m, q []float32)
	normBackClip func(dx, dy, x []uint16, mean, k, m, q, b []float32, lo, hi float32)
	moments      func(s, q []float32, x []uint16, shift []float32, n, rows int)
	dots         func(s, q []float32, dy, x []uint16, mean []float32, n, rows int)
	dotsClip     func(s, q []float32, dy, x []uint16, mean, a, b []float32, n, rows int, lo, hi float32)
	dotsThrough  func(s, q []float32, dy, x, y, dst []uint16, mean []float32, n, rows int, lo, hi float32)
	// pairRows writes n rows of words, dstStep apart: c elements, nr at most, of
	// the pixels at x and second on; the next row's pixels are step further.
	pairRows func(dst []float32, x []uint16, n, dstStep, step, second, c int)
}

// sumWidth is the most columns that a register of any isa holds.
const sumWidth = 16

// portable is plain Go.
var portable = &isa{
	name: "plain Go", lanes: 1, mr: 4, nr: 4, dense: 64 << 10, tile: tileGo, spread: spreadKernels{taps: spreadGo}, maxWindow: maxWindowGo, maxBack: maxBackGo, interleave: interleaveGo,
	add: vecAdd, addClamp: vecAddClamp, sub: vecSub, div: vecDiv, mul: vecMul, max: vecMax, mulAdd: vecMulAdd, scale: vecScale, axpy: vecAxpy, affine: vecAffine, blend: vecBlend, blendPixels: vecBlendPixels, dropout: vecDropout,
	clamp: vecClamp, exp: vecExp, expAxpy: vecExpAxpy, gate: vecGate, above: vecAbove, inside: vecInside, softmax: vecSoftmax, nll: vecNLL, sum: vecSum, norm: vecNorm, normAdd: vecNormAdd,
	normBack: vecNormBack, normBackClip: vecNormBackClip, sgd: vecSGD, moments: vecMoments, dots: vecDots, dotsClip: vecDotsClip, dotsThrough: vecDotsThrough, settle: vecSettle, dotRows: vecDotRows,
	widen: vecWiden, narrow: vecNarrow,
	columns:  func(to, from []float32, n, c, stride int) { copyColumns(to, from, n, c, 4, stride) },
	winograd: winogradKernels{winogradImageGo, winogradGradientGo, winogradFilterGo, winogradOutputGo, winogradFilterGradientGo},
}

// detect chooses the widest instructions that the processor has and
// GRAFT_SIMD allows.
func detect() *isa {
	limit := os.Getenv(EnvSIMD)
	if limit == "off" {
		return portable
	}
	return widest(limit)
}

// Vectorised reports whether the kernels of this machine use vector
// instructions, as far as GRAFT_SIMD allows.
func Vectorised() bool { return detect() != portable }
