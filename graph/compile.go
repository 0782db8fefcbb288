package graph

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// compiler lowers one expression: nodes to operations, operations to the steps
// of a Plan.
type compiler struct {
	*expression
	network *Network
	nodes   []*op.Node // everything needed, operands before results
	values  map[int64]*value
	ops     []*operation // in the order of the run
	before  int          // how many of them are settled before it
	spec    Spec
	grads   map[int64][]*Parameter // node -> parameters it is the gradient of
	updates map[int64][]running    // statistics node -> updates
	scratch map[*op.Block]int      // bytes that the kernels want, where that was measured
	moments map[*value]*moments    // of statistics that a Group shares
	mean    map[int64]*value       // gradient node -> mean over a Group
}

// compile turns an expression into a Plan.
func (n *Network) compile(e *expression, spec Spec) (*Plan, error) {
	if spec.Update && n.updater == nil {
		return nil, errNoUpdater
	}
	c := &compiler{
		expression: e, network: n, spec: spec, values: map[int64]*value{},
		grads: map[int64][]*Parameter{}, updates: map[int64][]running{},
		moments: map[*value]*moments{}, mean: map[int64]*value{},
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
	c.shareGradients()
	if spec.Precision == BFloat16 {
		c.storeHalf()
	}
	if err := c.placeLeaves(); err != nil {
		return nil, err
	}
	if err := c.settle(); err != nil {
		return nil, err
	}
	if err := c.placeGradients(); err != nil {
		return nil, err
	}
	c.sumThroughMask()
	c.filtersFirst()
	if err := c.recompute(); err != nil {
		return nil, err
	}
	c.insertUpdates()
	c.placeRest()
	return c.link()
}

// lower makes a value of every node that is needed and an operation of every
// operator.
func (c *compiler) lower() error {
	roots := c.kept()
	for id := range c.grads {
		roots = append(roots, c.graph.Node(id).(*op.Node))
	}
	for id := range c.updates {
		roots = append(roots, c.graph.Node(id).(*op.Node))
	}
	c.nodes = reachable(c.graph, roots)
	for _, node := range c.nodes {
		v := &value{size: bytes(node)}
		c.values[node.ID()] = v
		if node.Op() == nil {
			continue
		}
		o, ok := node.Op().(*op.Op)
		if !ok {
			return fmt.Errorf("%v is not an operator of graft", node.Op())
		}
		var shapes [][]int
		var in []*value
		for _, child := range op.Operands(node) {
			shapes = append(shapes, child.Shape())
			in = append(in, c.values[child.ID()])
		}
		c.shareBackward(node, in)
		block := op.NewBlock(shapes, node.Shape())
		if err := o.Lower(block); err != nil {
			return fmt.Errorf("%v: %w", o, err)
		}
		if block.Aliased >= 0 {
			v.alias = in[block.Aliased].origin()
		}
		c.ops = append(c.ops, &operation{name: fmt.Sprint(o), label: c.label(node), block: block, in: in, out: v})
		c.shareMoments(node)
		c.attachUpdates(node)
	}
	for _, node := range c.kept() {
		c.values[node.ID()].origin().keep = true
	}
	return nil
}

// attachUpdates adds the updates of stored statistics that hang on a node.
func (c *compiler) attachUpdates(node *op.Node) {
	for _, r := range c.updates[node.ID()] {
		own := kernel.BatchNormRunning{C: node.Shape()[1], Momentum: r.momentum, Count: r.count}
		var d kernel.Desc = own
		if m := c.moments[c.values[node.ID()]]; m != nil {
			d = shareRunning{own, m}
		}
		c.ops = append(c.ops, call(fmt.Sprintf("%v.running", node.Op()), label{"BatchNorm.running", c.origins[node.ID()]}, d,
			c.values[node.ID()], fixed(r.mean.Value), fixed(r.variance.Value)))
	}
}

// kept returns the nodes that are read after the run.
func (c *compiler) kept() []*op.Node {
	var ns []*op.Node
	for _, v := range c.outputs {
		ns = append(ns, v)
	}
	ns = append(ns, c.losses...)
	if c.total != nil {
		ns = append(ns, c.total, c.counts)
	}
	return ns
}

// placeLeaves finds the memory of parameters and constants.
func (c *compiler) placeLeaves() error {
	for _, l := range c.leaves {
		v := c.values[l.node.ID()]
		if v == nil {
			continue // nothing needs it
		}
		switch {
		case l.param != nil:
			v.static = l.param.Value
		case l.input != "":
			// Uploaded before the first operation. It is kept, since a caller
			// may run twice on the same input.
			v.keep = true
		default:
			b, err := upload(c.network.dev, l.node.Shape(), l.data)
			if err != nil {
				return err
			}
			v.static = b
		}
	}
	return nil
}

// placeRest gives all other values a place in the arena.
func (c *compiler) placeRest() {
	c.lifetimes()
	for _, v := range c.arenaValues() {
		v.region = &region{size: v.size, first: v.first, last: v.last}
	}
}

// placeGradients has every gradient that the Plan does not use up itself
// computed into its parameter's buffer, or copied there: where it is that of
// another parameter too, is read after the run, or is not computed at all.
func (c *compiler) placeGradients() error {
	var ops []*operation
	maker := map[*value]*operation{}
	for _, o := range c.ops {
		for v := range o.results {
			maker[v] = o
		}
	}
	copies := map[*operation][]*operation{}
	for _, node := range c.nodes {
		v := c.gradientOf(node)
		for _, p := range c.grads[node.ID()] {
			if _, ok := c.updateOf(p); ok {
				continue
			}
			b, err := c.network.gradientBuffer(p)
			if err != nil {
				return err
			}
			if v.static == nil && v.alias == nil && maker[v] != nil && !v.keep {
				v.static = b
				continue
			}
			o := call("copy of the gradient of "+p.Name, label{"gradient copy", p.Name}, kernel.AddN{Inputs: 1, Len: p.Len()}, v, fixed(b))
			copies[maker[v]] = append(copies[maker[v]], o)
		}
	}
	for _, o := range c.ops {
		ops = append(append(ops, o), copies[o]...)
	}
	c.ops = append(ops, copies[nil]...) // of leaves, which nothing makes
	return nil
}

// arenaValues returns every value that needs a stretch of the arena, once.
func (c *compiler) arenaValues() []*value {
	var vs []*value
	seen := map[*value]bool{}
	add := func(v *value) {
		if v = v.root(); v.static == nil && !seen[v] {
			seen[v] = true
			vs = append(vs, v)
		}
	}
	for _, node := range c.nodes {
		add(c.values[node.ID()])
	}
	for _, o := range c.ops {
		for _, v := range o.in {
			add(v)
		}
		for v := range o.results {
			add(v)
		}
	}
	return vs
}
