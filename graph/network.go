package graph

import (
	"container/list"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sort"
	"strings"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Mode says what a Plan computes.
type Mode uint8

const (
	// Eval computes outputs with stored statistics and without dropout.
	Eval Mode = iota
	// Train computes outputs on batch statistics, and gradients.
	Train
)

// String returns the mode's name.
func (m Mode) String() string {
	if m == Train {
		return "train"
	}
	return "eval"
}

// Spec says which Plan is wanted.
type Spec struct {
	// Inputs holds the shape of every data input: "image": {2, 3, 96, 96}.
	Inputs map[string][]int
	Mode   Mode
	// FixBN keeps BatchNormalization on its stored statistics in training,
	// and leaves them alone.
	FixBN bool
	// Loss is the training loss; it may be used in Eval mode too.
	Loss *Loss
	// Cotangents names outputs whose gradient the caller supplies, as the
	// input CotangentInput(name), for losses that graft does not know.
	Cotangents []string
	// InputGradients offers the gradient of every data input as the output
	// InputGradient(name).
	InputGradients bool
	// Probabilities replaces the outputs by OutputProbabilities alone.
	Probabilities *Probabilities
	// Update has the run change the parameters, as Network.SetUpdater says; the
	// parameters that it changes have no gradient afterwards. A run whose loss
	// is not a number stops before the first change, with ErrLoss.
	Update bool
	// Recompute says what is computed twice to need less memory.
	Recompute Recompute
	// Precision is that of activations and their gradients. Everything else,
	// and what a caller downloads, is float32 all the same.
	Precision Precision
}

// Precision is how activations are stored and multiplied.
type Precision uint8

// The precisions. Sums run in float32 at least in both.
const (
	Float32 Precision = iota
	BFloat16
)

// Probabilities are the class probabilities (N,C,Height,Width) that an output
// of log-probabilities stands for after bilinear resizing.
type Probabilities struct {
	Output        string
	Height, Width int
}

// OutputProbabilities names the Plan output that Spec.Probabilities adds.
const OutputProbabilities = "probabilities"

// Loss is the weighted sum of the losses of outputs that hold
// log-probabilities (N,C,H,W).
type Loss struct {
	Outputs []LossOutput
	// Terms make up the loss of every output, as their weighted sum; none is
	// the mean negative log-likelihood alone.
	Terms  []LossTerm
	Ignore int32 // label of pixels that do not count
}

// LossTerm is one term of the loss of an output.
type LossTerm struct {
	Weight float32
	Loss   kernel.Loss // with its settings; the size comes from the output
}

// LossOutput is an output that a Loss is taken of.
type LossOutput struct {
	Name   string
	Weight float32
}

// LabelInput names the Plan input with the labels (N,H,W) of a loss output.
func LabelInput(output string) string { return "label of " + output }

// CotangentInput names the Plan input with the gradient of an output.
func CotangentInput(output string) string { return "gradient of " + output }

// InputGradient names the Plan output with the gradient of a data input.
func InputGradient(input string) string { return "gradient of input " + input }

// key identifies a Spec.
func (s Spec) key() string {
	names := make([]string, 0, len(s.Inputs))
	for k := range s.Inputs {
		names = append(names, k)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, k := range names {
		fmt.Fprintf(&b, "%q%v ", k, s.Inputs[k])
	}
	fmt.Fprintf(&b, "%v %v %q %v %v %v %v", s.Mode, s.FixBN, s.Cotangents, s.InputGradients, s.Update, s.Recompute, s.Precision)
	if s.Loss != nil {
		fmt.Fprintf(&b, " %+v %d", s.Loss.Outputs, s.Loss.Ignore)
		for _, t := range s.Loss.Terms {
			fmt.Fprintf(&b, " %g %T%+v", t.Weight, t.Loss, t.Loss)
		}
	}
	if s.Probabilities != nil {
		fmt.Fprintf(&b, " %+v", *s.Probabilities)
	}
	return b.String()
}

// Network owns a model's parameters on a device, and the Plans built for it.
type Network struct {
	model  *onnx.Model // without the large weights
	dev    kernel.Device
	params []*Parameter
	byName map[string]*Parameter
	arena  kernel.Buffer // shared by all Plans: one runs at a time
	bound  int           // counts arenas, so that Plans notice a new one
	border kernel.Buffer // for outputs on their way to the host
	rng    kernel.Buffer
	// staging holds an input or output of a Plan between the two layouts.
	staging []float32
	seed    uint64
	plans   map[string]*list.Element // of *Plan
	recent  *list.List               // most recently used first
	limit   int
	memory  int // bytes that an arena may take

	version  int                      // counts changes of parameters, from 1
	settled  map[string]kernel.Buffer // what Eval Plans compute of parameters alone
	worth    worth
	updater  Updater         // nil unless set
	frozen   map[string]bool // parameters that Freeze named
	profiler *Profiler       // nil unless runs are timed
	group    Group           // nil unless joined
}

// unknownMemory limits an arena on machines that do not tell their memory.
const unknownMemory = 64 << 30

// PlanLimit is how many Plans a Network keeps. A Plan holds kernels and
// constants; the arena is shared, so a Plan that is dropped costs only the
// time to build it again.
const PlanLimit = 64

// NewNetwork uploads the parameters of a model. The model is not changed;
// what Model returns is saved with the current parameters.
func NewNetwork(m *onnx.Model, dev kernel.Device) (*Network, error) {
	n := &Network{
		dev: dev, byName: map[string]*Parameter{},
		plans: map[string]*list.Element{}, recent: list.New(), limit: PlanLimit, memory: machineMemory(), worth: defaultWorth,
		version: 1, settled: map[string]kernel.Buffer{},
	}
	if n.memory == 0 {
		n.memory = unknownMemory
	}
	var err error
	if n.params, n.model, err = uploadModel(m, dev); err != nil {
		return nil, err
	}
	for _, p := range n.params {
		n.byName[p.Name] = p
	}
	if n.rng, err = dev.Alloc(16); err != nil {
		return nil, err
	}
	return n, nil
}

// Device returns the device that the network lives on.
func (n *Network) Device() kernel.Device { return n.dev }

// Structure returns the model without the values of its large weights, for who
// reads its graph or metadata. It must not be changed.
func (n *Network) Structure() *onnx.Model { return n.model }

// Parameters returns all parameters, in file order.
func (n *Network) Parameters() []*Parameter { return n.params }

// Parameter returns a parameter by name, or nil.
func (n *Network) Parameter(name string) *Parameter { return n.byName[name] }

// SetSeed sets the seed of the random operators (Dropout). Their numbers are
// a function of the seed and the step given to Plan.SetStep.
func (n *Network) SetSeed(seed uint64) { n.seed = seed }

// Freeze excludes the parameters whose names begin with one of the prefixes from
// training: Plans compute no gradients for them, nor what only these need, and
// BatchNormalization with a frozen operand keeps to its stored statistics. It
// comes before the first Plan. A prefix that no parameter has is an error.
func (n *Network) Freeze(prefixes ...string) error {
	n.frozen = map[string]bool{}
	for _, prefix := range prefixes {
		found := false
		for _, p := range n.params {
			if strings.HasPrefix(p.Name, prefix) {
				p.Trainable, n.frozen[p.Name], found = false, true, true
			}
		}
		if !found {
			return fmt.Errorf("no parameter's name begins with %q; they begin with %q", prefix, n.firstNames())
		}
	}
	return nil
}

// firstNames lists what the names of the parameters have before their first dot.
func (n *Network) firstNames() []string {
	var names []string
	for _, p := range n.params {
		name, _, _ := strings.Cut(p.Name, ".")
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Value downloads a parameter, row-major in its ONNX shape.
func (n *Network) Value(p *Parameter) ([]float32, error) { return load(n.dev, p.Value, p.Shape) }

// Gradient downloads the last gradient of a parameter.
func (n *Network) Gradient(p *Parameter) ([]float32, error) {
	if p.Grad == nil {
		return nil, fmt.Errorf("parameter %q has no gradient: no training Plan reaches it", p.Name)
	}
	return load(n.dev, p.Grad, p.Shape)
}

// SetValue replaces a parameter.
func (n *Network) SetValue(p *Parameter, data []float32) error {
	if len(data) != p.Len() {
		return fmt.Errorf("parameter %q: %w: %d values for shape %v", p.Name, ErrShape, len(data), p.Shape)
	}
	n.Changed()
	return store(n.dev, p.Value, p.Shape, data)
}

// SetTensor is SetValue for the elements of a float tensor of a file, which are
// read in stretches.
func (n *Network) SetTensor(p *Parameter, t *pb.TensorProto) error {
	if count, err := onnx.Len(t); err != nil || count != p.Len() {
		return fmt.Errorf("parameter %q: %w: tensor of dimensions %v for shape %v", p.Name, ErrShape, t.GetDims(), p.Shape)
	}
	n.Changed()
	return storeTensor(n.dev, p.Value, p.Shape, t)
}

// Source hands out a parameter, to be written to a file.
func (n *Network) Source(p *Parameter) onnx.Source {
	return func(each func([]float32) error) error { return loadTo(n.dev, p.Value, p.Shape, each) }
}

// Model returns a copy of the model whose parameters hold no elements, and where
// these come from when it is saved: the parameters as they are then, in the
// element types of the file.
func (n *Network) Model() (*onnx.Model, onnx.Sources) {
	m, sources := n.model.Shallow(), onnx.Sources{}
	for i, t := range m.Graph.Initializer {
		if p := n.byName[t.GetName()]; p != nil {
			t = onnx.WithoutData(t)
			m.Graph.Initializer[i], sources[t] = t, n.Source(p)
		}
	}
	return m, sources
}

// title tells of a Spec what a look at a profile wants to know: "train image
// 2x3x240x320".
func (s Spec) title() string {
	title := s.Mode.String()
	for _, name := range slices.Sorted(maps.Keys(s.Inputs)) {
		title += " " + name + " " + strings.ReplaceAll(strings.Trim(fmt.Sprint(s.Inputs[name]), "[]"), " ", "x")
	}
	return title
}

// Plan returns the Plan of a Spec, building it if it is not in the cache.
func (n *Network) Plan(spec Spec) (*Plan, error) {
	key := spec.key()
	if el, ok := n.plans[key]; ok {
		n.recent.MoveToFront(el)
		return el.Value.(*Plan), nil
	}
	e, err := n.build(spec)
	if err != nil {
		return nil, err
	}
	p, err := n.compile(e, spec)
	if err != nil {
		return nil, err
	}
	if p.arenaSize > n.memory {
		return nil, fmt.Errorf("%s: %w: the activations take %.1f GiB, the machine has %.1f; use a smaller batch or picture",
			n.model.Path, ErrMemory, gib(p.arenaSize), gib(n.memory))
	}
	p.key, p.title = key, spec.title()
	n.plans[key] = n.recent.PushFront(p)
	for n.recent.Len() > n.limit {
		old := n.recent.Remove(n.recent.Back()).(*Plan)
		delete(n.plans, old.key)
	}
	return p, nil
}

func gib(bytes int) float64 { return float64(bytes) / (1 << 30) }

// reserve makes the arena at least as large as a Plan needs. Kernels may hold
// on to the arena that they last ran in, so an arena goes with all Plans that
// ran in it: of the sizes that come in a training few are larger than all
// before them, and those come early.
func (n *Network) reserve(p *Plan) error {
	size := p.arenaSize
	if n.arena != nil && n.arena.Size() >= size {
		return nil
	}
	if n.arena != nil {
		for key, el := range n.plans {
			if el.Value != p {
				n.recent.Remove(el)
				delete(n.plans, key)
			}
		}
		n.dev.Free(n.arena)
		n.arena = nil
	}
	// The arena is the largest piece of memory that there will be. What made
	// the network, the file of its weights above all, need not stay beside it.
	debug.FreeOSMemory()
	b, err := n.dev.Alloc(size)
	if err != nil {
		return err
	}
	n.arena = b
	n.bound++
	return nil
}

// stage returns memory on the host that lasts until the next call.
func (n *Network) stage(elements int) []float32 {
	if cap(n.staging) < elements {
		n.staging = make([]float32, elements)
	}
	return n.staging[:elements]
}

// gradientBuffer returns the buffer of a parameter's gradient.
func (n *Network) gradientBuffer(p *Parameter) (kernel.Buffer, error) {
	if p.Grad == nil {
		b, err := n.dev.Alloc(4 * p.Len())
		if err != nil {
			return nil, err
		}
		p.Grad = b
	}
	return p.Grad, nil
}
