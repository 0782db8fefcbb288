package onnx

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// foldLimit is the largest constant, in elements, that Specialize computes:
// 64 MiB of float32. Larger ones stay as nodes.
const foldLimit = 16 << 20

// foldBudget bounds the elements computed in one call, so that a malformed
// file cannot ask for more than about a GiB.
const foldBudget = 256 << 20

// Specialize returns the model for one shape of every input, ready to be
// compiled, and the shape of every value in it:
//
//   - functions are replaced by their bodies, except those with a kernel of
//     their own (IsKernelFunction);
//   - every shape is a number, automatic padding included: pads and
//     kernel_shape of convolutions and pools are written out;
//   - shape arithmetic and other constant subgraphs are initializers, named as
//     the value was;
//   - nodes that no output needs are gone, the rest is in topological order.
//
// Parameters are the float initializers and float Constant nodes of rank 1 or
// more. They keep their names (an Identity of one is replaced by the one), and
// what is computed from them stays a node, so that training can change them;
// only integer results, and small values that an operator reads as settings
// (scales of a Resize, bounds of a Clip), are folded. Everything else that is
// constant is folded: weights made by ConstantOfShape are initializers.
//
// Tensors are shared with m. Inputs without an entry need concrete dimensions
// in the file. Operators without a shape rule give an *UnsupportedError that
// lists all of them.
func Specialize(m *Model, inputs map[string][]int) (*Model, map[string][]int, error) {
	flat, err := Inline(m, IsKernelFunction)
	if err != nil {
		return nil, nil, err
	}
	a, err := newAnalysis(flat, inputs)
	if err != nil {
		return nil, nil, err
	}
	for name := range inputs {
		if !slices.ContainsFunc(flat.Inputs(), func(v *pb.ValueInfoProto) bool { return v.GetName() == name }) {
			return nil, nil, a.failure(nil, ErrInvalid, "the model has no input %q", name)
		}
	}
	for _, v := range flat.Inputs() {
		info := a.value(v.GetName()).Info
		if _, ok := concreteDims(info.Dims); !ok || !info.Known {
			e := a.failure(nil, ErrInvalid, "input %q has the shape %v", v.GetName(), info)
			e.Remedy = "give it concrete dimensions"
			return nil, nil, e
		}
	}
	s := &specializer{analysis: a, alias: map[string]string{}, folded: map[string]*pb.TensorProto{},
		outputs: map[string]bool{}}
	for _, o := range flat.GetGraph().GetOutput() {
		s.outputs[o.GetName()] = true
	}
	a.limit, a.after = foldLimit, s.visit
	if err := a.run(); err != nil {
		return nil, nil, err
	}
	return s.build()
}

type specializer struct {
	*analysis
	alias   map[string]string          // Identity of an initializer -> its name
	folded  map[string]*pb.TensorProto // computed constants, by value
	order   []string                   // of folded
	kept    []*pb.NodeProto
	outputs map[string]bool // of the graph
}

// visit decides what becomes of a node.
func (s *specializer) visit(c *call) error {
	if c.n.GetOpType() == "Identity" && len(c.out) > 0 && c.in[0].proto != nil && !s.outputs[c.n.GetOutput()[0]] {
		out := c.out[0]
		out.proto, out.param = c.in[0].proto, c.in[0].param
		s.alias[c.n.GetOutput()[0]] = s.resolve(c.n.GetInput()[0])
		return nil
	}
	if !s.constant(c) {
		s.kept = append(s.kept, c.n)
		return nil
	}
	for k, name := range c.n.GetOutput() {
		if name == "" {
			continue
		}
		v := c.out[k]
		if v.proto == nil {
			p, err := v.data.write(name)
			if err != nil {
				return err
			}
			v.proto = p
		}
		if v.data != nil && v.data.len() > constantLimit {
			v.data = nil // proto has it
		}
		s.folded[name] = v.proto
		s.order = append(s.order, name)
	}
	return nil
}

// constant reports whether every output of a node is known and may be stored.
func (s *specializer) constant(c *call) bool {
	for k, name := range c.n.GetOutput() {
		v := c.out[k]
		switch {
		case name == "":
		case c.n.GetOpType() == "Constant" && v.proto != nil:
		case v.param || v.data == nil || v.data.symbolic():
			return false
		}
	}
	return len(c.out) > 0
}

func (s *specializer) resolve(name string) string {
	if to, ok := s.alias[name]; ok {
		return to
	}
	return name
}

// settings are the inputs that operators read once, as attributes: computed
// from parameters or not, they are constants.
var settings = map[string][]int{
	"Resize": {1, 2, 3}, "Upsample": {1}, "Pad": {1, 2, 3}, "Clip": {1, 2}, "Dropout": {1, 2},
}

