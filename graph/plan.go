package graph

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Plan is a Network compiled for one input shape and mode: a list of kernel
// calls over fixed buffers. Running it allocates nothing.
//
//	plan.SetInput("image", pixels)
//	plan.SetLabels("logprob", labels)
//	err := plan.RunAll()
//	loss, err := plan.Loss()
//
// Inputs, outputs and losses live in an arena that all Plans of the Network
// share: they are valid until another Plan of it is used.
type Plan struct {
	network   *Network
	key       string
	title     string      // for people
	before    []*planStep // settle what depends on parameters alone
	version   int         // of the parameters that it is settled for
	training  bool        // changes parameters
	steps     []*planStep
	inputs    map[string]slot
	outputs   map[string]slot
	losses    []arg
	total     *arg
	counts    arg // beside total
	guard     int // step before which the loss must be a number, 0 for none
	arenaSize int
	bound     int // the Network's arena that the steps point into
	seedStep  [2]uint64
	watched   *watched // what a Profiler keeps here
}

var _ gorgonia.VM = (*Plan)(nil)

// arg is a buffer of a step: fixed memory, or a region of the arena.
type arg struct {
	static kernel.Buffer
	region *region
	size   int
	half   bool // stored as bfloat16
}

func (a arg) buffer(arena kernel.Buffer) kernel.Buffer {
	if a.static != nil {
		return a.static
	}
	return arena.Slice(a.region.offset, a.size)
}

// slot is a named buffer with its logical shape.
type slot struct {
	arg
	shape []int
}

type planStep struct {
	label
	name    string // for errors
	desc    kernel.Desc
	kernel  kernel.Kernel
	args    []arg
	buffers []kernel.Buffer
}

// bind points the steps into the Network's arena.
func (p *Plan) bind() error {
	if err := p.network.reserve(p); err != nil {
		return fmt.Errorf("memory for the plan (%d MiB): %w", p.arenaSize>>20, err)
	}
	if p.bound == p.network.bound {
		return nil
	}
	for _, s := range slices.Concat(p.before, p.steps) {
		s.buffers = s.buffers[:0]
		for _, a := range s.args {
			s.buffers = append(s.buffers, a.buffer(p.network.arena))
		}
	}
	p.bound = p.network.bound
	return nil
}

// ArenaSize returns the bytes of activations, gradients of activations and
// scratch memory that the Plan needs.
func (p *Plan) ArenaSize() int { return p.arenaSize }

// InputShape returns the shape of a data or label input.
func (p *Plan) InputShape(name string) ([]int, bool) {
	s, ok := p.inputs[name]
	return s.shape, ok
}

// SetInput uploads a data input, row-major (N,C,H,W).
func (p *Plan) SetInput(name string, data []float32) error {
	s, ok := p.inputs[name]
	if !ok {
		return fmt.Errorf("the plan has no input %q; it has %q", name, slices.Sorted(maps.Keys(p.inputs)))
	}
	if len(data) != kernel.Len(s.shape) {
		return fmt.Errorf("input %q: %w: %d values for shape %v", name, ErrShape, len(data), s.shape)
	}
	if err := p.bind(); err != nil {
		return err
	}
	if reordered(s.shape) {
		staging := p.network.stage(len(data))
		toChannelsLast(staging, data, s.shape)
		data = staging
	}
	return p.network.dev.Upload(s.buffer(p.network.arena), kernel.Bytes(data))
}

// SetLabels uploads the labels (N,H,W) of one output of the loss.
func (p *Plan) SetLabels(output string, labels []int32) error {
	s, ok := p.inputs[LabelInput(output)]
	if !ok {
		return fmt.Errorf("the plan has no loss on output %q", output)
	}
	if len(labels) != kernel.Len(s.shape) {
		return fmt.Errorf("labels of %q: %w: %d values for shape %v", output, ErrShape, len(labels), s.shape)
	}
	if err := p.bind(); err != nil {
		return err
	}
	return p.network.dev.Upload(s.buffer(p.network.arena), kernel.Bytes(labels))
}

// SetStep sets the number of the step, which random operators depend on.
func (p *Plan) SetStep(step uint64) { p.seedStep = [2]uint64{p.network.seed, step} }

