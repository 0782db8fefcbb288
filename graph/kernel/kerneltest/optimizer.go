package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

var updateLengths = []int{1, 31, 50021}

// perElement makes n references of one element each.
func perElement(n int, f func(i int) (want, mag float64)) value {
	v := value{make([]float64, n), make([]float64, n)}
	for i := range n {
		v.want[i], v.mag[i] = f(i)
	}
	return v
}

func testSGD(t *testing.T, dev kernel.Device) {
	for i, n := range updateLengths {
		rng := newRand(dev, uint64(i))
		const lr, momentum, decay = 0.0625, 0.875, 0.03125
		grad, param, velocity := normal(rng, n), normal(rng, n), normal(rng, n)
		v := perElement(n, func(k int) (float64, float64) {
			return momentum*velocity[k] + grad[k] + decay*param[k], math.Abs(velocity[k]) + math.Abs(grad[k]) + math.Abs(param[k])
		})
		for _, nesterov := range []bool{false, true} {
			p := perElement(n, func(k int) (float64, float64) {
				step := v.want[k]
				if nesterov {
					step = grad[k] + decay*param[k] + momentum*v.want[k]
				}
				return param[k] - lr*step, math.Abs(param[k]) + 2*v.mag[k]*lr
			})
			(&spec{name: fmt.Sprint(n, " Nesterov ", nesterov), desc: kernel.SGD{Len: n, Nesterov: nesterov},
				in: [][]float64{{lr, momentum, decay}, grad, param, velocity}, want: []value{p, v}, tol: funcTol}).test(t, dev)
		}
	}
}

func testAdamW(t *testing.T, dev kernel.Device) {
	for i, n := range updateLengths {
		rng := newRand(dev, uint64(i))
		const keep, rate, beta1, less1, beta2, less2, root, eps = 0.96875, 0.03125, 0.875, 0.125, 0.96875, 0.03125, 0.25, 0.0009765625
		grad, param, m, v := normal(rng, n), normal(rng, n), normal(rng, n), uniform(rng, n, 0, 2)
		grad[0], m[0], v[0] = 0, 0, 0 // eps keeps the quotient finite
		first := perElement(n, func(k int) (float64, float64) {
			return beta1*m[k] + less1*grad[k], math.Abs(m[k]) + math.Abs(grad[k])
		})
		second := perElement(n, func(k int) (float64, float64) {
			want := beta2*v[k] + less2*grad[k]*grad[k]
			return want, want
		})
		p := perElement(n, func(k int) (float64, float64) {
			below := math.Sqrt(second.want[k])/root + eps
			return keep*param[k] - rate*first.want[k]/below, math.Abs(param[k]) + rate*first.mag[k]/below
		})
		(&spec{name: fmt.Sprint(n), desc: kernel.AdamW{Len: n}, in: [][]float64{{keep, rate, beta1, less1, beta2, less2, root, eps}, grad, param, m, v},
			want: []value{p, first, second}, tol: funcTol}).test(t, dev)
	}
}

func testAverage(t *testing.T, dev kernel.Device) {
	for i, n := range updateLengths {
		rng := newRand(dev, uint64(i))
		const share = 0.0078125
		v, mean := normal(rng, n), normal(rng, n)
		mean[0] = v[0] // stays as it is
		want := perElement(n, func(k int) (float64, float64) {
			return mean[k] + share*(v[k]-mean[k]), math.Abs(mean[k]) + share*math.Abs(v[k])
		})
		(&spec{name: fmt.Sprint(n), desc: kernel.Average{Len: n}, in: [][]float64{{share}, v, mean}, want: []value{want}, tol: funcTol}).test(t, dev)
	}
}
