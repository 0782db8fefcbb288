package train

import (
	"fmt"
	"strings"
	"time"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx/pb"
	"github.com/graft-onnx/graft/train/config"
)

// Optimizer changes the parameters of a network by their gradients, with one
// learning rate for the decoder, whose parameters begin with decoder., and one
// for all others, and weight decay on convolution and matrix weights only.
type Optimizer struct {
	net    *graph.Network
	rule   Rule
	params []*optimized
	byName map[string]*optimized
	hyper  map[group]kernel.Buffer
}

// group is what parameters of equal settings have in common.
type group struct{ decoder, decay bool }

// optimized is a parameter with the optimizer's state of it.
type optimized struct {
	*graph.Parameter
	group  group
	states []kernel.Buffer
	step   *call // of Step
}

// NewOptimizer makes an optimizer for the trainable parameters of a network;
// rule is SGD or AdamW. Its state starts at zero.
func NewOptimizer(net *graph.Network, rule Rule) (*Optimizer, error) {
	o := &Optimizer{net: net, rule: rule, byName: map[string]*optimized{}, hyper: map[group]kernel.Buffer{}}
	dev := net.Device()
	for _, p := range net.Parameters() {
		if !p.Trainable {
			continue
		}
		s := &optimized{Parameter: p, group: group{strings.HasPrefix(p.Name, models.DecoderPrefix), p.Decay}}
		if o.hyper[s.group] == nil {
			var err error
			if o.hyper[s.group], err = allocate(dev, rule.hyper(0, 0, 1)); err != nil {
				return nil, err
			}
		}
		for range rule.states() {
			b, err := dev.Alloc(4 * p.Len())
			if err != nil {
				return nil, err
			}
			s.states = append(s.states, b)
		}
		o.params = append(o.params, s)
		o.byName[p.Name] = s
	}
	return o, nil
}

// configuredRule is the optimizer that a configuration asks for.
func configuredRule(t *config.Train) (Rule, error) {
	switch {
	case strings.EqualFold(t.Optim, "SGD"):
		return SGD{Momentum: t.Beta1, Decay: t.WeightDecay, Nesterov: t.Nesterov}, nil
	case strings.EqualFold(t.Optim, "AdamW"):
		return AdamW{Beta1: t.Beta1, Beta2: t.Beta2, Eps: t.Eps, Decay: t.WeightDecay}, nil
	}
	return nil, fmt.Errorf("TRAIN.optim: no optimizer %q", t.Optim)
}

// Name is what TRAIN.optim calls the optimizer.
func (o *Optimizer) Name() string { return o.rule.name() }

// SetRates sets the learning rates of the updates of an iteration, counted from
// 0, that follow.
func (o *Optimizer) SetRates(iteration int, lrEncoder, lrDecoder float64) error {
	for g, b := range o.hyper {
		rate, decay := lrEncoder, 0.0
		if g.decoder {
			rate = lrDecoder
		}
		if g.decay {
			decay = o.rule.weightDecay()
		}
		if err := o.net.Device().Upload(b, kernel.Bytes(o.rule.hyper(rate, decay, iteration+1))); err != nil {
			return err
		}
	}
	return nil
}

// args are the arguments of a parameter's update.
func (o *Optimizer) args(p *optimized, grad kernel.Buffer) []kernel.Buffer {
	return append([]kernel.Buffer{o.hyper[p.group], grad, p.Value}, p.states...)
}

// Update implements graph.Updater: the update of a parameter inside of a run,
// with the rates of SetRates.
func (o *Optimizer) Update(p *graph.Parameter) (graph.Update, bool) {
	s := o.byName[p.Name]
	if s == nil {
		return graph.Update{}, false
	}
	return graph.Update{Kind: o.Name(), Desc: o.rule.desc(s.Len()), Args: o.args(s, nil)}, true
}

// Step applies the gradients that training runs without Spec.Update left in
// the network, with the two learning rates: the same numbers as updates inside
// of a run. Parameters without gradient keep their value.
func (o *Optimizer) Step(iteration int, lrEncoder, lrDecoder float64) error {
	dev, begin := o.net.Device(), time.Now()
	if err := o.SetRates(iteration, lrEncoder, lrDecoder); err != nil {
		return err
	}
	touched := 0
	err := dev.Do(func() error {
		for _, p := range o.params {
			if p.Grad == nil {
				continue
			}
			if p.step == nil {
				var err error
				if p.step, err = newCall(dev, o.rule.desc(p.Len()), o.args(p, p.Grad)...); err != nil {
					return fmt.Errorf("parameter %q: %w", p.Name, err)
				}
			}
			if err := p.step.run(); err != nil {
				return fmt.Errorf("update of %q: %w", p.Name, err)
			}
			touched += p.Len()
		}
		return nil
	})
	o.net.Changed()
	// The gradient is read, parameter and states are read and written.
	o.net.Profiler().Record(o.Name(), begin, float64(4*(3+2*len(o.rule.states()))*touched))
	return err
}

// OptimizerState is what an optimizer needs to go on.
type OptimizerState struct {
	Name string // of the optimizer
	// Tensors holds, for each of its states, the values by parameter.
	Tensors map[string]map[string]*pb.TensorProto
}

// checkFinite returns an error that names the first parameter with a state that
// is infinite or no number.
func (o *Optimizer) checkFinite() error {
	for i := range o.rule.states() {
		for _, p := range o.params {
			if err := o.net.Source(p.as(p.states[i]))(func(part []float32) error {
				for _, v := range part {
					if v-v != 0 {
						return fmt.Errorf("the update of %q is not a finite number, and the weights are of no use any more", p.Name)
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetState uploads the state of an optimizer of the same name. Every parameter
// must be there.
func (o *Optimizer) SetState(s OptimizerState) error {
	if s.Name != o.Name() {
		return fmt.Errorf("it was written with TRAIN.optim %s, and is resumed with %s; a resumed run keeps its optimizer, a new one begins from these weights with MODEL.file", s.Name, o.Name())
	}
	for i, name := range o.rule.states() {
		for _, p := range o.params {
			t := s.Tensors[name][p.Name]
			if t == nil {
				return fmt.Errorf("no optimizer state %q for parameter %q", name, p.Name)
			}
			if err := o.net.SetTensor(p.as(p.states[i]), t); err != nil {
				return err
			}
		}
	}
	return nil
}

// as is the parameter with another value, to copy that.
func (p *optimized) as(value kernel.Buffer) *graph.Parameter {
	return &graph.Parameter{Name: p.Name, Shape: p.Shape, Value: value}
}