// RunAll implements gorgonia.VM: it runs all steps on the inputs set before. A
// Plan with Spec.Update returns ErrLoss, and has changed no parameter, if the
// loss is not a number.
func (p *Plan) RunAll() error {
	if err := p.bind(); err != nil {
		return err
	}
	dev := p.network.dev
	if err := dev.Upload(p.network.rng, kernel.Bytes(p.seedStep[:])); err != nil {
		return err
	}
	if p.training {
		p.network.Changed()
	}
	if by := p.network.profiler; by != nil {
		return dev.Do(func() error { return p.profile(by) })
	}
	return dev.Do(p.run)
}

func (p *Plan) run() error {
	if err := p.settle(); err != nil {
		return err
	}
	for i := range p.steps {
		if err := p.step(i); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) step(i int) error {
	if i == p.guard && i > 0 {
		if v, err := p.Loss(); err != nil || !v.Finite() {
			return cmp.Or(err, ErrLoss)
		}
	}
	return p.steps[i].run()
}

func (s *planStep) run() error {
	if err := s.kernel.Run(s.buffers); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// Reset implements gorgonia.VM. A Plan carries nothing from run to run.
func (p *Plan) Reset() {}

// Close implements gorgonia.VM. Memory belongs to the Network.
func (p *Plan) Close() error { return nil }

// Outputs returns the names of the outputs, sorted.
func (p *Plan) Outputs() []string { return slices.Sorted(maps.Keys(p.outputs)) }

// Output downloads an output, row-major, with its shape.
func (p *Plan) Output(name string) ([]float32, []int, error) {
	s, ok := p.outputs[name]
	if !ok {
		return nil, nil, p.noOutput(name)
	}
	data := make([]float32, kernel.Len(s.shape))
	return data, s.shape, p.OutputInto(name, data)
}

// OutputInto downloads an output, row-major, into memory of its size.
func (p *Plan) OutputInto(name string, dst []float32) error {
	s, ok := p.outputs[name]
	if !ok {
		return p.noOutput(name)
	}
	if len(dst) != kernel.Len(s.shape) {
		return fmt.Errorf("output %q: %w: room for %d values of shape %v", name, ErrShape, len(dst), s.shape)
	}
	return p.network.download(dst, s)
}

func (p *Plan) noOutput(name string) error {
	return fmt.Errorf("the plan has no output %q; it has %q", name, p.Outputs())
}

// LossValue is the loss of one run.
type LossValue struct {
	// Total is the weighted sum over the outputs of the loss.
	Total float64
	// Outputs holds the loss of each output, in the order of Loss.Outputs.
	Outputs []float64
	// Correct and Labelled count pixels at the first output.
	Correct, Labelled int
}

// Accuracy returns the share of labelled pixels that are right, 0 without any.
func (v LossValue) Accuracy() float64 {
	if v.Labelled == 0 {
		return 0
	}
	return float64(v.Correct) / float64(v.Labelled)
}

// Finite reports whether the loss is a number.
func (v LossValue) Finite() bool { return !math.IsNaN(v.Total) && !math.IsInf(v.Total, 0) }

// Loss downloads the loss of the last run.
func (p *Plan) Loss() (LossValue, error) {
	if p.total == nil {
		return LossValue{}, fmt.Errorf("the plan has no loss")
	}
	var v LossValue
	var buf [3]float32
	if err := p.network.dev.Download(kernel.Bytes(buf[:]), p.total.buffer(p.network.arena)); err != nil {
		return v, err
	}
	v.Total = float64(buf[0])
	for _, a := range p.losses {
		if err := p.network.dev.Download(kernel.Bytes(buf[:]), a.buffer(p.network.arena)); err != nil {
			return v, err
		}
		v.Outputs = append(v.Outputs, float64(buf[0]))
	}
	if err := p.network.dev.Download(kernel.Bytes(buf[:]), p.counts.buffer(p.network.arena)); err != nil {
		return v, err
	}
	v.Correct, v.Labelled = int(buf[1]), int(buf[2])
	return v, nil
}
