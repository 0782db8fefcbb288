package kerneltest

import (
	"fmt"
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// normCase is a batch to normalise.
type normCase struct {
	n, c, h, w   int
	mean, spread float64 // of the input
}

var normCases = []normCase{
	{1, 1, 1, 1, 0, 1}, {2, 1, 3, 3, 0, 1}, {4, 10, 1, 1, 1, 2}, {2, 3, 5, 7, 0, 1}, {3, 19, 6, 5, -3, 0.5},
	{2, 48, 31, 40, 0.5, 2}, {1, 300, 4, 3, 0, 1}, {2, 24, 9, 9, 100, 1}, {2, 16, 8, 8, 2.5, 0},
}

// norm holds a batch normalisation worked out by its definition.
type norm struct {
	normCase
	eps                  float64
	mean, variance, inv  []float64
	x, dy, scale, bias   []float64
	act                  kernel.Clip
	through              []float64 // what act lets through of dy
	dscale, dbias        []float64
	xhat, xhatMag        []float64
	stats, statsMag      []float64
	grads                value // dscale, then dbias
	shape                []int
	count                float64
	channel              func(i int) int
	runMean, runVariance []float64
}

func newNorm(dev kernel.Device, c normCase, seed uint64) *norm {
	rng := newRand(dev, seed)
	m := &norm{normCase: c, eps: 1e-5, shape: []int{c.n, c.c, c.h, c.w}, count: float64(c.n * c.h * c.w)}
	size := kernel.Len(m.shape)
	plane := c.h * c.w
	m.channel = func(i int) int { return i / plane % c.c }
	m.x = normal(rng, size)
	for i, v := range m.x {
		m.x[i] = rng.hold(c.mean + c.spread*v)
	}
	m.dy, m.scale, m.bias = normal(rng, size), uniform(rng, c.c, 0.5, 1.5), normal(rng, c.c)
	m.runMean, m.runVariance = normal(rng, c.c), uniform(rng, c.c, 0.5, 2)
	m.mean, m.variance, m.inv = moments(m.x, m.channel, c.c, m.count, m.eps)
	m.finish()
	return m
}

func moments(x []float64, channel func(int) int, c int, count, eps float64) (mean, variance, inv []float64) {
	mean, variance, inv = make([]float64, c), make([]float64, c), make([]float64, c)
	for i, v := range x {
		mean[channel(i)] += v / count
	}
	for i, v := range x {
		d := v - mean[channel(i)]
		variance[channel(i)] += d * d / count
	}
	for k, v := range variance {
		inv[k] = 1 / math.Sqrt(v+eps)
	}
	return mean, variance, inv
}

// finish derives the rest from the statistics as the device will read them.
func (m *norm) finish() {
	m.stats = append(append(append([]float64{}, m.mean...), m.variance...), m.inv...)
	m.statsMag = make([]float64, len(m.stats))
	for k, mean := range m.mean {
		rough := 1e-6 * mean * mean // what one-pass sums in float32 pieces may lose
		m.statsMag[k] = math.Abs(mean) + math.Sqrt(m.variance[k])
		m.statsMag[m.c+k] = m.variance[k] + rough
		m.statsMag[2*m.c+k] = m.inv[k] * (1 + rough*m.inv[k]*m.inv[k])
	}
	for i, v := range m.stats {
		m.stats[i] = float64(float32(v))
	}
	m.mean, m.variance, m.inv = m.stats[:m.c], m.stats[m.c:2*m.c], m.stats[2*m.c:]
	m.xhat, m.xhatMag = make([]float64, len(m.x)), make([]float64, len(m.x))
	for i, v := range m.x {
		k := m.channel(i)
		m.xhat[i] = (v - m.mean[k]) * m.inv[k]
		m.xhatMag[i] = (math.Abs(v) + math.Abs(m.mean[k])) * m.inv[k]
	}
	m.behind(kernel.Clip{})
}

// behind derives the gradients for an activation after the normalisation. At
// its corners, which neither rounding nor a small step may cross, dy becomes 0.
func (m *norm) behind(act kernel.Clip) {
	m.act, m.through = act, make([]float64, len(m.dy))
	for i := range m.dy {
		k := m.channel(i)
		y, near := m.scale[k]*m.xhat[i]+m.bias[k], 2e-3+1e-5*m.xhatMag[i]
		if act.On && (math.Abs(y-float64(act.Lo)) < near || math.Abs(y-float64(act.Hi)) < near) {
			m.dy[i] = 0
		}
		if !act.On || y > float64(act.Lo) && y < float64(act.Hi) {
			m.through[i] = m.dy[i]
		}
	}
	m.grads = m.sums(m.through)
	m.dscale, m.dbias = m.grads.want[:m.c], m.grads.want[m.c:]
}

// sums returns the gradients of scale and of bias for one of normalised values.
func (m *norm) sums(dy []float64) value {
	grads := value{make([]float64, 2*m.c), make([]float64, 2*m.c)}
	for i, d := range dy {
		k := m.channel(i)
		grads.want[k] += d * m.xhat[i]
		grads.mag[k] += math.Abs(d) * m.xhatMag[i]
		grads.want[m.c+k] += d
		grads.mag[m.c+k] += math.Abs(d)
	}
	return grads
}

// activated is what the activation makes of a value.
func (m *norm) activated(v float64) float64 {
	if m.act.On {
		return min(max(v, float64(m.act.Lo)), float64(m.act.Hi))
	}
	return v
}

// optional lists the arguments that BatchNorm's gradients take with Act only.
func (m *norm) optional(scale bool) [][]float64 {
	switch {
	case !m.act.On:
		return nil
	case scale:
		return [][]float64{m.scale, m.bias}
	}
	return [][]float64{m.bias}
}

func testBatchNorm(t *testing.T, dev kernel.Device) {
	for i, c := range normCases {
		m := newNorm(dev, c, uint64(i))
		name := fmt.Sprintf("%dx%dx%dx%d mean %v", c.n, c.c, c.h, c.w, c.mean)
		eps := float32(m.eps)
		(&spec{name: name + " stats", desc: kernel.BatchNormStats{N: c.n, C: c.c, H: c.h, W: c.w, Eps: eps},
			in: [][]float64{m.x, nil}, want: []value{{m.stats, m.statsMag}}}).test(t, dev)

		frozen := append(append(append([]float64{}, m.runMean...), m.runVariance...), make([]float64, c.c)...)
		for k, v := range m.runVariance {
			frozen[2*c.c+k] = 1 / math.Sqrt(v+m.eps)
		}
		(&spec{name: name + " frozen", desc: kernel.BatchNormFrozen{C: c.c, Eps: eps},
			in: [][]float64{m.runMean, m.runVariance, nil}, want: []value{{frozen, atLeast(frozen, 0)}}, tol: funcTol}).test(t, dev)

		for _, act := range []kernel.Clip{{}, {On: true, Hi: float32(math.Inf(1))}, {On: true, Lo: -0.5, Hi: 1}} {
			m.behind(act)
			name := fmt.Sprintf("%s %+v", name, act)
			m.testForward(t, dev, name)
			m.testReduce(t, dev, name)
			m.testBackward(t, dev, name)
			if act.On {
				m.testReduceOfSum(t, dev, name)
			}
		}
		m.testRunning(t, dev, name)
	}
	testNormOfNaN(t, dev)
}

// testNormOfNaN checks that no activation hides a NaN of x: not from y, nor
// from the gradients, whose sums it spoils for its channel.
func testNormOfNaN(t *testing.T, dev kernel.Device) {
	nan := math.NaN()
	x, dy, stats := []float64{nan, 1, 2, 3}, []float64{1, 1, 1, 1}, []float64{0, 0, 1, 1, 1, 1}
	ones, zeros, act := []float64{1, 1}, []float64{0, 0}, kernel.Clip{On: true, Hi: 2.5}
	for _, s := range []*spec{
		{name: "forward of NaN", desc: kernel.BatchNorm{N: 2, C: 2, H: 1, W: 1, Act: act},
			in: [][]float64{x, ones, zeros, stats, nil}, want: []value{{want: []float64{nan, 1, 2, 2.5}}}},
		{name: "forward with residual of NaN", desc: kernel.BatchNorm{N: 2, C: 2, H: 1, W: 1, Act: act, Residual: true},
			in: [][]float64{dy, ones, zeros, stats, x, nil}, want: []value{{want: []float64{nan, 2, 2.5, 2.5}}}},
		{name: "reduce of NaN", desc: kernel.BatchNormReduce{N: 2, C: 2, H: 1, W: 1, Act: act},
			in: [][]float64{x, dy, ones, zeros, stats, nil}, want: []value{{want: []float64{nan, 1, 1, 1}}}},
		{name: "reduce of a sum that is NaN, one that x makes so", desc: kernel.BatchNormReduce{N: 2, C: 2, H: 1, W: 1, Act: act, Residual: true},
			in: [][]float64{x, dy, {nan, 1, nan, 3}, stats, nil, nil}, want: []value{{want: []float64{nan, 1, 0, 1}}, {want: []float64{0, 1, 0, 0}}}},
		{name: "backward of NaN", desc: kernel.BatchNormBackward{N: 2, C: 2, H: 1, W: 1, Count: 2, Act: act},
			in: [][]float64{x, dy, ones, zeros, stats, {nan, 1, 1, 1}, nil}, want: []value{{want: []float64{nan, 0, nan, -2}}}},
	} {
		s.test(t, dev)
	}
}

func (m *norm) testForward(t *testing.T, dev kernel.Device, name string) {
	c := m.normCase
	for _, residual := range []bool{false, true} {
		y := value{make([]float64, len(m.x)), make([]float64, len(m.x))}
		for i := range y.want {
			k := m.channel(i)
			v, mag := m.scale[k]*m.xhat[i]+m.bias[k], m.scale[k]*m.xhatMag[i]+math.Abs(m.bias[k])
			if residual {
				v, mag = v+m.dy[i], mag+math.Abs(m.dy[i])
			}
			y.want[i], y.mag[i] = m.activated(v), mag
		}
		s := &spec{name: name + " forward", desc: kernel.BatchNorm{N: c.n, C: c.c, H: c.h, W: c.w, Act: m.act, Residual: residual},
			in: [][]float64{m.x, m.scale, m.bias, m.stats, nil}, want: []value{y}, alias: [][2]int{{4, 0}}}
		if residual {
			s.name += " with residual"
			s.in, s.alias = [][]float64{m.x, m.scale, m.bias, m.stats, m.dy, nil}, [][2]int{{5, 0}, {5, 4}}
		}
		s.test(t, dev)
	}
}

func (m *norm) testReduce(t *testing.T, dev kernel.Device, name string) {
	c := m.normCase
	in := append([][]float64{m.x, m.dy}, m.optional(true)...)
	(&spec{name: name + " reduce", desc: kernel.BatchNormReduce{N: c.n, C: c.c, H: c.h, W: c.w, Act: m.act},
		in: append(in, m.stats, nil), want: []value{m.grads},
		point: append(append([]float64{}, m.scale...), m.bias...), loss: func(v []float64) float64 {
			s := 0.0
			for i, d := range m.dy {
				s += d * m.activated(v[m.channel(i)]*m.xhat[i]+v[c.c+m.channel(i)])
			}
			return s
		}}).test(t, dev)
}

// testReduceOfSum has the normalised values and others add up to sums that are
// drawn, away from the corners of the activation.
func (m *norm) testReduceOfSum(t *testing.T, dev kernel.Device, name string) {
	c := m.normCase
	sum := normal(newRand(dev, uint64(len(m.x))), len(m.x))
	y, dsum := make([]float64, len(sum)), make([]float64, len(sum))
	corner := func(v float64, bound float32) bool { return math.Abs(v-float64(bound)) < 2e-3+1e-5*math.Abs(v) }
	for i, v := range sum {
		if corner(v, m.act.Lo) || corner(v, m.act.Hi) {
			v += 0.0625
			sum[i] = v
		}
		if y[i] = m.activated(v); y[i] == v {
			dsum[i] = m.dy[i]
		}
	}
	scaleAndBias := append(append([]float64{}, m.scale...), m.bias...)
	(&spec{name: name + " reduce of a sum",
		desc: kernel.BatchNormReduce{N: c.n, C: c.c, H: c.h, W: c.w, Residual: true, Act: m.act},
		in:   [][]float64{m.x, m.dy, y, m.stats, nil, nil}, want: []value{m.sums(dsum), {want: dsum}}, alias: [][2]int{{5, 1}},
		point: scaleAndBias, loss: func(v []float64) float64 {
			s := 0.0
			for i, d := range m.dy {
				k := m.channel(i)
				s += d * m.activated(sum[i]+(v[k]-m.scale[k])*m.xhat[i]+v[c.c+k]-m.bias[k])
			}
			return s
		}}).test(t, dev)
}

func (m *norm) testBackward(t *testing.T, dev kernel.Device, name string) {
	c := m.normCase
	for _, frozen := range []bool{false, true} {
		dx := value{make([]float64, len(m.x)), make([]float64, len(m.x))}
		for i := range dx.want {
			k := m.channel(i)
			f := m.scale[k] * m.inv[k]
			dx.want[i], dx.mag[i] = f*m.through[i], math.Abs(f*m.through[i])
			if !frozen {
				dx.want[i] -= f * (m.dbias[k] + m.xhat[i]*m.dscale[k]) / m.count
				dx.mag[i] += f * (math.Abs(m.dbias[k]) + m.xhatMag[i]*math.Abs(m.dscale[k])) / m.count
			}
		}
		in := append([][]float64{m.x, m.dy, m.scale}, m.optional(false)...)
		in = append(in, m.stats, m.grads.want, nil)
		s := &spec{name: fmt.Sprintf("%s backward frozen=%v", name, frozen),
			desc: kernel.BatchNormBackward{N: c.n, C: c.c, H: c.h, W: c.w, Count: int(m.count), Frozen: frozen, Act: m.act},
			in:   in, want: []value{dx}, alias: [][2]int{{len(in) - 1, 1}}}
		if len(m.x) < 2000 && c.spread > 0 && c.mean < 50 && m.count > 1 {
			s.point, s.loss = m.x, func(x []float64) float64 {
				mean, inv := m.mean, m.inv
				if !frozen {
					mean, _, inv = moments(x, m.channel, c.c, m.count, m.eps)
				}
				sum := 0.0
				for i, v := range x {
					k := m.channel(i)
					sum += m.dy[i] * m.activated(m.scale[k]*(v-mean[k])*inv[k]+m.bias[k])
				}
				return sum
			}
		}
		s.test(t, dev)
	}
}

func (m *norm) testRunning(t *testing.T, dev kernel.Device, name string) {
	if m.count < 2 {
		return // an unbiased variance needs two elements
	}
	const momentum = 0.75
	mean, variance := make([]float64, m.c), make([]float64, m.c)
	for k := range mean {
		mean[k] = momentum*m.runMean[k] + (1-momentum)*m.mean[k]
		variance[k] = momentum*m.runVariance[k] + (1-momentum)*m.variance[k]*m.count/(m.count-1)
	}
	// Means may cancel: measure against their terms.
	mag := make([]float64, m.c)
	for k := range mag {
		mag[k] = math.Abs(m.runMean[k]) + math.Abs(m.mean[k])
	}
	(&spec{name: name + " running", desc: kernel.BatchNormRunning{C: m.c, Momentum: momentum, Count: int(m.count)},
		in: [][]float64{m.stats, m.runMean, m.runVariance}, want: []value{{mean, mag}, {variance, atLeast(variance, 0)}}, tol: funcTol}).test(t, dev)
}
