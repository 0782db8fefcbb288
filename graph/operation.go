package graph

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// value is what a Plan keeps in a buffer: the result of a node, an input, or
// memory of the network's own.
type value struct {
	size  int    // bytes
	alias *value // shares this value's buffer
	// A value without alias lives in exactly one of these:
	static kernel.Buffer // a parameter, a constant, a gradient
	region *region       // the arena
	// first is the operation that makes the value (0 for inputs, which are there
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

// fixed returns memory outside the arena as a value.
func fixed(b kernel.Buffer) *value { return &value{size: b.Size(), static: b} }

// operation is one entry of the list that a Plan is made of: the kernel calls
// that make one value or, without a result, change memory of the network's own.
type operation struct {
	name  string // for errors
	label label
	block *op.Block
	in    []*value
	out   *value // nil for none
}

// call returns an operation without result: one kernel call whose arguments are
// values.
func call(name string, from label, d kernel.Desc, args ...*value) *operation {
	b := op.NewBlock(nil, nil)
	refs := make([]op.Ref, len(args))
	for i := range refs {
		refs[i] = b.In(i)
	}
	b.Call(d, refs...)
	return &operation{name: name, label: from, block: b, in: args}
}

// lifetimes finds how long each buffer is needed.
func (c *compiler) lifetimes() {
	for _, o := range c.ops {
		for _, v := range o.in {
			v.first, v.last = 0, 0
		}
	}
	for i, o := range c.ops {
		for _, v := range o.in {
			v.root().last = i
		}
		if o.out != nil {
			o.out.first, o.out.last = i, i
			o.out.root().last = i
		}
	}
}

// label says for a Profiler where an operator comes from.
func (c *compiler) label(node *op.Node) label {
	kind := fmt.Sprint(node.Op())
	if o, ok := node.Op().(*op.Op); ok {
		kind = o.Name()
	}
	return label{kind, c.origins[node.ID()]}
}
