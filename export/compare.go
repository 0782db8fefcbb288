package export

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/export/ort"
)

// sampler gives the reference's probabilities at any pixel: scores (N,C,h,w)
// interpolated bilinearly, with pixel centres at the halves, to height x width.
type sampler struct {
	data          []float32
	n, classes    int
	h, w          int // of the scores
	height, width int // of the pictures
}

// tap is where one output coordinate lies between two source coordinates.
type tap struct {
	low, high int
	fraction  float64 // weight of high
}

// taps maps target coordinates onto size source coordinates; borders repeat.
func taps(size, target int) []tap {
	out := make([]tap, target)
	for i := range out {
		x := (float64(i)+0.5)*float64(size)/float64(target) - 0.5
		x = min(max(x, 0), float64(size-1))
		low := int(x)
		out[i] = tap{low, min(low+1, size-1), x - float64(low)}
	}
	return out
}

// pixel writes the softmax of the interpolated scores into p, which has one
// value a class.
func (s sampler) pixel(p []float64, b int, y, x tap) {
	plane := s.h * s.w
	at := b * s.classes * plane
	for k := range p {
		top := s.data[at+y.low*s.w:]
		bottom := s.data[at+y.high*s.w:]
		upper := float64(top[x.low])*(1-x.fraction) + float64(top[x.high])*x.fraction
		lower := float64(bottom[x.low])*(1-x.fraction) + float64(bottom[x.high])*x.fraction
		p[k] = upper*(1-y.fraction) + lower*y.fraction
		at += plane
	}
	softmax(p)
}

// softmax replaces scores by probabilities.
func softmax(p []float64) {
	top, sum := slices.Max(p), 0.0
	for i, v := range p {
		p[i] = math.Exp(v - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
}

// relativeFloor is the probability below which a relative difference says
// nothing.
const relativeFloor = 1e-3

// comparison collects how far two outputs are apart.
type comparison struct {
	Case
	head Head
	tie  float64
}

// compare goes over every pixel of the deployed file's output.
func (c *comparison) compare(want sampler, got ort.Tensor) error {
	labelled := len(got.Shape) == 3
	shape := []int{want.n, want.classes, want.height, want.width}
	if labelled {
		shape = []int{want.n, want.height, want.width}
	}
	if !slices.Equal(got.Shape, shape) {
		return fmt.Errorf("has shape %v, the reference gives %v", got.Shape, shape)
	}
	var probability []float32
	var label func(i int) int
	switch data := got.Data.(type) {
	case []float32:
		if labelled {
			return fmt.Errorf("holds labels as float32")
		}
		probability = data
	case []uint8:
		label = func(i int) int { return int(data[i]) }
	case []int64:
		label = func(i int) int { return int(data[i]) }
	default:
		return fmt.Errorf("holds %s, which is neither probabilities nor labels", got.DType())
	}
	rows, columns := taps(want.h, want.height), taps(want.w, want.width)
	p, q := make([]float64, want.classes), make([]float64, want.classes)
	plane := want.height * want.width
	for b := range want.n {
		for y, row := range rows {
			for x, column := range columns {
				want.pixel(p, b, row, column)
				at := y*want.width + x
				if probability == nil {
					c.label(p, label(b*plane+at))
					continue
				}
				for k := range q {
					q[k] = float64(probability[(b*want.classes+k)*plane+at])
				}
				c.probabilities(p, q, Place{Picture: b, Y: y, X: x})
			}
		}
	}
	return nil
}

// probabilities compares the classes of one pixel: p by the reference, q as the
// file puts it out.
func (c *comparison) probabilities(p, q []float64, place Place) {
	switch c.head {
	case Logits:
		softmax(q)
	case LogProb:
		for k := range q {
			q[k] = math.Exp(q[k])
		}
	}
	for k := range p {
		d := math.Abs(p[k] - q[k])
		if math.IsNaN(d) || math.IsInf(d, 0) {
			c.NonFinite++
			continue
		}
		if d > c.MaxAbs {
			c.MaxAbs = d
			place.Class = k
			c.Worst = place
		}
		if larger := max(p[k], q[k]); larger >= relativeFloor {
			c.MaxRel = max(c.MaxRel, d/larger)
		}
	}
	c.label(p, argmax(q))
}

// label compares the label that the file gives a pixel.
func (c *comparison) label(p []float64, got int) {
	c.Pixels++
	best := argmax(p)
	switch {
	case got == best:
	case got >= 0 && got < len(p) && p[best]-p[got] <= c.tie:
		c.Ties++
	default:
		c.Mismatches++
	}
}

// argmax returns the first of the largest values.
func argmax(p []float64) int {
	best := 0
	for k := range p {
		if p[k] > p[best] {
			best = k
		}
	}
	return best
}
