package graph

import (
	"slices"
	"strings"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Recompute says which results a training Plan computes a second time in order
// not to keep them from the forward to the backward pass. Both times give the
// same bits, so gradients do not depend on it.
type Recompute uint8

const (
	// RecomputeAuto is RecomputeCheap in float32. In bfloat16, where activations
	// are half as large and convolutions so fast that a pass over memory counts,
	// it is RecomputeNothing.
	RecomputeAuto Recompute = iota
	// RecomputeCheap repeats normalisation and what else passes over memory
	// once, from operands that are kept anyway. It does so only where the Plan
	// gets smaller.
	RecomputeCheap
	// RecomputeNothing keeps everything.
	RecomputeNothing
	// RecomputeSegments also repeats whole segments of the forward pass, right
	// before their backward pass, as the smallest arena asks for: up to one more
	// forward pass of time. Statistics are kept and updated once; dropout drops
	// the same again.
	RecomputeSegments
)

// again follows the kind of an operation that runs a second time, in profiles.
const again = " again"

// cheapDepth bounds how many operations one second computation takes.
const cheapDepth = 3

// worth is what makes a value worth a second computation.
type worth struct {
	size int // bytes; smaller values, such as statistics, are kept
	gap  int // operations for which it lies idle
}

var defaultWorth = worth{size: 64 << 10, gap: 16}

// rewriter plans second computations: from operation cuts[v] on, readers of v
// read a copy that is made right before the first of them.
type rewriter struct {
	worth
	ops    []*operation
	maker  map[*value]int   // the operation that makes a value
	uses   map[*value][]int // the operations that read it, in order
	cuts   map[*value]int
	kept   map[*value]bool // to be there for every second computation
	copies map[*value]*value
	out    []*operation
	from   []int // where in ops each of out belongs
}

func newRewriter(ops []*operation, w worth) *rewriter {
	r := &rewriter{worth: w, ops: ops, maker: map[*value]int{}, uses: map[*value][]int{}, cuts: map[*value]int{}, kept: map[*value]bool{}}
	for i, o := range ops {
		for _, v := range o.in {
			v = v.origin()
			if u := r.uses[v]; len(u) == 0 || u[len(u)-1] != i {
				r.uses[v] = append(u, i)
			}
		}
		for v := range o.results {
			if v.alias == nil {
				r.maker[v] = i
			}
		}
	}
	return r
}

// recompute replaces c.ops by a list that needs a smaller arena, if there is
// one.
func (c *compiler) recompute() error {
	switch how := c.spec.Recompute; {
	case c.spec.Mode != Train:
	case how == RecomputeCheap, how == RecomputeAuto && c.spec.Precision == Float32:
		c.recomputeCheap()
	case how == RecomputeSegments:
		return c.recomputeSegments()
	}
	return nil
}

// recomputeCheap is recompute for what one pass over memory makes.
func (c *compiler) recomputeCheap() {
	kept := c.ops
	before, _ := c.peak()
	r := newRewriter(c.ops, c.network.worth)
	r.cutCheap()
	c.ops = r.rewrite()
	after, at := c.peak()
	if after >= before {
		c.ops = kept
		return
	}
	// What does not lie idle while most memory is in use is repeated for
	// nothing.
	cuts := r.cuts
	r.cuts = map[*value]int{}
	for v, cut := range cuts {
		if cut > r.from[at] {
			r.cuts[v] = cut
		}
	}
	all := c.ops
	c.ops = r.rewrite()
	if peak, _ := c.peak(); peak > after {
		c.ops = all
	}
}

// cutCheap cuts every value that lies idle for long and is made by operations
// that pass over memory once, of values that are there at its end. A value is
// looked at after its operands, which may have been cut.
func (r *rewriter) cutCheap() {
	for i, o := range r.ops {
		v := o.out
		if !repeatable(o) || v.keep || v.static != nil || v.size < r.size {
			continue
		}
		if at := r.gap(v, i); at > 0 && r.canRepeat(o, at, cheapDepth) {
			r.cuts[v] = at
		}
	}
}

// gap returns the reader at the end of the longest time in which nothing reads
// a value, 0 if none is long.
func (r *rewriter) gap(v *value, made int) int {
	at, longest, before := 0, r.worth.gap, made
	for _, use := range r.uses[v] {
		if use-before > longest {
			at, longest = use, use-before
		}
		before = use
	}
	return at
}

// canRepeat says whether an operation can run again before operation at.
func (r *rewriter) canRepeat(o *operation, at, depth int) bool {
	for _, v := range o.in {
		if v = v.origin(); r.there(v, at) {
			continue
		}
		i, made := r.maker[v]
		if !made || depth == 1 || !repeatable(r.ops[i]) || !r.canRepeat(r.ops[i], at, depth-1) {
			return false
		}
	}
	return true
}

// there says whether a value or its copy has to be in memory before operation
// at for another reason than a second computation.
func (r *rewriter) there(v *value, at int) bool {
	if v.static != nil || v.keep || v.size < r.size || r.kept[v] {
		return true
	}
	uses := r.uses[v]
	if len(uses) == 0 || uses[len(uses)-1] < at {
		return false
	}
	cut, ok := r.cuts[v]
	if !ok || at >= cut {
		return true
	}
	i, _ := slices.BinarySearch(uses, cut)
	return i > 0 && at <= uses[i-1]
}

// rewrite returns the operations with the second computations among them.
func (r *rewriter) rewrite() []*operation {
	r.copies, r.out, r.from = map[*value]*value{}, nil, nil
	for i, o := range r.ops {
		in := slices.Clone(o.in)
		for k, v := range in {
			if cut, ok := r.cuts[v.origin()]; ok && i >= cut {
				in[k] = r.again(v.origin(), i)
			}
		}
		changed := *o
		changed.in = in
		r.emit(&changed, i)
	}
	return r.out
}

// again returns the copy of a value, which it has made before operation at.
func (r *rewriter) again(v *value, at int) *value {
	if w := r.copies[v]; w != nil {
		return w
	}
	o := *r.ops[r.maker[v]]
	o.in = slices.Clone(o.in)
	for k, x := range o.in {
		x = x.origin()
		if cut, ok := r.cuts[x]; ok && at >= cut || !r.there(x, at) {
			o.in[k] = r.again(x, at)
		}
	}
	o.out = &value{size: v.size, half: v.half}
	if !strings.HasSuffix(o.label.kind, again) {
		o.label.kind += again
	}
	r.emit(&o, at)
	r.copies[v] = o.out
	return o.out
}

func (r *rewriter) emit(o *operation, at int) {
	r.out = append(r.out, o)
	r.from = append(r.from, at)
}

// repeatable says whether an operation is a pass or two over memory.
func repeatable(o *operation) bool {
	if o.out == nil || o.out.alias != nil || o.beside != nil || len(o.block.Calls) == 0 {
		return false
	}
	for _, call := range o.block.Calls {
		switch call.Desc.(type) {
		case kernel.BatchNorm, kernel.Unary, kernel.Binary, kernel.AddN, kernel.Fill, kernel.Dropout:
		default:
			return false
		}
	}
	return true
}

// peak returns the most bytes of the arena that c.ops have in use at a time,
// with the kernels' scratch where that was measured, and the operation at which
// they do.
func (c *compiler) peak() (most, at int) {
	c.lifetimes()
	change := make([]int, len(c.ops)+2)
	for _, v := range c.arenaValues() {
		change[v.first] += align(v.size)
		change[v.last+1] -= align(v.size)
	}
	now := 0
	for i, o := range c.ops {
		now += change[i]
		use := now + c.scratch[o.block]
		for _, size := range o.block.Temps {
			use += align(size)
		}
		if use > most {
			most, at = use, i
		}
	}
	return most, at
}
