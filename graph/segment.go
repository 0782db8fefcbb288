package graph

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/graph/op"
)

// The forward pass is cut into segments. What is read across a cut is kept;
// everything else between two cuts is computed again when the backward pass gets
// there, after Chen et al., "Training Deep Nets with Sublinear Memory Cost"
// (2016). The smallest arena decides where to cut: segments of many sizes are
// tried.

// segmentSizes is how many sizes of segments are tried, each a fraction of the
// one before.
const segmentSizes = 24

// segment is a part of the forward pass.
type segment struct {
	end   int  // its last operation
	again bool // computed a second time
}

// segmenter looks for the best segments of one list of operations.
type segmenter struct {
	*compiler
	ops     []*operation // as they are without second computations
	forward int          // how many of them lead to the loss
}

// recomputeSegments replaces c.ops by the list with the smallest arena.
func (c *compiler) recomputeSegments() error {
	if c.total == nil {
		c.recomputeCheap() // gradients from elsewhere have no forward pass to cut
		return nil
	}
	if err := c.measureScratch(); err != nil {
		return err
	}
	s := &segmenter{compiler: c, ops: c.ops, forward: c.lossAt() + 1}
	c.recomputeCheap()
	best, size := c.ops, c.arena()
	fits := func(cut []segment, limit int) bool {
		s.apply(cut)
		if peak, _ := c.peak(); peak > limit {
			return false
		}
		arena := c.arena()
		if arena > limit {
			return false
		}
		best, size = c.ops, arena
		return true
	}
	var chosen []segment
	budget := s.large()
	for range segmentSizes {
		budget -= budget / 5
		if cut := s.cut(budget); fits(cut, size-1) {
			chosen = cut
		}
	}
	// What can stay in an arena of that size is not computed twice.
	for i := range chosen {
		chosen[i].again = false
		chosen[i].again = !fits(chosen, size)
	}
	c.ops = best
	return nil
}

// large returns the bytes of everything in the forward pass that is worth a
// second computation.
func (s *segmenter) large() int {
	sum := 0
	for _, o := range s.ops[:s.forward] {
		if s.isLarge(o) {
			sum += o.out.size
		}
	}
	return sum
}

// isLarge says whether an operation makes what is worth a second computation.
func (s *segmenter) isLarge(o *operation) bool {
	v := o.out
	return v != nil && v.alias == nil && v.static == nil && !v.keep && v.size >= s.network.worth.size && len(o.block.Calls) > 0
}

// cut ends a segment where it has made at most budget bytes, at least half of
// them, and where the fewest have to be kept for what follows; of equal places
// the last.
func (s *segmenter) cut(budget int) []segment {
	across := s.across()
	var cut []segment
	made, end, least := 0, -1, math.MaxInt
	for i := 0; i < s.forward; i++ {
		if s.isLarge(s.ops[i]) {
			made += s.ops[i].out.size
		}
		if made > budget && end >= 0 {
			cut = append(cut, segment{end, true})
			i, made, end, least = end, 0, -1, math.MaxInt
			continue
		}
		if made >= budget/2 && across[i] <= least {
			end, least = i, across[i]
		}
	}
	return cut
}

// across returns the bytes that each operation and those before it leave for
// later ones of the forward pass.
func (s *segmenter) across() []int {
	last := map[*value]int{}
	for i, o := range s.ops[:s.forward] {
		for _, v := range o.in {
			last[v.origin()] = i
		}
	}
	bytes, now := make([]int, s.forward), 0
	for i, o := range s.ops[:s.forward] {
		if s.isLarge(o) && last[o.out] > i {
			bytes[i] += o.out.size
			bytes[last[o.out]] -= o.out.size
		}
		now += bytes[i]
		bytes[i] = now
	}
	return bytes
}

// apply sets c.ops to the operations with second computations for a cut.
func (s *segmenter) apply(cut []segment) {
	r := newRewriter(s.ops, s.network.worth)
	at := 0
	for i, o := range s.ops[:s.forward] {
		for at < len(cut) && cut[at].end < i {
			at++
		}
		if at == len(cut) {
			break // the gradients of the last segment come at once
		}
		if !s.isLarge(o) {
			continue
		}
		uses := r.uses[o.out]
		back, _ := slices.BinarySearch(uses, s.forward)
		switch {
		case back > 0 && uses[back-1] > cut[at].end:
			r.kept[o.out] = true
		case cut[at].again && back < len(uses):
			r.cuts[o.out] = uses[back]
		}
	}
	s.compiler.ops = r.rewrite()
	s.recomputeCheap()
}

// measureScratch notes how much scratch memory the kernels want.
func (c *compiler) measureScratch() error {
	c.scratch = map[*op.Block]int{}
	for _, o := range c.ops {
		all := op.Arguments[arg]{Temps: make([]arg, len(o.block.Temps))}
		for _, v := range o.in {
			all.In = append(all.In, arg{half: v.root().half})
		}
		if o.out != nil {
			all.Out.half = o.out.root().half
		}
		for _, call := range o.block.Calls {
			args := make([]arg, len(call.Args))
			for k, r := range call.Args {
				args[k] = all.Resolve(r)
			}
			k, err := c.kernel(o, mix(call.Desc, args))
			if err != nil {
				return fmt.Errorf("%s: %w", o.name, err)
			}
			c.scratch[o.block] += align(k.Scratch())
		}
	}
	return nil
}

// arena returns the size of the arena that c.ops need.
func (c *compiler) arena() int {
	c.lifetimes()
	var regions []*region
	for i, o := range c.ops {
		for _, size := range append(slices.Clone(o.block.Temps), c.scratch[o.block]) {
			regions = append(regions, &region{size: size, first: i, last: i})
		}
	}
	for _, v := range c.arenaValues() {
		regions = append(regions, &region{size: v.size, first: v.first, last: v.last})
	}
	return layout(regions)
}
