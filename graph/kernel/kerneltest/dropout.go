package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// mask runs dropout on ones and returns the result, in logical order.
func mask(t *testing.T, dev kernel.Device, d kernel.Dropout, seed, step float64) []float64 {
	t.Helper()
	ones := make([]float64, kernel.Len(d.Shape))
	for i := range ones {
		ones[i] = 1
	}
	k, err := dev.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	s := spec{desc: d, in: [][]float64{ones, {seed, step}, nil}}
	return s.exec(t, dev, k, [2]int{-1, -1}, 0xff)[0]
}

// agreement is the share of equal elements.
func agreement(a, b []float64) float64 {
	n := 0.0
	for i := range a {
		n += step(a[i] == b[i])
	}
	return n / float64(len(a))
}

func testDropout(t *testing.T, dev kernel.Device) {
	shape := []int{2, 20, 30, 25}
	for _, ratio := range []float32{0, 0.1, 0.5, 0.9, 1} {
		d := kernel.Dropout{Shape: shape, Ratio: ratio, Stream: 3}
		m := mask(t, dev, d, 7, 11)
		// The contract: y is x*mask, bit for bit the same mask for any x.
		x := normal(newRand(dev, 1), len(m))
		y := value{make([]float64, len(m)), make([]float64, len(m))}
		kept := 0.0
		for i, v := range m {
			want := 1 / (1 - float64(ratio))
			if v != 0 {
				kept++
				if math.Abs(v-want) > funcTol*want {
					t.Fatalf("ratio %v: a kept 1 becomes %v, want %v", ratio, v, want)
				}
				y.want[i], y.mag[i] = x[i]*want, math.Abs(x[i])*want
			}
		}
		n := float64(len(m))
		share, sigma := kept/n, math.Sqrt(float64(ratio*(1-ratio))/n)
		if math.Abs(share-(1-float64(ratio))) > 5*sigma {
			t.Errorf("ratio %v: %v of %v elements kept, more than 5 deviations from expected", ratio, kept, n)
		}
		(&spec{name: fmt.Sprintf("ratio %v", ratio), desc: d, in: [][]float64{x, {7, 11}, nil}, want: []value{y}, alias: [][2]int{{2, 0}}}).test(t, dev)
	}

	d := kernel.Dropout{Shape: shape, Ratio: 0.5, Stream: 3}
	m := mask(t, dev, d, 7, 11)
	if agreement(m, mask(t, dev, d, 7, 11)) != 1 {
		t.Error("the same seed, step and stream give another mask")
	}
	other := d
	other.Stream = 4
	for name, o := range map[string][]float64{
		"seed": mask(t, dev, d, 8, 11), "step": mask(t, dev, d, 7, 12), "stream": mask(t, dev, other, 7, 11), "swapped": mask(t, dev, d, 11, 7),
	} {
		if a := agreement(m, o); math.Abs(a-0.5) > 5*0.5/math.Sqrt(float64(len(m))) {
			t.Errorf("with another %s, %v of the mask is the same, want half", name, a)
		}
	}
	// Neighbours are independent in each direction.
	for _, lag := range []int{1, 25, 750, 15000} {
		if a := agreement(m[lag:], m[:len(m)-lag]); math.Abs(a-0.5) > 5*0.5/math.Sqrt(float64(len(m)-lag)) {
			t.Errorf("elements %d apart agree in %v of the mask, want half", lag, a)
		}
	}
	// The mask belongs to the logical index, so the layout does not show.
	flat := mask(t, dev, kernel.Dropout{Shape: []int{len(m)}, Ratio: 0.5, Stream: 3}, 7, 11)
	if agreement(m, flat) != 1 {
		t.Error("the mask depends on the layout")
	}
	testChannelDropout(t, dev)
}

func testChannelDropout(t *testing.T, dev kernel.Device) {
	for _, shape := range [][]int{{40, 50, 3, 5}, {40, 50}, {40, 50, 7}} {
		m := mask(t, dev, kernel.Dropout{Shape: shape, Ratio: 0.25, Channel: true, Stream: 1}, 5, 6)
		plane := kernel.Len(shape[2:])
		dropped := 0.0
		for c := range 2000 {
			for p := range plane {
				if m[c*plane+p] != m[c*plane] {
					t.Fatalf("%v: plane %d is dropped in part", shape, c)
				}
			}
			dropped += step(m[c*plane] == 0)
		}
		if math.Abs(dropped-500) > 5*math.Sqrt(2000*0.25*0.75) {
			t.Errorf("%v: %v of 2000 channels dropped, want about 500", shape, dropped)
		}
	}
}
