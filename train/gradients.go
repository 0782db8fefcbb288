package train

import (
	"math"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
)

// gradients works on those that training runs without Spec.Update leave in a
// network: their sum over several runs, and their norm.
type gradients struct {
	net     *graph.Network
	factor  kernel.Buffer // (1), of scale
	squares kernel.Buffer // a sum for each gradient
	// Calls for every gradient: keep copies it to the sum, add adds it there,
	// total adds the sum to it, square makes its sum of squares, scale
	// multiplies it by the factor. Those of sums are nil until they are needed.
	keep, add, total, square, scale []*call
}

// newGradients prepares for the parameters that have a gradient, after the
// first run.
func newGradients(net *graph.Network) (*gradients, error) {
	g := &gradients{net: net}
	dev := net.Device()
	params := g.params()
	var err error
	if g.factor, err = dev.Alloc(4); err != nil {
		return nil, err
	}
	if g.squares, err = dev.Alloc(4 * len(params)); err != nil {
		return nil, err
	}
	for i, p := range params {
		n := []int{p.Len()}
		square, err := newCall(dev, kernel.Reduce{Op: kernel.ReduceSumSquare, In: n, Shape: []int{1}}, p.Grad, g.squares.Slice(4*i, 4))
		if err != nil {
			return nil, err
		}
		scale, err := newCall(dev, kernel.Binary{Op: kernel.Mul, A: n, B: []int{1}, Out: n}, p.Grad, g.factor, p.Grad)
		if err != nil {
			return nil, err
		}
		g.square, g.scale = append(g.square, square), append(g.scale, scale)
	}
	return g, nil
}

func (g *gradients) params() []*graph.Parameter {
	var out []*graph.Parameter
	for _, p := range g.net.Parameters() {
		if p.Grad != nil && p.Len() > 0 {
			out = append(out, p)
		}
	}
	return out
}

// remember adds the gradients to the sum, which begins with the first.
func (g *gradients) remember(first bool) error {
	dev := g.net.Device()
	if g.keep == nil {
		for _, p := range g.params() {
			sum, err := dev.Alloc(4 * p.Len())
			if err != nil {
				return err
			}
			one, two := kernel.AddN{Inputs: 1, Len: p.Len()}, kernel.AddN{Inputs: 2, Len: p.Len()}
			keep, err := newCall(dev, one, p.Grad, sum)
			if err != nil {
				return err
			}
			add, err := newCall(dev, two, sum, p.Grad, sum)
			if err != nil {
				return err
			}
			total, err := newCall(dev, two, p.Grad, sum, p.Grad)
			if err != nil {
				return err
			}
			g.keep, g.add, g.total = append(g.keep, keep), append(g.add, add), append(g.total, total)
		}
	}
	if first {
		return runAll(dev, g.keep)
	}
	return runAll(dev, g.add)
}

// recall adds what was remembered to the gradients.
func (g *gradients) recall() error { return runAll(g.net.Device(), g.total) }

// norm is that of all gradients as one vector.
func (g *gradients) norm() (float64, error) {
	if err := runAll(g.net.Device(), g.square); err != nil {
		return 0, err
	}
	squares := make([]float32, len(g.square))
	if err := g.net.Device().Download(kernel.Bytes(squares), g.squares); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, s := range squares {
		sum += float64(s)
	}
	return math.Sqrt(sum), nil
}

// multiply scales the gradients.
func (g *gradients) multiply(factor float64) error {
	if factor == 1 {
		return nil
	}
	dev := g.net.Device()
	if err := dev.Upload(g.factor, kernel.Bytes([]float32{float32(factor)})); err != nil {
		return err
	}
	return runAll(dev, g.scale)
}

// clipFactor is what brings a norm down to the largest one, as PyTorch's
// clip_grad_norm_ does; most 0 allows any.
func clipFactor(norm, most float64) float64 {
	if most == 0 {
		return 1
	}
	return min(1, most/(norm+1e-6))
}
