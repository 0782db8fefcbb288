package kerneltest

import (
	"fmt"
	"math"
	"sort"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// pixelMap is the arguments of a loss in float64.
type pixelMap struct {
	kernel.Pixels
	logprob []float64 // (N,C,H,W)
	label   []float64 // (N,H,W)
}

// at is the index of a pixel's class in logprob.
func (m *pixelMap) at(pixel, class int) int {
	plane := m.H * m.W
	return (pixel/plane*m.C+class)*plane + pixel%plane
}

// labelled lists the pixels with a label, and counts those of each class.
func (m *pixelMap) labelled() (pixels []int, count []float64) {
	count = make([]float64, m.C)
	for i, l := range m.label {
		if int32(l) != m.Ignore {
			pixels = append(pixels, i)
			count[int(l)]++
		}
	}
	return pixels, count
}

func weightOf(weights []float32, class int) float64 {
	if len(weights) == 0 {
		return 1
	}
	return float64(weights[class])
}

// lossOf is the definition of each loss, with its gradient by logprob.
func lossOf(l kernel.Loss, m *pixelMap) (loss float64, grad []float64) {
	grad = make([]float64, len(m.logprob))
	pixels, count := m.labelled()
	present := 0.0
	for _, n := range count {
		present += step(n > 0)
	}
	if len(pixels) == 0 {
		return 0, grad
	}
	class := func(i int) int { return int(m.label[i]) }
	switch d := l.(type) {
	case kernel.CrossEntropy:
		total, s := 0.0, float64(d.Smoothing)
		for _, i := range pixels {
			total += weightOf(d.Weights, class(i))
		}
		for _, i := range pixels {
			for c := range m.C {
				w := s / float64(m.C) * weightOf(d.Weights, c)
				if c == class(i) {
					w += (1 - s) * weightOf(d.Weights, c)
				}
				loss -= w / total * m.logprob[m.at(i, c)]
				grad[m.at(i, c)] = -w / total
			}
		}
	case kernel.OHEM:
		own := func(i int) int { return m.at(i, class(i)) }
		sort.SliceStable(pixels, func(a, b int) bool { return m.logprob[own(pixels[a])] < m.logprob[own(pixels[b])] })
		kept := 0
		for kept < len(pixels) && (kept < d.MinKept || math.Exp(m.logprob[own(pixels[kept])]) < float64(d.Threshold)) {
			kept++
		}
		for _, i := range pixels[:kept] {
			loss -= m.logprob[own(i)] / float64(kept)
			grad[own(i)] = -1 / float64(kept)
		}
	case kernel.Dice:
		for c, n := range count {
			if n == 0 {
				continue
			}
			top, bottom := float64(d.Smooth), n+float64(d.Smooth)
			for _, i := range pixels {
				p := math.Exp(m.logprob[m.at(i, c)])
				top += 2 * p * step(class(i) == c)
				bottom += p
			}
			loss += (1 - top/bottom) / present
			for _, i := range pixels {
				p := math.Exp(m.logprob[m.at(i, c)])
				grad[m.at(i, c)] = -p * (2*step(class(i) == c)*bottom - top) / (bottom * bottom) / present
			}
		}
	case kernel.Focal:
		for _, i := range pixels {
			k, g, a := m.at(i, class(i)), float64(d.Gamma), weightOf(d.Alpha, class(i))/float64(len(pixels))
			p, lp := math.Exp(m.logprob[k]), m.logprob[k]
			loss -= a * math.Pow(1-p, g) * lp
			grad[k] = -a * (math.Pow(1-p, g) - g*math.Pow(1-p, g-1)*p*lp)
		}
	case kernel.Lovasz:
		for c, n := range count {
			if n == 0 {
				continue
			}
			off := func(i int) float64 { return math.Abs(step(class(i) == c) - math.Exp(m.logprob[m.at(i, c)])) }
			sort.SliceStable(pixels, func(a, b int) bool { return off(pixels[a]) > off(pixels[b]) })
			// The set function is 1 - IoU when the first pixels are wrong.
			wrong := map[bool]float64{}
			set := func() float64 { return 1 - (n-wrong[true])/(n+wrong[false]) }
			for _, i := range pixels {
				before := set()
				wrong[class(i) == c]++
				slope := (set() - before) / present
				loss += slope * off(i)
				grad[m.at(i, c)] = slope * (1 - 2*step(class(i) == c)) * math.Exp(m.logprob[m.at(i, c)])
			}
			sort.Ints(pixels)
		}
	}
	return loss, grad
}

func testLoss(t *testing.T, dev kernel.Device) {
	maps := []struct {
		kernel.Pixels
		labelled float64 // share of the pixels
		classes  int     // that occur
	}{
		{kernel.Pixels{N: 1, C: 1, H: 1, W: 1, Ignore: -1}, 1, 1},
		{kernel.Pixels{N: 2, C: 5, H: 4, W: 3, Ignore: -1}, 0.7, 5},
		{kernel.Pixels{N: 2, C: 19, H: 6, W: 7, Ignore: 255}, 0.9, 12},
		{kernel.Pixels{N: 2, C: 6, H: 60, W: 50, Ignore: -100}, 0.95, 6}, // several shares
		{kernel.Pixels{N: 1, C: 4, H: 3, W: 3, Ignore: -1}, 0, 4},
		{kernel.Pixels{N: 1, C: 4, H: 5, W: 5, Ignore: 2}, 0.5, 2},
	}
	for k, mp := range maps {
		rng := newRand(dev, uint64(k))
		weights := make([]float32, mp.C)
		for c := range weights {
			weights[c] = float32(c%3) + 0.25
		}
		m := &pixelMap{mp.Pixels, make([]float64, mp.N*mp.C*mp.H*mp.W), make([]float64, mp.Labels())}
		// Probabilities at odd quarters of the steps of one grid: neither they
		// nor their distances to 1 are ever equal.
		for i, r := range rng.Perm(len(m.logprob)) {
			m.logprob[i] = float64(float32(math.Log((float64(r) + 0.25) / float64(len(m.logprob)))))
		}
		for i := range m.label {
			m.label[i] = float64(mp.Ignore)
			if rng.Float64() < mp.labelled {
				m.label[i] = float64(rng.IntN(mp.classes))
			}
		}
		hard := mp.Labels() / 3
		for _, l := range []kernel.Loss{
			kernel.CrossEntropy{}, kernel.CrossEntropy{Weights: weights}, kernel.CrossEntropy{Smoothing: 0.125},
			kernel.CrossEntropy{Weights: weights, Smoothing: 0.25},
			kernel.OHEM{Threshold: 0.5}, kernel.OHEM{Threshold: 0.01, MinKept: hard}, kernel.OHEM{MinKept: 1 << 30}, kernel.OHEM{},
			kernel.Dice{}, kernel.Dice{Smooth: 1},
			kernel.Focal{}, kernel.Focal{Gamma: 2}, kernel.Focal{Gamma: 0.5, Alpha: weights},
			kernel.Lovasz{},
		} {
			testLossOn(t, dev, l.On(mp.Pixels), m)
		}
	}
	testLossLabels(t, dev)
	testLossNaN(t, dev)
}

// testLossNaN checks that a NaN at a labelled pixel is a NaN loss, whatever its
// sign and whichever other pixels are harder.
func testLossNaN(t *testing.T, dev kernel.Device) {
	px := kernel.Pixels{N: 1, C: 3, H: 2, W: 3, Ignore: -1}
	label := []float64{0, 1, 2, -1, 1, 0}
	for _, l := range []kernel.Loss{
		kernel.CrossEntropy{}, kernel.CrossEntropy{Weights: []float32{1, 2, 3}, Smoothing: 0.1}, kernel.Dice{Smooth: 1}, kernel.Focal{Gamma: 2}, kernel.Lovasz{},
		kernel.OHEM{Threshold: 0.7}, kernel.OHEM{Threshold: 0.01}, kernel.OHEM{}, kernel.OHEM{MinKept: 1}, kernel.OHEM{Threshold: 0.01, MinKept: 2},
	} {
		for _, sign := range []float64{1, -1} {
			logprob := make([]float64, 18)
			for i := range logprob {
				logprob[i] = math.Log(float64(1+i%5) / 6)
			}
			m := &pixelMap{Pixels: px}
			for c := range px.C {
				logprob[m.at(1, c)] = math.Copysign(math.NaN(), sign)
			}
			s := spec{desc: l.On(px), in: [][]float64{logprob, label, nil}}
			k, err := dev.Compile(s.desc)
			if err != nil {
				t.Fatal(err)
			}
			if out := s.exec(t, dev, k, [2]int{-1, -1}, 0); !math.IsNaN(out[0][0]) {
				t.Errorf("%T%+v: a NaN of sign %v makes a loss of %v", l, l, sign, out[0][0])
			}
		}
	}
}

func testLossOn(t *testing.T, dev kernel.Device, l kernel.Loss, m *pixelMap) {
	t.Helper()
	loss, grad := lossOf(l, m)
	counts := []float64{loss, 0, 0}
	pixels, _ := m.labelled()
	for _, i := range pixels {
		best := 0
		for c := range m.C {
			if m.logprob[m.at(i, c)] > m.logprob[m.at(i, best)] {
				best = c
			}
		}
		counts[1] += step(best == int(m.label[i]))
		counts[2]++
	}
	name := fmt.Sprintf("%T%+v", l, l)
	(&spec{name: name, desc: l, in: [][]float64{m.logprob, m.label, nil},
		want: []value{{counts, []float64{math.Abs(loss) + 0.01, 0, 0}}}, tol: funcTol}).test(t, dev)

	const dloss = 0.375
	dx := value{grad, make([]float64, len(grad))}
	largest := 0.0
	for i := range grad {
		grad[i] *= dloss
		largest = max(largest, math.Abs(grad[i]))
	}
	for i, g := range grad {
		// Near p = 1 the difference to it has an absolute error.
		if dx.mag[i] = math.Abs(g) + 0.01*largest; g == 0 {
			dx.mag[i] = 0
		}
	}
	back := &spec{name: name + " backward", desc: kernel.LossBackward{Loss: l},
		in: [][]float64{m.logprob, m.label, {dloss, 7, 7}, nil}, want: []value{dx}, tol: sumTol}
	if len(m.logprob) < 5000 { // the steps of the grid are larger than that of the differences
		back.point, back.loss = m.logprob, func(v []float64) float64 {
			loss, _ := lossOf(l, &pixelMap{m.Pixels, v, m.label})
			return dloss * loss
		}
	}
	back.test(t, dev)
}

// testLossLabels checks that labels that are no class, and weights that do not
// fit, are errors.
func testLossLabels(t *testing.T, dev kernel.Device) {
	px := kernel.Pixels{N: 1, C: 3, H: 2, W: 2, Ignore: -1}
	for _, l := range []kernel.Loss{kernel.CrossEntropy{}, kernel.OHEM{}, kernel.Dice{}, kernel.Focal{}, kernel.Lovasz{}} {
		l = l.On(px)
		label := []float64{0, 1, 3, -1}
		for _, s := range []spec{
			{desc: l, in: [][]float64{make([]float64, 12), label, nil}},
			{desc: kernel.LossBackward{Loss: l}, in: [][]float64{make([]float64, 12), label, {1, 0, 0}, nil}},
		} {
			k, err := dev.Compile(s.desc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.tryExec(t, dev, k, [2]int{-1, -1}, 0); err == nil {
				t.Errorf("%T: label 3 of 3 classes passes", s.desc)
			}
		}
	}
	for _, l := range []kernel.Loss{
		kernel.CrossEntropy{Weights: []float32{1, 2}}, kernel.CrossEntropy{Smoothing: 1.5}, kernel.OHEM{MinKept: -1},
		kernel.Dice{Smooth: -1}, kernel.Focal{Gamma: -1}, kernel.Focal{Alpha: []float32{1}},
	} {
		l = l.On(px)
		if _, err := dev.Compile(l); err == nil {
			t.Errorf("%T%+v compiles", l, l)
		}
		if _, err := dev.Compile(kernel.LossBackward{Loss: l}); err == nil {
			t.Errorf("the gradient of %T%+v compiles", l, l)
		}
	}
}
