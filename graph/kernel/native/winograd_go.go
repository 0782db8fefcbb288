package native

import (
	"math"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

// The transforms of Winograd's convolution in Go, on vectors of one lane.

// The finite points are 0, ±winogradA and ±winogradB. Their powers are exact in
// float32.
const (
	winogradA = 0.625
	winogradB = 1.5

	winogradAA = winogradA * winogradA
	winogradBB = winogradB * winogradB
	// The products of the differences to the other points, at 0, ±a and ±b.
	winogradN0 = winogradAA * winogradBB
	winogradNA = 2 * winogradAA * (winogradAA - winogradBB)
	winogradNB = 2 * winogradBB * (winogradBB - winogradAA)
)

// winogradImageLine is one dimension of B^T d.
func winogradImageLine(d, y []float32, n int) {
	d0, d1, d2, d3, d4, d5 := d[0], d[n], d[2*n], d[3*n], d[4*n], d[5*n]
	y[0] = d4 - (winogradAA+winogradBB)*d2 + winogradN0*d0
	e, o := d4-winogradBB*d2, winogradA*(d3-winogradBB*d1)
	y[n], y[2*n] = e+o, e-o
	e, o = d4-winogradAA*d2, winogradB*(d3-winogradAA*d1)
	y[3*n], y[4*n] = e+o, e-o
	y[5*n] = d5 - (winogradAA+winogradBB)*d3 + winogradN0*d1
}

// winogradGradientLine is one dimension of A dy.
func winogradGradientLine(d, y []float32, n int) {
	d0, d1, d2, d3 := d[0], d[n], d[2*n], d[3*n]
	y[0] = d0
	e, o := d0+winogradAA*d2, winogradA*d1+winogradA*winogradAA*d3
	y[n], y[2*n] = e+o, e-o
	e, o = d0+winogradBB*d2, winogradB*d1+winogradB*winogradBB*d3
	y[3*n], y[4*n] = e+o, e-o
	y[5*n] = d3
}

// winogradFilterLine is one dimension of G g.
func winogradFilterLine(g, y []float32, n int) {
	g0, g1, g2 := g[0], g[n], g[2*n]
	y[0] = g0 * (1 / winogradN0)
	e, o := g0*(1/winogradNA)+g2*(winogradAA/winogradNA), g1*(winogradA/winogradNA)
	y[n], y[2*n] = e+o, e-o
	e, o = g0*(1/winogradNB)+g2*(winogradBB/winogradNB), g1*(winogradB/winogradNB)
	y[3*n], y[4*n] = e+o, e-o
	y[5*n] = g2
}

// winogradOutputLine is one dimension of A^T m.
func winogradOutputLine(m, y []float32, n int) {
	sa, da, sb, db := m[n]+m[2*n], m[n]-m[2*n], m[3*n]+m[4*n], m[3*n]-m[4*n]
	y[0] = m[0] + sa + sb
	y[n] = winogradA*da + winogradB*db
	y[2*n] = winogradAA*sa + winogradBB*sb
	y[3*n] = m[5*n] + winogradA*winogradAA*da + winogradB*winogradBB*db
}

// winogradFilterGradientLine is one dimension of G^T m.
func winogradFilterGradientLine(m, y []float32, n int) {
	sa, da, sb, db := m[n]+m[2*n], m[n]-m[2*n], m[3*n]+m[4*n], m[3*n]-m[4*n]
	y[0] = m[0]*(1/winogradN0) + sa*(1/winogradNA) + sb*(1/winogradNB)
	y[n] = da*(winogradA/winogradNA) + db*(winogradB/winogradNB)
	y[2*n] = m[5*n] + sa*(winogradAA/winogradNA) + sb*(winogradBB/winogradNB)
}

// winogradMatrix names a transform along one dimension.
type winogradMatrix int

const (
	winogradImageMatrix winogradMatrix = iota
	winogradGradientMatrix
	winogradFilterMatrix
	winogradOutputMatrix
	winogradFilterGradientMatrix
)

// line applies a matrix to elements n apart.
func (m winogradMatrix) line(d, y []float32, n int) {
	switch m {
	case winogradImageMatrix:
		winogradImageLine(d, y, n)
	case winogradGradientMatrix:
		winogradGradientLine(d, y, n)
	case winogradFilterMatrix:
		winogradFilterLine(d, y, n)
	case winogradOutputMatrix:
		winogradOutputLine(d, y, n)
	case winogradFilterGradientMatrix:
		winogradFilterGradientLine(d, y, n)
	}
}

func winogradImageGo(t *winogradTile)    { winogradImageMatrix.analyse(t, winogradIn) }
func winogradGradientGo(t *winogradTile) { winogradGradientMatrix.analyse(t, winogradOut) }
func winogradFilterGo(t *winogradTile)   { winogradFilterMatrix.analyse(t, winogradTaps) }

func winogradOutputGo(t *winogradTile) { winogradOutputMatrix.synthesise(t, winogradOut, true) }
func winogradFilterGradientGo(t *winogradTile) {
	winogradFilterGradientMatrix.synthesise(t, winogradTaps, false)
}

// analyse transforms n by n pixels to frequencies.
func (m winogradMatrix) analyse(t *winogradTile, n int) {
	var d, half, y [winogradPlanes]float32
	at := t.start
	for i := range t.lanes {
		for k := range n * n {
			d[k] = *(*float32)(unsafe.Add(t.pixels[k], at))
		}
		for j := range n {
			m.line(d[j:], half[j:], n)
		}
		for k := range winogradIn {
			m.line(half[k*n:], y[k*winogradIn:], 1)
		}
		plane := unsafe.Add(unsafe.Pointer(t.plane), i*t.planeStep)
		for f, v := range y {
			*(*float32)(unsafe.Add(plane, 4*f*t.pitch)) = v
		}
		at += t.pixelStep
	}
}

// synthesise transforms frequencies to n by n pixels, and finishes the output
// with bias and activation.
func (m winogradMatrix) synthesise(t *winogradTile, n int, output bool) {
	var d, half, y [winogradPlanes]float32
	at := t.start
	for i := range t.lanes {
		plane := unsafe.Add(unsafe.Pointer(t.plane), i*t.planeStep)
		for f := range d {
			d[f] = *(*float32)(unsafe.Add(plane, 4*f*t.pitch))
		}
		for j := range winogradIn {
			m.line(d[j:], half[j:], winogradIn)
		}
		for k := range n {
			m.line(half[k*winogradIn:], y[k*n:], 1)
		}
		for k := range n * n {
			v := y[k]
			if output {
				v = clamp32(v+*(*float32)(unsafe.Add(unsafe.Pointer(t.bias), at)), t.lo, t.hi)
			}
			*(*float32)(unsafe.Add(t.pixels[k], at)) = v
		}
		at += t.pixelStep
	}
}

// setClip sets the activation of the output.
func (t *winogradTile) setClip(c kernel.Clip) {
	t.lo, t.hi = float32(math.Inf(-1)), float32(math.Inf(1))
	if c.On {
		t.lo, t.hi = c.Lo, c.Hi
	}
}
