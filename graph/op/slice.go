// Slice: https://onnx.ai/onnx/operators/onnx__Slice.html (opset 1 with
// attributes; 10, 11, 13 with inputs).
// Split: https://onnx.ai/onnx/operators/onnx__Split.html (opsets 1, 2, 11 with
// an attribute; 13 with an input; 18 with num_outputs).

package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() {
	register("Slice", buildSlice)
	register("Split", buildSplit)
}

// Slice takes a box with a stride: element i of an axis is element
// Start+i*Step of the input.
type Slice struct{ Start, Step []int }

// Name implements Spec.
func (Slice) Name() string { return "Slice" }

// DiffWRT implements Spec.
func (Slice) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (s Slice) Lower(b *Block) error {
	in, out := b.InShape(0), b.OutShape()
	c := kernel.Copy{Shape: out, SrcStrides: kernel.Strides(in), DstStrides: kernel.Strides(out), SrcLen: kernel.Len(in), DstLen: kernel.Len(out)}
	for i := range out {
		c.SrcOffset += s.Start[i] * c.SrcStrides[i]
		c.SrcStrides[i] *= s.Step[i]
	}
	b.Call(c, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec.
func (s Slice) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := apply(Place{Start: s.Start, Step: s.Step}, shapeOf(in[0]), grad)
	return gorgonia.Nodes{dx}, err
}

// Place is the reverse of Slice: the input becomes the box of the output, which
// is Value elsewhere. It is the gradient of Slice and constant padding.
type Place struct {
	Start, Step []int
	Value       float32
}

// Name implements Spec.
func (Place) Name() string { return "Place" }

// DiffWRT implements Spec.
func (Place) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (p Place) Lower(b *Block) error {
	in, out := b.InShape(0), b.OutShape()
	c := kernel.Copy{Shape: in, SrcStrides: kernel.Strides(in), DstStrides: kernel.Strides(out), SrcLen: kernel.Len(in), DstLen: kernel.Len(out)}
	for i, n := range in {
		start, step := p.Start[i], p.Step[i]
		if step < 0 {
			// Only source strides may be negative: walk the axis from its end.
			start, step = start+step*(n-1), -step
			c.SrcOffset += (n - 1) * c.SrcStrides[i]
			c.SrcStrides[i] = -c.SrcStrides[i]
		}
		c.DstOffset += start * c.DstStrides[i]
		c.DstStrides[i] *= step
	}
	b.Call(kernel.Fill{Len: c.DstLen, Value: p.Value}, b.Out())
	b.Call(c, b.In(0), b.Out())
	return nil
}

// SymDiff implements Spec.
func (p Place) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	dx, err := slice(grad, p.Start, p.Step, shapeOf(in[0]))
	return gorgonia.Nodes{dx}, err
}

// slice takes a box, x itself where it is all of it.
func slice(x *Node, start, step, shape []int) (*Node, error) {
	whole := slices.Equal(shape, shapeOf(x))
	for i := range step {
		whole = whole && step[i] == 1
	}
	if whole {
		return x, nil
	}
	return apply(Slice{start, step}, shape, x)
}

// part takes n elements from start on along one axis.
func part(x *Node, axis, start, n int) (*Node, error) {
	shape := shapeOf(x)
	begin, step := make([]int, len(shape)), slices.Repeat([]int{1}, len(shape))
	begin[axis], shape[axis] = start, n
	return slice(x, begin, step, shape)
}

func buildSlice(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	var lists [4][]int
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		if s.Opset < 10 {
			lists[i], err = attrInts(s, name)
		} else if i < 2 || s.has(i+1) {
			lists[i], err = s.ints(i + 1)
		}
		if err != nil {
			return nil, err
		}
	}
	starts, ends, axes, steps := lists[0], lists[1], lists[2], lists[3]
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if steps == nil {
		steps = slices.Repeat([]int{1}, len(starts))
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) != len(starts) {
		return nil, fmt.Errorf("starts %v, ends %v, axes %v and steps %v differ in length", starts, ends, axes, steps)
	}
	shape := shapeOf(x)
	if axes, err = axesOf(axes, len(shape)); err != nil {
		return nil, err
	}
	begin, step := make([]int, len(shape)), slices.Repeat([]int{1}, len(shape))
	for i, a := range axes {
		n := shape[a]
		var count int
		if begin[a], step[a], count, err = span(starts[i], ends[i], steps[i], n); err != nil {
			return nil, fmt.Errorf("axis %d: %w", a, err)
		}
		shape[a] = count
	}
	return one(slice(x, begin, step, shape))
}

// span works out one axis of n elements: from where, by which step, how many.
func span(start, end, step, n int) (int, int, int, error) {
	if step == 0 {
		return 0, 0, 0, fmt.Errorf("step is 0")
	}
	// A step beyond the axis takes one element, whatever its size.
	step = min(max(step, -n), n)
	lo, hi := 0, n
	if step < 0 {
		lo, hi = -1, n-1
	}
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	start = min(max(start, max(lo, 0)), hi)
	end = min(max(end, lo), hi)
	count := 0
	if step > 0 && end > start {
		count = (end - start + step - 1) / step
	}
	if step < 0 && end < start {
		count = (start - end - step - 1) / -step
	}
	if count == 0 {
		return 0, 0, 0, fmt.Errorf("the slice is empty; empty tensors are not supported")
	}
	return start, step, count, nil
}

func buildSplit(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	axis, err := attrInt(s, "axis", 0)
	if err != nil {
		return nil, err
	}
	if axis, err = axisOf(axis, x.Dims()); err != nil {
		return nil, err
	}
	sizes, err := s.intsFrom(1, "split")
	if err != nil {
		return nil, err
	}
	total := x.Shape()[axis]
	if sizes == nil {
		n, err := attrInt(s, "num_outputs", s.Outputs)
		if err != nil {
			return nil, err
		}
		if n < 1 || n > total {
			return nil, fmt.Errorf("%d outputs cannot share %d elements", n, total)
		}
		each := (total + n - 1) / n
		for rest := total; rest > 0; rest -= each {
			sizes = append(sizes, min(each, rest))
		}
	}
	sum := 0
	for _, n := range sizes {
		if n <= 0 || n > total {
			return nil, fmt.Errorf("split %v of %d elements: empty tensors are not supported", sizes, total)
		}
		sum += n
	}
	if sum != total || len(sizes) < s.Outputs {
		return nil, fmt.Errorf("split %v does not share out %d elements to %d outputs", sizes, total, s.Outputs)
	}
	r := make([]*Node, len(sizes))
	at := 0
	for i, n := range sizes {
		if r[i], err = part(x, axis, at, n); err != nil {
			return nil, err
		}
		at += n
	}
	return r, nil
}
