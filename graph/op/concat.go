// Concat: https://onnx.ai/onnx/operators/onnx__Concat.html (opsets 1, 4, 11,
// 13).

package op

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() { register("Concat", buildConcat) }

// Concat joins tensors along an axis. Those of 4 dimensions may be resampled on
// the way where the axis is that of the channels.
type Concat struct {
	Axis int
	// Resampled says how, nil for inputs that are taken as they are.
	Resampled []*Resample
}

// Name implements Spec.
func (Concat) Name() string { return "Concat" }

// DiffWRT implements Spec.
func (Concat) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (c Concat) Lower(b *Block) error {
	out := b.OutShape()
	strides := kernel.Strides(out)
	at := 0
	for i := range b.in {
		in := b.InShape(i)
		if r := c.Resampled[i]; r != nil {
			b.Call(kernel.Resample{N: in[0], C: in[1], Rows: r.Rows, Cols: r.Cols, To: kernel.Channels{First: at, Of: out[1]}}, b.In(i), b.Out())
		} else {
			b.Call(kernel.Copy{
				Shape: in, SrcStrides: kernel.Strides(in), DstStrides: strides, DstOffset: at * strides[c.Axis],
				SrcLen: kernel.Len(in), DstLen: kernel.Len(out),
			}, b.In(i), b.Out())
		}
		at += in[c.Axis]
	}
	return nil
}

// SymDiff implements Spec: every input's gradient is its slice, or that of the
// resampling whose result the slice was.
func (c Concat) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	r := make(gorgonia.Nodes, len(in))
	at := 0
	for i, x := range in {
		var err error
		if how := c.Resampled[i]; how != nil {
			r[i], err = apply(ResampleGrad{Rows: how.Rows.Transpose(), Cols: how.Cols.Transpose(), First: at}, shapeOf(x), grad)
		} else {
			r[i], err = part(grad, c.Axis, at, x.Shape()[c.Axis])
		}
		if err != nil {
			return nil, err
		}
		at += x.Shape()[c.Axis]
	}
	return r, nil
}

func buildConcat(s *Source) ([]*Node, error) {
	in, err := s.nodes()
	if err != nil {
		return nil, err
	}
	axis, err := attrInt(s, "axis", 1)
	if err != nil {
		return nil, err
	}
	out := shapeOf(in[0])
	if axis, err = axisOf(axis, len(out)); err != nil {
		return nil, err
	}
	for _, x := range in[1:] {
		xs := shapeOf(x)
		if len(xs) != len(out) {
			return nil, fmt.Errorf("shapes %v and %v differ in rank", out, xs)
		}
		for i, d := range xs {
			switch {
			case i == axis:
				out[i] += d
			case d != out[i]:
				return nil, fmt.Errorf("shapes %v and %v do not join along axis %d", in[0].Shape(), xs, axis)
			}
		}
	}
	if len(in) == 1 {
		return in, nil
	}
	c := Concat{axis, make([]*Resample, len(in))}
	for i, x := range in {
		if producer, from := s.producer(x); axis == 1 && producer != nil {
			if r, ok := producer.(Resample); ok {
				c.Resampled[i], in[i] = &r, from[0]
			}
		}
	}
	return one(apply(c, out, in...))
}
