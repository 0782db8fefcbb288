package train

import (
	"fmt"
	"strings"
	"time"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
)

// SGD is stochastic gradient descent with momentum in PyTorch's form,
//
//	g += decay*w;  v = momentum*v + g;  w -= lr*v
//
// with one learning rate for the decoder, whose parameters begin with decoder.,
// and one for all others, and weight decay on convolution and matrix weights
// only.
type SGD struct {
	net             *graph.Network
	momentum, decay float64
	params          []*sgdParameter
	byName          map[string]*sgdParameter
	hyper           map[group]kernel.Buffer
}

// group is what parameters of equal settings have in common.
type group struct{ decoder, decay bool }

type sgdParameter struct {
	*graph.Parameter
	group    group
	velocity kernel.Buffer
	kernel   kernel.Kernel // of Step, and its arguments
	args     []kernel.Buffer
}

func (p *sgdParameter) desc() kernel.SGD { return kernel.SGD{Len: p.Len()} }

// NewSGD makes an optimizer for the trainable parameters of a network.
// Velocities start at zero.
func NewSGD(net *graph.Network, momentum, decay float64) (*SGD, error) {
	o := &SGD{net: net, momentum: momentum, decay: decay, byName: map[string]*sgdParameter{}, hyper: map[group]kernel.Buffer{}}
	dev := net.Device()
	for _, p := range net.Parameters() {
		if !p.Trainable {
			continue
		}
		s := &sgdParameter{Parameter: p, group: group{strings.HasPrefix(p.Name, models.DecoderPrefix), p.Decay}}
		var err error
		if o.hyper[s.group] == nil {
			if o.hyper[s.group], err = dev.Alloc(12); err != nil {
				return nil, err
			}
		}
		if s.velocity, err = dev.Alloc(4 * p.Len()); err != nil {
			return nil, err
		}
		o.params = append(o.params, s)
		o.byName[p.Name] = s
	}
	return o, nil
}

// SetRates sets the learning rates of the updates that follow.
func (o *SGD) SetRates(lrEncoder, lrDecoder float64) error {
	for g, b := range o.hyper {
		h := [3]float32{float32(lrEncoder), float32(o.momentum), 0}
		if g.decoder {
			h[0] = float32(lrDecoder)
		}
		if g.decay {
			h[2] = float32(o.decay)
		}
		if err := o.net.Device().Upload(b, kernel.Bytes(h[:])); err != nil {
			return err
		}
	}
	return nil
}

// Update implements graph.Updater: the update of a parameter inside of a run,
// with the rates of SetRates.
func (o *SGD) Update(p *graph.Parameter) (graph.Update, bool) {
	s := o.byName[p.Name]
	if s == nil {
		return graph.Update{}, false
	}
	return graph.Update{Kind: "SGD", Desc: s.desc(), Args: []kernel.Buffer{o.hyper[s.group], nil, s.Value, s.velocity}}, true
}

// Step applies the gradients that training runs without Spec.Update left in
// the network, with the two learning rates: the same numbers as updates inside
// of a run. Parameters without gradient keep their value.
func (o *SGD) Step(lrEncoder, lrDecoder float64) error {
	dev, begin := o.net.Device(), time.Now()
	if err := o.SetRates(lrEncoder, lrDecoder); err != nil {
		return err
	}
	touched := 0
	err := dev.Do(func() error {
		for _, p := range o.params {
			if p.Grad == nil {
				continue
			}
			if p.kernel == nil {
				var err error
				if p.kernel, err = dev.Compile(p.desc()); err != nil {
					return fmt.Errorf("parameter %q: %w", p.Name, err)
				}
				scratch := p.kernel.Scratch()
				p.args = []kernel.Buffer{o.hyper[p.group], p.Grad, p.Value, p.velocity}
				if scratch > 0 {
					b, err := dev.Alloc(scratch)
					if err != nil {
						return err
					}
					p.args = append(p.args, b)
				}
			}
			if err := p.kernel.Run(p.args); err != nil {
				return fmt.Errorf("update of %q: %w", p.Name, err)
			}
			touched += p.Len()
		}
		return nil
	})
	// The gradient is read, parameter and velocity are read and written.
	o.net.Profiler().Record("SGD", begin, 20*float64(touched))
	return err
}

// State downloads the velocities, row-major, by parameter name.
func (o *SGD) State() (map[string][]float32, error) {
	state := make(map[string][]float32, len(o.params))
	for _, p := range o.params {
		v, err := o.net.Value(&graph.Parameter{Name: p.Name, Shape: p.Shape, Value: p.velocity})
		if err != nil {
			return nil, err
		}
		state[p.Name] = v
	}
	return state, nil
}

// SetState uploads velocities. Every parameter of the optimizer must be there.
func (o *SGD) SetState(state map[string][]float32) error {
	for _, p := range o.params {
		v, ok := state[p.Name]
		if !ok {
			return fmt.Errorf("no optimizer state for parameter %q", p.Name)
		}
		if err := o.net.SetValue(&graph.Parameter{Name: p.Name, Shape: p.Shape, Value: p.velocity}, v); err != nil {
			return err
		}
	}
	return nil
}
