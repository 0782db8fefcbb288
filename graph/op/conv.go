// Conv: https://onnx.ai/onnx/operators/onnx__Conv.html (opsets 1, 11, 22; the
// versions differ in types only).

package op

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/kernel"
)

func init() { register("Conv", buildConv) }

// Conv is a convolution: inputs x (N,C,H,W), w (O,C/G,KH,KW) and, with Bias,
// bias (O); output (N,O,OH,OW). Act is an activation that follows it.
type Conv struct{ kernel.Conv }

// Name implements Spec.
func (Conv) Name() string { return "Conv" }

// DiffWRT implements Spec.
func (Conv) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (c Conv) Lower(b *Block) error {
	if c.Bias {
		b.Call(c.Conv, b.In(0), b.In(1), b.In(2), b.Out())
	} else {
		b.Call(c.Conv, b.In(0), b.In(1), b.Out())
	}
	return nil
}

// SymDiff implements Spec.
func (c Conv) SymDiff(in gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error) {
	grad, err := behind(c.Act, output, grad)
	if err != nil {
		return nil, err
	}
	dx, err := apply(ConvData{c.Geometry}, c.X(), grad, in[1])
	if err != nil {
		return nil, err
	}
	dw, err := apply(ConvFilter{c.Geometry}, c.Filter(), in[0], grad)
	if err != nil {
		return nil, err
	}
	r := gorgonia.Nodes{dx, dw}
	if c.Bias {
		db, err := apply(Reduce{Op: kernel.ReduceSum, Kept: []int{1, c.O, 1, 1}}, []int{c.O}, grad)
		if err != nil {
			return nil, err
		}
		r = append(r, db)
	}
	return r, nil
}

// ConvData is the gradient of Conv by x, and the forward pass of
// ConvTranspose: inputs dy (N,O,OH,OW) and w; output (N,C,H,W).
type ConvData struct{ kernel.Geometry }

// Name implements Spec.
func (ConvData) Name() string { return "Conv.dx" }

// DiffWRT implements Spec.
func (ConvData) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (c ConvData) Lower(b *Block) error {
	b.Call(kernel.ConvBackwardData{Geometry: c.Geometry}, b.In(0), b.In(1), b.Out())
	return nil
}

// SymDiff implements Spec: the map is linear in both inputs.
func (c ConvData) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	return both(
		func() (*Node, error) {
			return apply(Conv{kernel.Conv{Geometry: c.Geometry}}, c.Y(), grad, in[1])
		},
		func() (*Node, error) { return apply(ConvFilter(c), c.Filter(), grad, in[0]) },
	)
}

// ConvFilter is the gradient of Conv by w: inputs x (N,C,H,W) and dy
// (N,O,OH,OW); output (O,C/G,KH,KW).
type ConvFilter struct{ kernel.Geometry }

// Name implements Spec.
func (ConvFilter) Name() string { return "Conv.dw" }

// DiffWRT implements Spec.
func (ConvFilter) DiffWRT(inputs int) []bool { return all(inputs) }

// Lower implements Spec.
func (c ConvFilter) Lower(b *Block) error {
	b.Call(kernel.ConvBackwardFilter{Geometry: c.Geometry}, b.In(0), b.In(1), b.Out())
	return nil
}

// SymDiff implements Spec: the map is linear in both inputs.
func (c ConvFilter) SymDiff(in gorgonia.Nodes, _, grad *Node) (gorgonia.Nodes, error) {
	return both(
		func() (*Node, error) { return apply(ConvData(c), c.X(), in[1], grad) },
		func() (*Node, error) {
			return apply(Conv{kernel.Conv{Geometry: c.Geometry}}, c.Y(), in[0], grad)
		},
	)
}

// both collects the gradients of an operator of two inputs.
func both(first, second func() (*Node, error)) (gorgonia.Nodes, error) {
	a, err := first()
	if err != nil {
		return nil, err
	}
	b, err := second()
	if err != nil {
		return nil, err
	}
	return gorgonia.Nodes{a, b}, nil
}

func buildConv(s *Source) ([]*Node, error) {
	x, err := s.node(0)
	if err != nil {
		return nil, err
	}
	w, err := s.node(1)
	if err != nil {
		return nil, err
	}
	group, err := attrInt(s, "group", 1)
	if err != nil {
		return nil, err
	}
	if x.Dims() != w.Dims() || x.Dims() < 3 {
		return nil, fmt.Errorf("input of shape %v does not fit weights of shape %v", x.Shape(), w.Shape())
	}
	win, err := window(s, x.Dims()-2, 2, shapeOf(w)[2:])
	if err != nil {
		return nil, err
	}
	rank := x.Dims()
	if x, err = spatial(x); err != nil {
		return nil, err
	}
	if w, err = spatial(w); err != nil {
		return nil, err
	}
	xs, ws := x.Shape(), w.Shape()
	g := kernel.Geometry{N: xs[0], C: xs[1], H: xs[2], W: xs[3], O: ws[0], KH: ws[2], KW: ws[3], Groups: group}
	switch {
	case group < 1 || g.C%group != 0 || g.O%group != 0:
		return nil, fmt.Errorf("group %d does not divide %d input and %d output channels", group, g.C, g.O)
	case ws[1] != g.C/group:
		return nil, fmt.Errorf("weights of shape %v want %d input channels, the input of shape %v has %d", ws, ws[1]*group, xs, g.C)
	}
	if err := win.place(&g, false); err != nil {
		return nil, err
	}
	in := []*Node{x, w}
	d := kernel.Conv{Geometry: g, Bias: s.has(2)}
	if d.Bias {
		bias, err := s.node(2)
		if err != nil {
			return nil, err
		}
		if bias.Dims() != 1 || bias.Shape()[0] != g.O {
			return nil, fmt.Errorf("bias has shape %v, want (%d)", bias.Shape(), g.O)
		}
		in = append(in, bias)
	}
	y, err := apply(Conv{d}, g.Y(), in...)
	if err != nil {
		return nil, err
	}
	return one(unspatial(y, rank))
}

// unspatial undoes spatial for a tensor (N,C,1,W) or (N,C,H,W).
func unspatial(y *Node, rank int) (*Node, error) {
	if rank == 3 {
		s := y.Shape()
		return reshape(y, []int{s[0], s[1], s[3]})
	}
	return y, nil
}
