package graph

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// errCollision reports two nodes of one 32-bit hash, which Gorgonia might
// merge. Operators get new identities in every build, so a second build helps.
var errCollision = errors.New("two nodes share a hash")

// leaf is a node without operator and where its value comes from.
type leaf struct {
	node  *op.Node
	param *Parameter // a parameter of the network,
	data  []float32  // or a constant of this graph (row-major),
	input string     // or an input of the Plan
}

// running is an update of stored statistics that a training step makes.
type running struct {
	stats          *op.Node
	mean, variance *Parameter
	momentum       float32
	count          int
}

// expression is an ExprGraph with everything a Plan is compiled from.
type expression struct {
	graph     *gorgonia.ExprGraph
	leaves    map[int64]*leaf
	values    map[string]*op.Node // by ONNX value name
	outputs   map[string]*op.Node // what Plan.Output offers
	running   []running
	losses    []*op.Node          // (3) each: loss of an output on top
	counts    *op.Node            // (3): loss, correct, labelled at the first output
	total     *op.Node            // (3): weighted loss on top
	gradients map[string]*op.Node // by parameter name
	inputs    map[string]*op.Node // by Plan input name
	origins   map[int64]string    // ONNX node that a node is made for, or its gradient
}

// build makes the ExprGraph of a model for one Spec.
func (n *Network) build(spec Spec) (*expression, error) {
	const tries = 4
	for try := 0; ; try++ {
		e, err := n.buildOnce(spec)
		if err == nil {
			err = e.checkHashes()
		}
		if err == nil || !errors.Is(err, errCollision) || try == tries {
			return e, err
		}
	}
}

func (n *Network) buildOnce(spec Spec) (*expression, error) {
	m, shapes, err := onnx.Specialize(n.model, spec.Inputs)
	if err != nil {
		return nil, err
	}
	if err := supported(m); err != nil {
		return nil, err
	}
	if err := n.checkValues(m, shapes); err != nil {
		return nil, err
	}
	rec, err := record(m)
	if err != nil {
		return nil, err
	}
	e := &expression{
		graph:  gorgonia.NewGraph(gorgonia.WithGraphName(m.GetGraph().GetName())),
		leaves: map[int64]*leaf{}, values: map[string]*op.Node{}, outputs: map[string]*op.Node{},
		gradients: map[string]*op.Node{}, inputs: map[string]*op.Node{}, origins: map[int64]string{},
	}
	b := &builder{expression: e, network: n, model: m, spec: spec, shapes: shapes, constants: map[string]*pb.TensorProto{}}
	if err := b.addLeaves(); err != nil {
		return nil, err
	}
	if err := b.addNodes(rec); err != nil {
		return nil, err
	}
	if err := b.addRoots(); err != nil {
		return nil, err
	}
	return e, nil
}

// supported reports all operators without builder at once.
func supported(m *onnx.Model) error {
	missing := &onnx.UnsupportedError{File: m.Path}
	for _, node := range m.GetGraph().GetNode() {
		if _, ok := op.Lookup(node.GetDomain(), node.GetOpType()); !ok {
			missing.Nodes = append(missing.Nodes, &onnx.Error{File: m.Path, Node: onnx.NodeName(node), Op: onnx.OpName(node),
				Msg: "the operator is not supported", Err: onnx.ErrUnsupported})
		}
	}
	if len(missing.Nodes) > 0 {
		return missing
	}
	return nil
}

// builder holds the state of one build.
type builder struct {
	*expression
	network   *Network
	model     *onnx.Model
	spec      Spec
	shapes    map[string][]int
	constants map[string]*pb.TensorProto // every initializer of the specialised model
}

func (b *builder) addLeaf(name string, dtype tensor.Dtype, shape []int, l leaf) *op.Node {
	opts := []gorgonia.NodeConsOpt{gorgonia.WithShape(shape...), gorgonia.WithName(name)}
	if len(shape) == 0 {
		l.node = gorgonia.NewScalar(b.graph, dtype, gorgonia.WithName(name))
	} else {
		l.node = gorgonia.NewTensor(b.graph, dtype, len(shape), opts...)
	}
	b.leaves[l.node.ID()] = &l
	b.origins[l.node.ID()] = name
	return l.node
}

