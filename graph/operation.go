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
	half  bool   // stored as bfloat16
	alias *value // what it is another name for
	taken *value // whose buffer it takes over
	// A value without alias lives in exactly one of these:
	static kernel.Buffer // a parameter, a constant, a gradient
	region *region       // the arena
	// first is the operation that makes the value (0 for inputs, which are there
	// before), last the last one that reads it or what shares its buffer; keep
	// holds it to the end of the run.
	first, last int
	keep        bool
}

// origin returns the value that this one is, perhaps by another name.
func (v *value) origin() *value {
	for v.alias != nil {
		v = v.alias
	}
	return v
}

// root returns the value that owns the buffer.
func (v *value) root() *value {
	v = v.origin()
	for v.taken != nil {
		v = v.taken.origin()
	}
	return v
}

// fixed returns memory outside the arena as a value.
func fixed(b kernel.Buffer) *value { return &value{size: b.Size(), static: b} }

// operation is one entry of the list that a Plan is made of: the kernel calls
// that make a value, or two in one go, or, without a result, change memory of
// the network's own.
type operation struct {
	name   string // for errors
	label  label
	block  *op.Block
	in     []*value
	out    *value // nil for none
	beside *value // a float32 result beside it, nil for none
}

// results yields what an operation makes.
func (o *operation) results(yield func(*value) bool) {
	_ = (o.out == nil || yield(o.out)) && (o.beside == nil || yield(o.beside))
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

// lifetimes finds how long each buffer is needed, and which results take over
// the buffer of an operand.
func (c *compiler) lifetimes() {
	all := func(f func(v *value)) {
		for _, node := range c.nodes {
			f(c.values[node.ID()])
		}
		for _, o := range c.ops {
			for _, v := range o.in {
				f(v)
			}
			for v := range o.results {
				f(v)
			}
		}
	}
	all(func(v *value) { v.taken, v.first, v.last = nil, 0, 0 })
	for i, o := range c.ops {
		for _, v := range o.in {
			v.root().last = i
		}
		for v := range o.results {
			v.first, v.last = i, i
			v.root().last = i
		}
	}
	all(func(v *value) {
		if v.keep {
			v.root().last = len(c.ops)
		}
	})
	for i, o := range c.ops {
		takeOver(i, o)
	}
}

// takeOver lets the result of operation i use the buffer of an operand that
// nobody reads later.
func takeOver(i int, o *operation) {
	v := o.out
	if o.block.Clobber < 0 || v == nil || v.alias != nil || v.static != nil {
		return
	}
	operand := o.in[o.block.Clobber].root()
	if operand.static != nil || operand.last > i || operand.size != v.size {
		return
	}
	v.taken = operand
	operand.last = v.last
}

// label says for a Profiler where an operator comes from.
func (c *compiler) label(node *op.Node) label {
	kind := fmt.Sprint(node.Op())
	if o, ok := node.Op().(*op.Op); ok {
		kind = o.Name()
	}
	return label{kind, c.origins[node.ID()]}
}
