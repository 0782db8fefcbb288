package native

import "math"

// The vector loops of isa in plain Go.

// vecAffine computes dst = a*x + b.
func vecAffine(dst, x []float32, a, b float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = a*v + b
	}
}

// vecBlend computes dst = u*a + v*b.
func vecBlend(dst, a, b []float32, u, v float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = u*a[i] + v*b[i]
	}
}

// vecClamp computes dst = min(max(x, lo), hi); NaN stays NaN.
func vecClamp(dst, x []float32, lo, hi float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = clamp32(v, lo, hi)
	}
}

// vecAbove computes dst = dy where x > lo, else 0.
func vecAbove(dst, dy, x []float32, lo float32) {
	x, dy = x[:len(dst)], dy[:len(dst)]
	for i, v := range x {
		g := dy[i]
		if !(v > lo) {
			g = 0
		}
		dst[i] = g
	}
}

// vecInside computes dst = dy where lo < x < hi, else 0.
func vecInside(dst, dy, x []float32, lo, hi float32) {
	x, dy = x[:len(dst)], dy[:len(dst)]
	for i, v := range x {
		g := dy[i]
		if !(v > lo && v < hi) {
			g = 0
		}
		dst[i] = g
	}
}

// vecAdd computes dst = a + b.
func vecAdd(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

// vecAddClamp computes dst = min(max(a + b, lo), hi); NaN stays NaN.
func vecAddClamp(dst, a, b []float32, lo, hi float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = clamp32(a[i]+b[i], lo, hi)
	}
}

// vecSub computes dst = a - b.
func vecSub(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

// vecDiv computes dst = a / b.
func vecDiv(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] / b[i]
	}
}

// vecMul computes dst = a * b.
func vecMul(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

// vecBlendPixels computes pixels of c elements, step apart in dst.
func vecBlendPixels(dst, x []float32, taps []blendTap, c, step int) {
	for i, t := range taps {
		vecBlend(dst[i*step:i*step+c], x[t.a:], x[t.b:], t.u, t.v)
	}
}

// vecScale computes dst = a*x.
func vecScale(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = a * v
	}
}

// vecAxpy computes dst += a*x.
func vecAxpy(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += a * v
	}
}

// vecMax computes dst = max(a, b); a NaN of either stays.
func vecMax(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i, v := range a {
		if w := b[i]; w > v || w != w {
			v = w
		}
		dst[i] = v
	}
}

// vecMoments adds x-shift to s and its square to q.
func vecMoments(s, q, x, shift []float32, n, rows int) {
	s, q, shift = s[:n], q[:n], shift[:n]
	for r := range rows {
		for i, v := range x[r*n : (r+1)*n] {
			u := v - shift[i]
			s[i] += u
			q[i] += u * u
		}
	}
}

// vecDots adds dy to s and dy*(x-mean) to q.
func vecDots(s, q, dy, x, mean []float32, n, rows int) {
	s, q, mean = s[:n], q[:n], mean[:n]
	for r := range rows {
		x := x[r*n : (r+1)*n]
		for i, g := range dy[r*n : (r+1)*n] {
			s[i] += g
			q[i] += g * (x[i] - mean[i])
		}
	}
}

// vecDotsClip is vecDots with dy for 0 unless lo < (x-mean)*a + b < hi.
func vecDotsClip(s, q, dy, x, mean, a, b []float32, n, rows int, lo, hi float32) {
	s, q, mean, a, b = s[:n], q[:n], mean[:n], a[:n], b[:n]
	for r := range rows {
		x := x[r*n : (r+1)*n]
		for i, g := range dy[r*n : (r+1)*n] {
			c := x[i] - mean[i]
			if y := c*a[i] + b[i]; !(y > lo && y < hi) {
				g = 0
			}
			s[i] += g
			q[i] += g * c
		}
	}
}

// vecDotsThrough is vecDots with dy for 0 unless lo < y < hi, which it stores to
// dst.
func vecDotsThrough(s, q, dy, x, y, dst, mean []float32, n, rows int, lo, hi float32) {
	s, q, mean = s[:n], q[:n], mean[:n]
	for r := range rows {
		x, y, dst := x[r*n:(r+1)*n], y[r*n:(r+1)*n], dst[r*n:(r+1)*n]
		for i, g := range dy[r*n : (r+1)*n] {
			if v := y[i]; !(v > lo && v < hi) {
				g = 0
			}
			dst[i] = g
			s[i] += g
			q[i] += g * (x[i] - mean[i])
		}
	}
}

// vecSettle adds x to dst and zeroes it.
func vecSettle(dst []float64, x []float32) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] += float64(v)
	}
	clear(x)
}

