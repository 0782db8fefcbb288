package train

import (
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Rule is how an optimizer turns a gradient into a change.
type Rule interface {
	// name is what TRAIN.optim calls it.
	name() string
	// states names the tensors that it keeps for every parameter.
	states() []string
	// desc takes hyper, gradient, parameter and the states.
	desc(length int) kernel.Desc
	// weightDecay is that of the parameters that decay.
	weightDecay() float64
	// hyper returns the numbers for step t, counted from 1.
	hyper(rate, decay float64, t int) []float32
}

// SGD are the settings of stochastic gradient descent in PyTorch's form,
//
//	g += decay*w;  v = momentum*v + g;  w -= lr*v
//
// with w -= lr*(g + momentum*v) for Nesterov's.
type SGD struct {
	Momentum, Decay float64
	Nesterov        bool
}

func (SGD) name() string             { return "SGD" }
func (SGD) states() []string         { return []string{"velocity"} }
func (s SGD) desc(n int) kernel.Desc { return kernel.SGD{Len: n, Nesterov: s.Nesterov} }
func (s SGD) weightDecay() float64   { return s.Decay }

func (s SGD) hyper(rate, decay float64, _ int) []float32 {
	return []float32{float32(rate), float32(s.Momentum), float32(decay)}
}

// AdamW are the settings of AdamW (Loshchilov and Hutter, 2019) in PyTorch's
// form, see kernel.AdamW.
type AdamW struct{ Beta1, Beta2, Eps, Decay float64 }

func (AdamW) name() string           { return "AdamW" }
func (AdamW) states() []string       { return []string{"exp_avg", "exp_avg_sq"} }
func (AdamW) desc(n int) kernel.Desc { return kernel.AdamW{Len: n} }
func (s AdamW) weightDecay() float64 { return s.Decay }

func (s AdamW) hyper(rate, decay float64, t int) []float32 {
	return []float32{
		float32(1 - rate*decay), float32(rate / (1 - math.Pow(s.Beta1, float64(t)))),
		float32(s.Beta1), float32(1 - s.Beta1), float32(s.Beta2), float32(1 - s.Beta2),
		float32(math.Sqrt(1 - math.Pow(s.Beta2, float64(t)))), float32(s.Eps),
	}
}
