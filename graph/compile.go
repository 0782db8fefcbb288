package graph

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// value is what a node of the graph becomes in a Plan: a buffer, or another
// name for one.
type value struct {
	node  *op.Node
	alias *value // shares this value's buffer
	// A value without alias lives in exactly one of these:
	static kernel.Buffer // a parameter, a constant, a gradient
	region *region       // the arena
	// first is the step that makes the value (0 for inputs, which are there
	// before), last the last one that reads it or one of its aliases; keep
	// holds it to the end of the run.
	first, last int
	keep        bool
}

// root follows aliases to the value that owns the buffer.
func (v *value) root() *value {
	for v.alias != nil {
		v = v.alias
	}
	return v
}

// compiler lowers one expression.
type compiler struct {
	*expression
	network *Network
	nodes   []*op.Node // everything needed, operands before results
	values  map[int64]*value
	order   []*op.Node // the operators among them, in the order of the run
	blocks  []*op.Block
	grads   map[int64][]*Parameter // node -> parameters it is the gradient of
	updates map[int64][]running    // statistics node -> updates
}

// compile turns an expression into a Plan.
func (n *Network) compile(e *expression) (*Plan, error) {
	c := &compiler{
		expression: e, network: n, values: map[int64]*value{},
		grads: map[int64][]*Parameter{}, updates: map[int64][]running{},
	}
	for _, p := range n.params {
		if d := e.gradients[p.Name]; d != nil {
			c.grads[d.ID()] = append(c.grads[d.ID()], p)
		}
	}
	for _, r := range e.running {
		c.updates[r.stats.ID()] = append(c.updates[r.stats.ID()], r)
	}
	if err := c.lower(); err != nil {
		return nil, err
	}
	if err := c.place(); err != nil {
		return nil, err
	}
	return c.link()
}

// lower makes a value of every node that is needed and a block of every
// operator, and finds how long each buffer is needed.
func (c *compiler) lower() error {
	roots := c.kept()
	for id := range c.grads {
		roots = append(roots, c.graph.Node(id).(*op.Node))
	}
	for id := range c.updates {
		roots = append(roots, c.graph.Node(id).(*op.Node))
	}
	c.nodes = reachable(c.graph, roots)
	readers := c.readers()
	producers := map[int64]*op.Block{}
	for _, node := range c.nodes {
		v := &value{node: node}
		c.values[node.ID()] = v
		if node.Op() == nil {
			continue
		}
		o, ok := node.Op().(*op.Op)
		if !ok {
			return fmt.Errorf("%v is not an operator of graft", node.Op())
		}
		step := len(c.order)
		var shapes [][]int
		for _, child := range children(c.graph, node) {
			shapes = append(shapes, child.Shape())
			c.values[child.ID()].root().last = step
		}
		block := op.NewBlock(shapes, node.Shape())
		if err := o.Lower(block); err != nil {
			return fmt.Errorf("%v: %w", o, err)
		}
		if u, ok := o.Spec.(op.Unary); ok {
			operand := children(c.graph, node)[0].ID()
			if p := producers[operand]; p != nil && readers[operand] == 1 && fuse(u, p) {
				block = op.NewBlock(shapes, node.Shape())
				block.Alias(0)
			}
		}
		producers[node.ID()] = block
		v.first, v.last = step, step
		if block.Aliased >= 0 {
			v.alias = c.values[children(c.graph, node)[block.Aliased].ID()].root()
		}
		c.order = append(c.order, node)
		c.blocks = append(c.blocks, block)
	}
	for _, node := range c.kept() {
		c.values[node.ID()].root().keep = true
	}
	return nil
}

// kept returns the nodes that are read after the run.
func (c *compiler) kept() []*op.Node {
	var ns []*op.Node
	for _, v := range c.outputs {
		ns = append(ns, v)
	}
	ns = append(ns, c.losses...)
	if c.total != nil {
		ns = append(ns, c.total)
	}
	return ns
}

// place decides where every value lives.
func (c *compiler) place() error {
	for _, l := range c.leaves {
		v := c.values[l.node.ID()]
		if v == nil {
			continue // nothing needs it
		}
		switch {
		case l.param != nil:
			v.static = l.param.Value
		case l.input != "":
			// Uploaded before the first step. It is kept, since a caller may
			// run twice on the same input.
			v.keep = true
		default:
			b, err := upload(c.network.dev, l.node.Shape(), l.data)
			if err != nil {
				return err
			}
			v.static = b
		}
	}
	for id, params := range c.grads {
		v := c.values[id]
		if v.alias != nil || v.node.Op() == nil || v.keep {
			continue // its gradient is a copy
		}
		b, err := c.network.gradientBuffer(params[0])
		if err != nil {
			return err
		}
		v.static = b
	}
	for step, node := range c.order {
		c.takeOver(step, node)
	}
	for _, v := range c.values {
		if v.alias != nil || v.static != nil {
			continue
		}
		v.region = &region{size: bytes(v.node), first: v.first, last: v.last}
		if v.keep {
			v.region.last = len(c.order)
		}
	}
	return nil
}

// takeOver lets a result use the buffer of an operand that nobody reads later.
func (c *compiler) takeOver(step int, node *op.Node) {
	i := c.blocks[step].Clobber
	v := c.values[node.ID()]
	if i < 0 || v.alias != nil || v.static != nil {
		return
	}
	operand := c.values[children(c.graph, node)[i].ID()].root()
	if operand.static != nil || operand.keep || operand.last > step || bytes(operand.node) != bytes(node) {
		return
	}
	if len(c.grads[operand.node.ID()]) > 0 {
		return // copied at the end
	}
	v.alias = operand
	operand.last, operand.keep = v.last, v.keep
}

