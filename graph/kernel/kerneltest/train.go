package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// softmaxes returns the softmax of x and its logarithm.
func softmaxes(d kernel.Softmax, x []float64) (y, log []float64) {
	y, log = make([]float64, len(x)), make([]float64, len(x))
	for o := range d.Outer {
		for i := range d.Inner {
			at := func(a int) int { return (o*d.Axis+a)*d.Inner + i }
			top, sum := math.Inf(-1), 0.0
			for a := range d.Axis {
				top = max(top, x[at(a)])
			}
			for a := range d.Axis {
				sum += math.Exp(x[at(a)] - top)
			}
			for a := range d.Axis {
				log[at(a)] = x[at(a)] - top - math.Log(sum)
				y[at(a)] = math.Exp(log[at(a)])
			}
		}
	}
	return y, log
}

// testSoftmaxOfNaN checks that a NaN at any place of a row makes the whole row
// NaN, and no other row.
func testSoftmaxOfNaN(t *testing.T, dev kernel.Device) {
	const axis = 37
	for _, log := range []bool{false, true} {
		d := kernel.Softmax{Outer: axis + 1, Axis: axis, Inner: 1, Log: log}
		x := make([]float64, d.Outer*axis)
		want := make([]float64, len(x))
		mag := make([]float64, len(x))
		for i := range x {
			want[i], mag[i] = 1.0/axis, 1
			if log {
				want[i] = -math.Log(axis)
			}
			if i/axis < axis {
				want[i] = math.NaN()
			}
		}
		for row := range axis {
			x[row*axis+row] = math.NaN()
		}
		(&spec{name: fmt.Sprintf("NaN log=%v", log), desc: d, in: [][]float64{x, nil}, want: []value{{want, mag}}, tol: funcTol}).test(t, dev)
	}
}

// testSoftmaxOfInfinities checks that a row is NaN that -Inf fills or +Inf is in,
// and that -Inf beside other numbers has no share.
func testSoftmaxOfInfinities(t *testing.T, dev kernel.Device) {
	const axis, finite = 37, 5
	inf := math.Inf(1)
	for _, log := range []bool{false, true} {
		d := kernel.Softmax{Outer: 3, Axis: axis, Inner: 1, Log: log}
		x, want, mag := make([]float64, 3*axis), make([]float64, 3*axis), make([]float64, 3*axis)
		for i := range x {
			x[i], want[i], mag[i] = -inf, math.NaN(), 1
			if row, k := i/axis, i%axis; row == 1 {
				p := 0.0
				if k%8 == 3 { // finite times
					x[i], p = 2.5, 1.0/finite
				}
				if want[i] = p; log {
					want[i] = math.Log(p)
				}
			} else if row == 2 && k == 20 {
				x[i] = inf
			} else if row == 2 && k < 30 {
				x[i] = 1
			}
		}
		(&spec{name: fmt.Sprintf("infinities log=%v", log), desc: d, in: [][]float64{x, nil}, want: []value{{want, mag}}, tol: funcTol}).test(t, dev)
	}
}