// addLeaves adds inputs, parameters and folded float constants. Names carry a
// prefix: Gorgonia merges inputs of one name.
func (b *builder) addLeaves() error {
	for _, t := range b.model.GetGraph().GetInitializer() {
		name := t.GetName()
		b.constants[name] = t
		if p := b.network.byName[name]; p != nil {
			b.values[name] = b.addLeaf("parameter "+name, tensor.Float32, p.Shape, leaf{param: p})
			continue
		}
		if !onnx.IsFloat(pb.TensorProto_DataType(t.GetDataType())) {
			continue
		}
		data, err := onnx.Floats(t)
		if err != nil {
			return err
		}
		b.values[name] = b.addLeaf("constant "+name, tensor.Float32, onnx.Dims(t), leaf{data: data})
	}
	for _, in := range b.model.GetGraph().GetInput() {
		name := in.GetName()
		if b.constants[name] != nil {
			continue
		}
		shape, ok := b.shapes[name]
		if !ok {
			return fmt.Errorf("%s: %w: no shape for input %q", b.model.Path, ErrShape, name)
		}
		if t := in.GetType().GetTensorType().GetElemType(); t != int32(pb.TensorProto_FLOAT) {
			return &onnx.Error{File: b.model.Path, Node: name, Op: "input", Msg: fmt.Sprintf("element type %v, want FLOAT", pb.TensorProto_DataType(t)), Err: onnx.ErrUnsupported}
		}
		b.values[name] = b.addLeaf("input "+name, tensor.Float32, shape, leaf{input: name})
		b.inputs[name] = b.values[name]
	}
	return nil
}

// addNodes applies the builder of every recorded operation, in file order.
func (b *builder) addNodes(rec *recorder) error {
	env := &op.Env{Training: b.spec.Mode == Train, FixBN: b.spec.FixBN, Graph: b.graph}
	env.Constant = func(shape []int, data []float32) (*op.Node, error) {
		return b.addLeaf(fmt.Sprintf("constant #%d", len(b.leaves)), tensor.Float32, shape, leaf{data: data}), nil
	}
	env.Running = func(stats *op.Node, mean, variance string, momentum float32, count int) {
		m, v := b.network.byName[mean], b.network.byName[variance]
		if m != nil && v != nil {
			b.running = append(b.running, running{stats, m, v, momentum, count})
		}
	}
	readers := b.readers()
	for i, r := range rec.ops {
		node := b.model.GetGraph().GetNode()[i]
		fail := func(err error) error {
			return &onnx.Error{File: b.model.Path, Node: onnx.NodeName(node), Op: onnx.OpName(node), Err: err}
		}
		src := &op.Source{
			Name: onnx.NodeName(node), Type: node.GetOpType(), Domain: node.GetDomain(),
			Opset: int(b.model.Opset(node.GetDomain())), Outputs: len(node.GetOutput()), Env: env,
		}
		src.Attr = attributes(r.Attributes, node)
		names := r.inputs()
		if len(node.GetInput()) == 0 {
			names = nil
		}
		for _, name := range names {
			in := op.Input{Name: name, Sole: readers[name] == 1}
			if name != "" {
				in.Node, in.Const = b.values[name], b.constants[name]
				if !in.Present() {
					return fail(fmt.Errorf("input %q has no value that is known before the run and is not a float tensor", name))
				}
			}
			src.Inputs = append(src.Inputs, in)
		}
		env.FixBN = b.spec.FixBN || slices.ContainsFunc(names, func(name string) bool { return b.network.frozen[name] })
		build, _ := op.Lookup(node.GetDomain(), node.GetOpType())
		made := len(b.graph.AllNodes())
		out, err := build(src)
		if err != nil {
			return fail(err)
		}
		b.attribute(made, src.Name)
		if src.Replaced != nil {
			// The heavier of the two gives the name.
			b.attribute(made, b.origins[src.Replaced.ID()])
		}
		for k, name := range node.GetOutput() {
			if name == "" {
				continue
			}
			if k < len(out) && out[k] != nil {
				b.values[name] = out[k]
			}
		}
	}
	return nil
}