// link lays out the arena and compiles the kernels.
func (c *compiler) link() (*Plan, error) {
	p := &Plan{network: c.network, inputs: map[string]slot{}, outputs: map[string]slot{}}
	l := &linker{compiler: c, plan: p}
	for step, node := range c.order {
		if err := l.block(step, node); err != nil {
			return nil, fmt.Errorf("%v: %w", node.Op(), err)
		}
	}
	if err := l.copies(); err != nil {
		return nil, err
	}
	regions := l.regions
	for _, node := range c.nodes {
		if v := c.values[node.ID()]; v.region != nil {
			regions = append(regions, v.region)
		}
	}
	p.arenaSize = layout(regions)
	for name, node := range c.inputs {
		if v := c.values[node.ID()]; v != nil {
			p.inputs[name] = slot{arg: l.arg(v), shape: node.Shape()}
		}
	}
	for name, node := range c.outputs {
		p.outputs[name] = slot{arg: l.arg(c.values[node.ID()]), shape: node.Shape()}
	}
	for _, node := range c.losses {
		p.losses = append(p.losses, l.arg(c.values[node.ID()]))
	}
	if c.total != nil {
		a := l.arg(c.values[c.total.ID()])
		p.total = &a
	}
	return p, nil
}

// linker turns blocks into the steps of a Plan.
type linker struct {
	*compiler
	plan    *Plan
	regions []*region // of temporaries and scratch
}

func (l *linker) arg(v *value) arg {
	v = v.root()
	return arg{static: v.static, region: v.region, size: bytes(v.node)}
}

func (l *linker) temp(size, step int) arg {
	r := &region{size: size, first: step, last: step}
	l.regions = append(l.regions, r)
	return arg{region: r, size: size}
}

// label says for a Profiler where an operator comes from.
func (l *linker) label(node *op.Node) label {
	kind := fmt.Sprint(node.Op())
	if o, ok := node.Op().(*op.Op); ok {
		kind = o.Name()
	}
	return label{kind, l.origins[node.ID()]}
}

// block adds the steps of one operator, and the updates of stored statistics
// that hang on it.
func (l *linker) block(step int, node *op.Node) error {
	b := l.blocks[step]
	var in, temps []arg
	for _, child := range children(l.graph, node) {
		in = append(in, l.arg(l.values[child.ID()]))
	}
	for _, size := range b.Temps {
		temps = append(temps, l.temp(size, step))
	}
	out := l.arg(l.values[node.ID()])
	rng := arg{static: l.network.rng, size: 16}
	name, from := fmt.Sprint(node.Op()), l.label(node)
	for _, call := range b.Calls {
		args := make([]arg, len(call.Args))
		for i, r := range call.Args {
			args[i] = op.Resolve(r, in, temps, out, rng)
		}
		if err := l.step(name, from, step, call.Desc, args); err != nil {
			return err
		}
	}
	for _, r := range l.updates[node.ID()] {
		d := kernel.BatchNormRunning{C: node.Shape()[1], Momentum: r.momentum, Count: r.count}
		args := []arg{out, {static: r.mean.Value, size: 4 * r.mean.Len()}, {static: r.variance.Value, size: 4 * r.variance.Len()}}
		if err := l.step(name+".running", label{"BatchNorm.running", from.node}, step, d, args); err != nil {
			return err
		}
	}
	return l.gradientCopies(step, node)
}

// gradientCopies fills the gradient buffers that the value is not computed
// into: every further parameter's, or all of them for a shared value.
func (l *linker) gradientCopies(step int, node *op.Node) error {
	params := l.grads[node.ID()]
	v := l.values[node.ID()]
	for i, p := range params {
		if i == 0 && v.static != nil && v.static == p.Grad {
			continue
		}
		b, err := l.network.gradientBuffer(p)
		if err != nil {
			return err
		}
		d := kernel.AddN{Inputs: 1, Len: p.Len()}
		if err := l.step("copy of the gradient of "+p.Name, label{"gradient copy", p.Name}, step, d, []arg{l.arg(v), {static: b, size: 4 * p.Len()}}); err != nil {
			return err
		}
	}
	return nil
}

// copies handles gradients that are leaves, which have no step of their own.
func (l *linker) copies() error {
	for id := range l.grads {
		if node := l.values[id].node; node.Op() == nil {
			if err := l.gradientCopies(len(l.order), node); err != nil {
				return err
			}
		}
	}
	return nil
}

// step compiles one kernel call. It checks the arguments against the
// description, so that no kernel can reach past a buffer.
func (l *linker) step(name string, from label, index int, d kernel.Desc, args []arg) error {
	want := d.Args()
	if len(want) != len(args) {
		return fmt.Errorf("%T takes %d arguments, got %d", d, len(want), len(args))
	}
	for i, a := range want {
		if a.Size() != args[i].size {
			return fmt.Errorf("%T: argument %s has %d bytes, its buffer %d", d, a.Name, a.Size(), args[i].size)
		}
	}
	k, err := l.network.dev.Compile(d)
	if err != nil {
		return err
	}
	if n := k.Scratch(); n > 0 {
		args = append(args, l.temp(n, index))
	}
	l.plan.steps = append(l.plan.steps, &planStep{label: from, name: name, desc: d, kernel: k, args: args})
	return nil
}
