package op

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// maxTaps bounds the entries of one sparse matrix, so that a file cannot ask
// for more memory than a large picture needs.
const maxTaps = 1 << 24

// tapsBuilder collects the rows of a sparse matrix.
type tapsBuilder struct{ kernel.Taps }

func newTaps(in, out int) *tapsBuilder {
	return &tapsBuilder{kernel.Taps{In: in, Start: append(make([]int, 0, out+1), 0)}}
}

// add appends an entry to the row in the making, in the order of the columns;
// entries of one column merge.
func (t *tapsBuilder) add(index int, weight float64) {
	if k := len(t.Index) - 1; k >= t.Start[len(t.Start)-1] && t.Index[k] == index {
		t.Weight[k] += float32(weight)
		return
	}
	t.Index = append(t.Index, index)
	t.Weight = append(t.Weight, float32(weight))
}

// next ends a row.
func (t *tapsBuilder) next() { t.Start = append(t.Start, len(t.Index)) }

// identityTaps leaves an axis of n elements as it is.
func identityTaps(n int) kernel.Taps {
	t := newTaps(n, n)
	for i := range n {
		t.add(i, 1)
		t.next()
	}
	return t.Taps
}

// averageTaps makes out cells of the mean of the inputs from floor(i*in/out)
// to ceil((i+1)*in/out), as PyTorch's adaptive average pooling does.
func averageTaps(in, out int) kernel.Taps {
	t := newTaps(in, out)
	for i := range out {
		start, end := i*in/out, ((i+1)*in+out-1)/out
		for k := start; k < end; k++ {
			t.Index = append(t.Index, k)
			t.Weight = append(t.Weight, 1/float32(end-start))
		}
		t.next()
	}
	return t.Taps
}

// length is one axis of a Resize.
type length struct {
	in, out    int
	exact      float64 // the length before rounding down, out where sizes are given
	scale      float32
	start, end float64 // region of interest, 0 to 1
}

// position returns where element i of the output lies in the input.
func (r resizing) position(l length, i int) float64 {
	x, scale := float64(i), float64(l.scale)
	if r.mode == "nearest" {
		// At the borders between elements the last bit decides: other runtimes
		// compute in float32.
		return r.nearestPosition(l, i)
	}
	switch r.coordinates {
	case "half_pixel":
		return (x+0.5)/scale - 0.5
	case "half_pixel_symmetric":
		adjusted := float64(l.out) / l.exact
		center := float64(l.in) / 2
		return center*(1-adjusted) + (x+0.5)/scale - 0.5
	case "pytorch_half_pixel":
		if l.out == 1 {
			return 0
		}
		return (x+0.5)/scale - 0.5
	case "align_corners":
		// The standard divides by the exact length, which is not a whole
		// number for some scales.
		if l.out == 1 || l.exact == 1 {
			return 0
		}
		return x * float64(l.in-1) / (l.exact - 1)
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / scale
	case "tf_crop_and_resize":
		if l.out == 1 {
			return 0.5 * (l.start + l.end) * float64(l.in-1)
		}
		return l.start*float64(l.in-1) + x*(l.end-l.start)*float64(l.in-1)/float64(l.out-1)
	default: // asymmetric
		return x / scale
	}
}

func (r resizing) nearestPosition(l length, i int) float64 {
	x := float32(i)
	switch r.coordinates {
	case "half_pixel":
		return float64((x+0.5)/l.scale - 0.5)
	case "pytorch_half_pixel":
		if l.out == 1 {
			return 0
		}
		return float64((x+0.5)/l.scale - 0.5)
	case "tf_half_pixel_for_nn":
		return float64((x + 0.5) / l.scale)
	case "asymmetric":
		return float64(x / l.scale)
	default:
		r.mode = "linear"
		return float64(float32(r.position(l, i)))
	}
}

// perOutput bounds the taps of one output.
func (r resizing) perOutput(l length) int {
	n := 4
	if r.antialias && l.scale < 1 {
		n = int(min(math.Ceil(4/float64(l.scale)), 2*float64(l.in))) + 4
	}
	return n
}

// taps returns the matrix of one axis.
func (r resizing) taps(l length) kernel.Taps {
	t := newTaps(l.in, l.out)
	for i := range l.out {
		x := r.position(l, i)
		if r.coordinates == "tf_crop_and_resize" && (x < 0 || x > float64(l.in-1)) {
			t.next() // extrapolated
			continue
		}
		switch r.mode {
		case "nearest":
			t.add(clampIndex(r.pick(x), l.in), 1)
		case "linear":
			r.filter(t, l, x, 1, triangle)
		case "cubic":
			r.filter(t, l, x, 2, func(d float64) float64 { return cubic(d, r.cubicA) })
		}
		t.next()
	}
	return t.Taps
}

// pick rounds a position to an element.
func (r resizing) pick(x float64) float64 {
	switch r.nearest {
	case "round_prefer_ceil":
		return math.Floor(x + 0.5)
	case "floor":
		return math.Floor(x)
	case "ceil":
		return math.Ceil(x)
	default:
		return math.Ceil(x - 0.5)
	}
}

// filter adds the row of a filter with the given support around x. With
// antialias it grows with the step between outputs.
func (r resizing) filter(t *tapsBuilder, l length, x, support float64, weight func(float64) float64) {
	shrink := 1.0
	if r.antialias {
		shrink = min(float64(l.scale), 1)
	}
	first := math.Floor(x-support/shrink) + 1
	last := math.Ceil(x+support/shrink) - 1
	if r.antialias || r.excludeOutside {
		// Elements far outside add nothing new: they repeat the border, and the
		// sum is normalised.
		first = max(first, -float64(l.in))
		last = min(last, 2*float64(l.in))
	}
	sum := 0.0
	for k := first; k <= last; k++ {
		if r.excludeOutside && (k < 0 || k >= float64(l.in)) {
			continue
		}
		sum += weight((k - x) * shrink)
	}
	for k := first; k <= last; k++ {
		if r.excludeOutside && (k < 0 || k >= float64(l.in)) {
			continue
		}
		if w := weight((k - x) * shrink); w != 0 {
			t.add(clampIndex(k, l.in), w/sum)
		}
	}
}

func clampIndex(x float64, n int) int { return int(min(max(x, 0), float64(n-1))) }

// triangle is the linear filter.
func triangle(d float64) float64 { return max(1-math.Abs(d), 0) }

// cubic is the convolution kernel of R. Keys, Cubic convolution interpolation
// for digital image processing, 1981, with parameter a.
func cubic(d, a float64) float64 {
	d = math.Abs(d)
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return a * (((d-5)*d+8)*d - 4)
	}
	return 0
}