// build assembles the model from the kept nodes.
func (s *specializer) build() (*Model, map[string][]int, error) {
	var extra []*pb.TensorProto
	made := map[string]bool{}
	for _, n := range s.kept {
		for k, v := range n.Input {
			n.Input[k] = s.resolve(v)
		}
		for _, k := range settings[n.GetOpType()] {
			if k >= len(n.Input) || n.Input[k] == "" {
				continue
			}
			v := s.value(n.Input[k])
			if v.proto != nil || v.data == nil || v.data.symbolic() {
				continue
			}
			name := n.Input[k] + "/constant"
			if s.values[name] != nil && !made[name] {
				continue
			}
			n.Input[k] = name
			if made[name] {
				continue
			}
			p, err := v.data.write(name)
			if err != nil {
				return nil, nil, err
			}
			made[name] = true
			s.values[name] = &value{Info: v.Info, proto: p}
			extra = append(extra, p)
		}
	}
	live := map[string]bool{}
	for name := range s.outputs {
		live[s.resolve(name)] = true
	}
	var nodes []*pb.NodeProto
	for _, n := range slices.Backward(s.kept) {
		if !slices.ContainsFunc(n.GetOutput(), func(o string) bool { return o != "" && live[o] }) {
			continue
		}
		for _, v := range n.GetInput() {
			live[v] = true
		}
		nodes = append(nodes, n)
	}
	slices.Reverse(nodes)
	shapes := map[string][]int{}
	out := shell(s.m)
	g := out.Graph
	g.Node, g.ValueInfo, g.Initializer, g.Input, g.SparseInitializer = nodes, nil, nil, nil, nil
	note := func(name string) error {
		if name == "" {
			return nil
		}
		v := s.value(name)
		dims, ok := concreteDims(v.Dims)
		if !ok || !v.Known {
			return s.failure(nil, ErrUnsupported, "the shape %v of %q depends on the input's contents", v.Info, name)
		}
		shapes[name] = dims
		return nil
	}
	for _, v := range s.m.Inputs() {
		if err := note(v.GetName()); err != nil {
			return nil, nil, err
		}
		g.Input = append(g.Input, s.declare(v.GetName()))
	}
	for _, t := range s.m.GetGraph().GetInitializer() {
		if live[t.GetName()] {
			g.Initializer = append(g.Initializer, t)
		}
	}
	for _, name := range s.order {
		if live[name] {
			g.Initializer = append(g.Initializer, s.folded[name])
		}
	}
	for _, t := range extra {
		if live[t.GetName()] {
			g.Initializer = append(g.Initializer, t)
		}
	}
	for _, t := range g.Initializer {
		shapes[t.GetName()] = Dims(t)
	}
	for k, n := range nodes {
		for _, o := range n.GetOutput() {
			if err := note(o); err != nil {
				e := err.(*Error)
				e.Node, e.Op = NodeName(n), OpName(n)
				return nil, nil, e
			}
		}
		var err error
		if nodes[k], err = s.explicit(n); err != nil {
			return nil, nil, err
		}
	}
	for k, o := range g.Output {
		if err := note(o.GetName()); err != nil {
			return nil, nil, err
		}
		g.Output[k] = s.declare(o.GetName())
	}
	out.IrVersion = max(out.IrVersion, 4) // initializers are not inputs
	out.TrainingInfo = nil
	return out, shapes, nil
}

// declare states type and shape of a value.
func (s *specializer) declare(name string) *pb.ValueInfoProto {
	return declare(name, s.value(name).Info)
}

// declare states a type and shape in a file.
func declare(name string, info Info) *pb.ValueInfoProto {
	t := &pb.TypeProto_Tensor{ElemType: int32(info.DType)}
	if info.Known {
		t.Shape = &pb.TensorShapeProto{}
		for _, d := range info.Dims {
			dim := &pb.TensorShapeProto_Dimension{}
			switch {
			case d.Size >= 0:
				dim.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: d.Size}
			case d.Param != "":
				dim.Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: d.Param}
			}
			t.Shape.Dim = append(t.Shape.Dim, dim)
		}
	}
	return &pb.ValueInfoProto{Name: name, Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{TensorType: t}}}
}

// explicit writes out the window of a convolution or pool: kernel_shape, and
// pads instead of auto_pad and output_shape.
func (s *specializer) explicit(n *pb.NodeProto) (*pb.NodeProto, error) {
	x, kernel := 0, []int64(nil)
	switch n.GetOpType() {
	case "Conv", "ConvInteger", "ConvTranspose":
		kernel, _ = sizesOf(s.value(n.GetInput()[1]).Dims[2:])
	case "QLinearConv":
		kernel, _ = sizesOf(s.value(n.GetInput()[3]).Dims[2:])
	case "MaxPool", "AveragePool", "LpPool":
	default:
		return n, nil
	}
	if NormalDomain(n.GetDomain()) != "" {
		return n, nil
	}
	n = copyNode(n)
	in := s.value(n.GetInput()[x])
	c := &call{a: s.analysis, n: n, version: s.m.Opset(n.GetDomain())}
	var w *window
	var err error
	if n.GetOpType() == "ConvTranspose" {
		_, w, err = c.transposed(in, s.value(n.GetInput()[1]))
		if auto := AttrString(n, "auto_pad", "NOTSET"); auto != "NOTSET" && auto != "" {
			if err == nil && Attr(n, "output_shape") != nil {
				DeleteAttr(n, "output_shape")
				SetAttr(n, IntsAttr("output_padding", w.extra...))
			}
		} // otherwise it stays: it may ask for more than pads can say
	} else {
		if w, err = c.window(len(in.Dims)-2, kernel); err == nil {
			_, err = c.windowShape(in, w, in.Dims[1])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("node %q: %w", NodeName(n), err)
	}
	DeleteAttr(n, "auto_pad")
	SetAttr(n, IntsAttr("pads", slices.Concat(w.begin, w.end)...))
	SetAttr(n, IntsAttr("kernel_shape", w.kernel...))
	return n, nil
}
