package onnx

import (
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Unshare gives every use of a parameter a tensor of its own. Exporters merge
// parameters that happen to be equal when a model is written (all scales of 1,
// all shifts of 0); trained on, they would have to stay equal. A parameter
// that passes through an Identity takes the name of the Identity's output,
// which is what PyTorch's exporter calls the original; other copies are named
// after the first with a number. Scalars and integers stay shared.
//
// A model that shares weights on purpose loses that.
func Unshare(m *Model) (*Model, error) {
	out := shell(m)
	g := out.Graph
	params := map[string]*pb.TensorProto{}
	for _, t := range g.Initializer {
		if isParam(t) {
			params[t.GetName()] = t
		}
	}
	outputs := map[string]bool{}
	for _, o := range g.Output {
		outputs[o.GetName()] = true
	}
	taken := ValueNames(g)
	var added []*pb.TensorProto
	order, cycle := topological(g.Node)
	if cycle != nil {
		return nil, &Error{File: m.Path, Node: NodeName(cycle), Op: OpName(cycle), Err: ErrInvalid, Msg: "the node depends on its own output"}
	}
	g.Node = slices.DeleteFunc(order, func(n *pb.NodeProto) bool {
		if OpName(n) != "Identity" || len(n.Input) != 1 || len(n.Output) != 1 || outputs[n.Output[0]] || params[n.Input[0]] == nil {
			return false
		}
		t := renameTensor(params[n.Input[0]], n.Output[0])
		params[t.GetName()] = t
		added = append(added, t)
		return true
	})
	used := map[string]bool{}
	for _, n := range g.Node {
		for k, name := range n.Input {
			t := params[name]
			if t == nil || slices.Contains(settings[n.GetOpType()], k) {
				continue
			}
			if !used[name] {
				used[name] = true
				continue
			}
			c := renameTensor(t, taken.Fresh(name))
			n.Input[k] = c.GetName()
			added = append(added, c)
		}
	}
	g.Initializer = append(g.Initializer, added...)
	// Stored tensors that older files also list as inputs, and what only an
	// Identity read.
	read := map[string]bool{}
	for _, n := range g.Node {
		for name := range reads(n) {
			read[name] = true
		}
	}
	g.Initializer = slices.DeleteFunc(g.Initializer, func(t *pb.TensorProto) bool {
		return isParam(t) && !read[t.GetName()] && !outputs[t.GetName()]
	})
	dropStoredInputs(out)
	out.IrVersion = max(out.IrVersion, irFreeInitializers)
	return out, nil
}

// dropStoredInputs removes stored tensors from the graph's inputs.
func dropStoredInputs(m *Model) {
	feed := map[*pb.ValueInfoProto]bool{}
	for _, v := range m.Inputs() {
		feed[v] = true
	}
	m.Graph.Input = slices.DeleteFunc(m.Graph.Input, func(v *pb.ValueInfoProto) bool { return !feed[v] })
	// What was dropped with its tensor is no input either.
	used := map[string]bool{}
	for _, n := range m.Graph.Node {
		for name := range reads(n) {
			used[name] = true
		}
	}
	for _, v := range m.Graph.Output {
		used[v.GetName()] = true
	}
	m.Graph.Input = slices.DeleteFunc(m.Graph.Input, func(v *pb.ValueInfoProto) bool { return !used[v.GetName()] })
}