// vecNorm computes y = clamp((x-mean)*a + b, lo, hi).
func vecNorm(y, x, mean, a, b []float32, lo, hi float32) {
	a, b = a[:len(mean)], b[:len(mean)]
	for ; len(y) > 0; y, x = y[len(mean):], x[len(mean):] {
		mean = mean[:min(len(mean), len(y))]
		for i, m := range mean {
			y[i] = clamp32((x[i]-m)*a[i]+b[i], lo, hi)
		}
	}
}

// vecNormAdd computes y = clamp((x-mean)*a + b + r, lo, hi).
func vecNormAdd(y, x, mean, a, b, r []float32, lo, hi float32) {
	a, b = a[:len(mean)], b[:len(mean)]
	for ; len(y) > 0; y, x, r = y[len(mean):], x[len(mean):], r[len(mean):] {
		mean = mean[:min(len(mean), len(y))]
		for i, m := range mean {
			y[i] = clamp32((x[i]-m)*a[i]+b[i]+r[i], lo, hi)
		}
	}
}

// vecNormBackClip is vecNormBack with dy for 0 unless lo < (x-mean)*k + b < hi.
func vecNormBackClip(dx, dy, x, mean, k, m, q, b []float32, lo, hi float32) {
	k, m, q, b = k[:len(mean)], m[:len(mean)], q[:len(mean)], b[:len(mean)]
	for ; len(dx) > 0; dx, dy, x = dx[len(mean):], dy[len(mean):], x[len(mean):] {
		mean = mean[:min(len(mean), len(dx))]
		for i, v := range mean {
			c, g := x[i]-v, dy[i]
			if y := c*k[i] + b[i]; !(y > lo && y < hi) {
				g = 0
			}
			dx[i] = k[i]*g - m[i]*c - q[i]
		}
	}
}

// vecNormBack computes dx = k*dy - m*(x-mean) - q.
func vecNormBack(dx, dy, x, mean, k, m, q []float32) {
	k, m, q = k[:len(mean)], m[:len(mean)], q[:len(mean)]
	for ; len(dx) > 0; dx, dy, x = dx[len(mean):], dy[len(mean):], x[len(mean):] {
		mean = mean[:min(len(mean), len(dx))]
		for i, v := range mean {
			dx[i] = k[i]*dy[i] - m[i]*(x[i]-v) - q[i]
		}
	}
}

// vecSGD is one step of stochastic gradient descent with momentum.
func vecSGD(param, velocity, grad []float32, rate, momentum, decay float32) {
	velocity, grad = velocity[:len(param)], grad[:len(param)]
	for i, w := range param {
		v := momentum*velocity[i] + (grad[i] + decay*w)
		velocity[i] = v
		param[i] = w - rate*v
	}
}

// vecMulAdd computes dst += a*b.
func vecMulAdd(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] += a[i] * b[i]
	}
}

// vecDotRows adds to dst the sum over n rows of a*b; rows of a lie sa apart,
// rows of b sb.
func vecDotRows(dst, a, b []float32, n, sa, sb int) {
	for i := range n {
		vecMulAdd(dst, a[i*sa:], b[i*sb:])
	}
}

// vecExp computes dst = e to the (x-shift).
func vecExp(dst, x []float32, shift float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = float32(math.Exp(float64(v - shift)))
	}
}

// vecExpAxpy computes dst += a * e to the x.
func vecExpAxpy(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += a * float32(math.Exp(float64(v)))
	}
}

// vecGate computes dst = x * min(max(a*x+b, lo), hi).
func vecGate(dst, x []float32, a, b, lo, hi float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = v * clamp32(a*v+b, lo, hi)
	}
}

// vecSigmoid computes dst = 1/(1+e to the -x) through exp, which works on
// tmp, of the same length.
func vecSigmoid(v *isa, dst, x, tmp []float32) {
	x, tmp = x[:len(dst)], tmp[:len(dst)]
	for i, u := range x {
		tmp[i] = -float32(math.Abs(float64(u)))
	}
	v.exp(tmp, tmp, 0)
	for i, u := range x {
		e := tmp[i]
		top := float32(1)
		if u < 0 {
			top = e
		}
		dst[i] = top / (1 + e)
	}
}

// vecSum adds in float64, four sums side by side.
func vecSum(x []float32) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x = x[4:] {
		a += float64(x[0])
		b += float64(x[1])
		c += float64(x[2])
		d += float64(x[3])
	}
	for _, v := range x {
		a += float64(v)
	}
	return (a + b) + (c + d)
}