// readers counts how often each value of the model is read: by nodes, as an
// output, by the loss and by gradients that begin at it.
func (b *builder) readers() map[string]int {
	n := map[string]int{}
	for _, node := range b.model.GetGraph().GetNode() {
		for _, name := range node.GetInput() {
			n[name]++
		}
	}
	for _, out := range b.model.GetGraph().GetOutput() {
		n[out.GetName()]++
	}
	for _, name := range b.spec.Cotangents {
		n[name]++
	}
	if b.spec.Loss != nil {
		for _, o := range b.spec.Loss.Outputs {
			n[o.Name]++
		}
	}
	if h := b.spec.Probabilities; h != nil {
		n[h.Output]++
	}
	return n
}

// attribute notes the origin of all nodes from the given one on, in the order
// in which they were made.
func (e *expression) attribute(first int, origin string) {
	for _, n := range e.graph.AllNodes()[first:] {
		e.origins[n.ID()] = origin
	}
}

// attributes takes what onnx-go decoded; tensors come from the file, since
// onnx-go knows few element types.
func attributes(decoded map[string]any, node *pb.NodeProto) op.Attributes {
	attrs := op.Attributes(decoded)
	for _, a := range node.GetAttribute() {
		if a.GetType() == pb.AttributeProto_TENSOR {
			attrs[a.GetName()] = a.GetT()
		}
	}
	return attrs
}

// addRoots adds losses, gradients and the outputs that were asked for.
func (b *builder) addRoots() error {
	for _, out := range b.model.GetGraph().GetOutput() {
		if v := b.values[out.GetName()]; v != nil {
			b.outputs[out.GetName()] = v
		}
	}
	if h := b.spec.Probabilities; h != nil {
		v := b.values[h.Output]
		if v == nil {
			return fmt.Errorf("%s: no output %q of log-probabilities", b.model.Path, h.Output)
		}
		made := len(b.graph.AllNodes())
		p, err := op.Probabilities(v, h.Height, h.Width)
		if err != nil {
			return fmt.Errorf("%s: output %q: %w", b.model.Path, h.Output, err)
		}
		b.attribute(made, OutputProbabilities)
		b.outputs = map[string]*op.Node{OutputProbabilities: p}
	}
	var seeds []seed
	if b.spec.Loss != nil {
		total, err := b.addLoss(b.spec.Loss)
		if err != nil {
			return err
		}
		one := b.addLeaf("seed of the loss", tensor.Float32, []int{3}, leaf{data: []float32{1, 0, 0}})
		seeds = append(seeds, seed{total, one})
	}
	for _, name := range b.spec.Cotangents {
		v := b.values[name]
		if v == nil {
			return fmt.Errorf("%s: no output %q to start a gradient from", b.model.Path, name)
		}
		d := b.addLeaf("gradient of "+name, tensor.Float32, v.Shape(), leaf{input: CotangentInput(name)})
		b.inputs[CotangentInput(name)] = d
		seeds = append(seeds, seed{v, d})
	}
	if len(seeds) == 0 || b.spec.Mode != Train {
		return nil
	}
	return b.gradientRoots(seeds)
}

func (b *builder) gradientRoots(seeds []seed) error {
	var wanted []*op.Node
	names := map[*op.Node]string{}
	for _, l := range b.leaves {
		switch {
		case l.param != nil && l.param.Trainable:
			names[l.node] = l.param.Name
		case b.spec.InputGradients && l.input != "" && b.values[l.input] == l.node:
			names[l.node] = InputGradient(l.input)
		default:
			continue
		}
		wanted = append(wanted, l.node)
	}
	slices.SortFunc(wanted, func(x, y *op.Node) int { return int(x.ID() - y.ID()) })
	grads, err := gradient(b.graph, seeds, wanted, func(made int, of *op.Node) { b.attribute(made, b.origins[of.ID()]) })
	if err != nil {
		return fmt.Errorf("%s: %w", b.model.Path, err)
	}
	for n, d := range grads {
		if b.network.byName[names[n]] != nil {
			b.gradients[names[n]] = d
		} else {
			b.outputs[names[n]] = d
		}
	}
	return nil
}

// checkHashes makes sure that Gorgonia merged no two nodes.
func (e *expression) checkHashes() error {
	seen := map[uint32]*op.Node{}
	for _, n := range e.graph.AllNodes() {
		h := n.Hashcode()
		if other := seen[h]; other != nil && other != n {
			return fmt.Errorf("%w: %v and %v", errCollision, other, n)
		}
		seen[h] = n
	}
	return nil
}

// bytes returns the size of a node's value.
func bytes(n *op.Node) int { return 4 * kernel.Len(n.Shape()) }