func testSoftmax(t *testing.T, dev kernel.Device) {
	testSoftmaxOfNaN(t, dev)
	testSoftmaxOfInfinities(t, dev)
	sizes := [][3]int{{1, 1, 1}, {5, 3, 1}, {70, 150, 1}, {3, 7, 11}, {2, 21, 40}, {4, 1, 5}, {900, 19, 1}, {37, 8, 1}, {500, 11, 1}, {33, 16, 1}, {3, 5000, 1}}
	for i, n := range sizes {
		for _, spread := range []float64{1, 40} {
			rng := newRand(dev, uint64(i))
			d := kernel.Softmax{Outer: n[0], Axis: n[1], Inner: n[2]}
			x, dy := normal(rng, n[0]*n[1]*n[2]), normal(rng, n[0]*n[1]*n[2])
			for k := range x {
				x[k] = float64(float32(x[k]*spread + 3*spread))
			}
			y, log := softmaxes(d, x)
			for _, l := range []bool{false, true} {
				d.Log = l
				name := fmt.Sprintf("%v spread %v log=%v", n, spread, l)
				want := y
				mag := atLeast(y, 0.01)
				if l {
					want, mag = log, make([]float64, len(x))
					for k := range mag {
						mag[k] = 1 + math.Abs(x[k]) + math.Abs(log[k]) // log is x less the row's logsumexp
					}
				}
				(&spec{name: name, desc: d, in: [][]float64{x, nil}, want: []value{{want, mag}}, tol: funcTol, alias: [][2]int{{1, 0}}}).test(t, dev)

				out := make([]float64, len(want)) // as the device will read it
				for k, v := range want {
					out[k] = float64(float32(v))
				}
				dx := value{make([]float64, len(x)), make([]float64, len(x))}
				for o := range d.Outer {
					for i := range d.Inner {
						sum, mag := 0.0, 0.0
						at := func(a int) int { return (o*d.Axis+a)*d.Inner + i }
						for a := range d.Axis {
							g := dy[at(a)]
							if !l {
								g *= out[at(a)]
							}
							sum, mag = sum+g, mag+math.Abs(g)
						}
						for a := range d.Axis {
							k := at(a)
							if l {
								dx.want[k], dx.mag[k] = dy[k]-math.Exp(out[k])*sum, math.Abs(dy[k])+math.Exp(out[k])*mag
							} else {
								dx.want[k], dx.mag[k] = out[k]*(dy[k]-sum), out[k]*(math.Abs(dy[k])+mag)+1e-30
							}
						}
					}
				}
				back := &spec{name: name + " backward", desc: kernel.SoftmaxBackward{Softmax: d}, in: [][]float64{out, dy, nil}, want: []value{dx}, alias: [][2]int{{2, 1}}}
				if spread == 1 && len(x) < 2000 {
					back.point, back.loss = x, func(x []float64) float64 {
						y, log := softmaxes(d, x)
						if l {
							y = log
						}
						return dot(dy, y)
					}
				}
				back.test(t, dev)
			}
		}
	}
}

func testNLL(t *testing.T, dev kernel.Device) {
	cases := []struct {
		d        kernel.NLL
		labelled float64 // share of the pixels
	}{
		{kernel.NLL{N: 1, C: 1, H: 1, W: 1, Ignore: -1}, 1},
		{kernel.NLL{N: 2, C: 5, H: 4, W: 3, Ignore: -1}, 0.7},
		{kernel.NLL{N: 2, C: 19, H: 9, W: 11, Ignore: 255}, 0.9},
		{kernel.NLL{N: 3, C: 150, H: 12, W: 10, Ignore: -1}, 0.5},
		{kernel.NLL{N: 1, C: 4, H: 90, W: 80, Ignore: -100}, 0.95},
		{kernel.NLL{N: 1, C: 4, H: 3, W: 3, Ignore: -1}, 0},
		{kernel.NLL{N: 1, C: 4, H: 3, W: 3, Ignore: 2}, 0.5},
	}
	for i, c := range cases {
		d := c.d
		rng := newRand(dev, uint64(i))
		plane := d.H * d.W
		logprob, label := uniform(rng, d.N*d.C*plane, -6, 0), make([]float64, d.N*plane)
		for k := range logprob {
			if rng.IntN(4) == 0 {
				logprob[k] = -1 // ties
			}
		}
		value3 := func(logprob []float64) []float64 {
			sum, correct, count := 0.0, 0.0, 0.0
			for p, l := range label {
				if int32(l) == d.Ignore {
					continue
				}
				at := func(c int) float64 { return logprob[(p/plane*d.C+c)*plane+p%plane] }
				best := 0
				for c := range d.C {
					if at(c) > at(best) {
						best = c
					}
				}
				sum -= at(int(l))
				correct += step(best == int(l))
				count++
			}
			return []float64{sum / max(count, 1), correct, count}
		}
		for p := range label {
			label[p] = float64(d.Ignore)
			if rng.Float64() < c.labelled {
				label[p] = float64(rng.IntN(d.C))
			}
		}
		out := value3(logprob)
		name := fmt.Sprintf("%+v", d)
		(&spec{name: name, desc: d, in: [][]float64{logprob, label, nil},
			want: []value{{out, []float64{out[0], 0, 0}}}}).test(t, dev)

		const dloss = 0.375
		dx := value{make([]float64, len(logprob)), make([]float64, len(logprob))}
		for p, l := range label {
			if int32(l) != d.Ignore {
				k := (p/plane*d.C+int(l))*plane + p%plane
				dx.want[k] = -dloss / out[2]
				dx.mag[k] = dloss / out[2]
			}
		}
		back := &spec{name: name + " backward", desc: kernel.NLLBackward{NLL: d},
			in: [][]float64{label, out, {dloss, 7, 7}, nil}, want: []value{dx}, tol: funcTol}
		if len(logprob) < 5000 {
			back.point, back.loss = logprob, func(v []float64) float64 { return dloss * value3(v)[0] }
		}
		back.test(t, dev)

		softmax := kernel.Softmax{Outer: d.N, Axis: d.C, Inner: plane, Log: true} // in logical order
		scores := normal(rng, len(logprob))
		_, y := softmaxes(softmax, scores)
		dx = value{make([]float64, len(y)), make([]float64, len(y))}
		for k := range y {
			y[k] = float64(float32(y[k])) // as the device will read it
			if l := label[k/(d.C*plane)*plane+k%plane]; int32(l) != d.Ignore {
				p, one := math.Exp(y[k]), step(k/plane%d.C == int(l))
				dx.want[k], dx.mag[k] = (p-one)*dloss/out[2], (p+one)*dloss/out[2]
			}
		}
		both := &spec{name: name + " backward with log-softmax", desc: kernel.LogSoftmaxNLLBackward{NLL: d},
			in: [][]float64{y, label, out, {dloss, 7, 7}, nil}, want: []value{dx}}
		if len(scores) < 5000 {
			both.point, both.loss = scores, func(v []float64) float64 {
				_, y := softmaxes(softmax, v)
				return dloss * value3(y)[0]
			}
		}
		both.test(t, dev)
	}
	testNLLOfNaN(t, dev)
	testBadLabels(t, dev)
}

// testNLLOfNaN checks that a NaN among the log-probabilities shows in the loss and
// in the gradient by the scores, where the pixel has a label, and only there.
func testNLLOfNaN(t *testing.T, dev kernel.Device) {
	d := kernel.NLL{N: 1, C: 3, H: 1, W: 4, Ignore: -1}
	nan, half := math.NaN(), math.Log(0.5)
	logprob := []float64{half, nan, -8, nan, half, half, half, nan, -8, nan, half, nan} // planes of classes
	label := []float64{0, 0, 1, -1}
	(&spec{name: "NaN", desc: d, in: [][]float64{logprob, label, nil}, want: []value{{want: []float64{nan, 2, 3}}}}).test(t, dev)
	const g = 1.0 / 3
	e := math.Exp(-8)
	dx := value{[]float64{-g / 2, nan, g * e, 0, g / 2, g / 2, -g / 2, 0, g * e, nan, g / 2, 0}, slices.Repeat([]float64{g}, 12)}
	desc := kernel.LogSoftmaxNLLBackward{NLL: d}
	(&spec{name: "NaN backward", desc: desc, in: [][]float64{logprob, label, {nan, 2, 3}, {1, 0, 0}, nil}, want: []value{dx}, tol: funcTol}).test(t, dev)
	(&spec{name: "NaN unlabelled", desc: desc, in: [][]float64{logprob, {-1, -1, -1, -1}, {0, 0, 0}, {1, 0, 0}, nil}, want: []value{{want: make([]float64, 12)}}}).test(t, dev)
}

// testBadLabels checks that a label that is no class is an error that names it.
func testBadLabels(t *testing.T, dev kernel.Device) {
	d := kernel.NLL{N: 2, C: 5, H: 40, W: 30, Ignore: 255}
	for _, bad := range []float64{5, -1, 254, 1 << 30, -1 << 31} {
		label := make([]float64, 2*1200)
		label[2000] = bad
		specs := []spec{
			{desc: d, in: [][]float64{make([]float64, 2*5*1200), label, nil}},
			{desc: kernel.NLLBackward{NLL: d}, in: [][]float64{label, {0, 0, 2400}, {1, 0, 0}, nil}},
			{desc: kernel.LogSoftmaxNLLBackward{NLL: d}, in: [][]float64{make([]float64, 2*5*1200), label, {0, 0, 2400}, {1, 0, 0}, nil}},
		}
		for _, s := range specs {
			t.Run(fmt.Sprintf("%T label %v", s.desc, bad), func(t *testing.T) {
				k, err := dev.Compile(s.desc)
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.tryExec(t, dev, k, [2]int{-1, -1}, 0)
				if err == nil || !strings.Contains(err.Error(), fmt.Sprint(int(bad))) {
					t.Errorf("error is %v, want one that names %d", err, int(bad))
				}
				// The kernel stays usable.
				good := s
				good.in = append([][]float64(nil), s.in...)
				for i, a := range s.desc.Args() {
					if a.DType == kernel.Int32 {
						good.in[i] = make([]float64, len(label))
					}
				}
				if _, err := good.tryExec(t, dev, k, [2]int{-1, -1}, 0); err != nil {
					t.Errorf("after the error, sound labels give %v", err)
				}
			})
		}
	}
}
