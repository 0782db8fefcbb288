package onnx

import (
	"fmt"
	"maps"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Extract returns the part of a graph that computes outputs from inputs. Any
// value may be an input or an output; an input that was computed by a node
// gets the type and shape that Infer finds. Initializers and functions that
// the part does not use are left out, tensors are shared with m.
//
// It fails where the part needs a graph input that inputs does not list, and
// where a name is unknown.
func Extract(m *Model, inputs, outputs []string) (*Model, error) {
	fail := func(format string, args ...any) error {
		return &Error{File: m.Path, Msg: fmt.Sprintf(format, args...), Err: ErrInvalid}
	}
	out := shell(m)
	g := out.Graph
	producer := map[string]*pb.NodeProto{}
	for _, n := range g.Node {
		for _, o := range n.GetOutput() {
			if o != "" {
				producer[o] = n
			}
		}
	}
	stored := map[string]bool{}
	for _, t := range g.Initializer {
		stored[t.GetName()] = true
	}
	for _, t := range g.SparseInitializer {
		stored[t.GetValues().GetName()] = true
	}
	infos, err := Infer(m)
	if infos == nil {
		return nil, err
	}
	cut := map[string]bool{}
	for _, name := range inputs {
		if cut[name] {
			return nil, fail("input %q is listed twice", name)
		}
		cut[name] = true
	}

	// Everything that the outputs need, up to the inputs.
	live, wanted := map[*pb.NodeProto]bool{}, map[string]bool{}
	missing := map[string]bool{}
	var queue []string
	need := func(name string) {
		if name != "" && !wanted[name] {
			wanted[name] = true
			queue = append(queue, name)
		}
	}
	for _, name := range outputs {
		need(name)
	}
	for len(queue) > 0 {
		name := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		n := producer[name]
		switch {
		case cut[name] || stored[name]:
		case n == nil:
			missing[name] = true
		case !live[n]:
			live[n] = true
			for v := range reads(n) {
				if producer[v] != nil || stored[v] || cut[v] || isInput(g, v) {
					need(v)
				} else if slices.Contains(n.GetInput(), v) {
					need(v) // reported as missing; what else a subgraph reads is its own
				}
			}
		}
	}
	if len(missing) > 0 {
		return nil, fail("outputs %q need %q, which the inputs %q do not give", outputs, slices.Sorted(maps.Keys(missing)), inputs)
	}

	g.Node = slices.DeleteFunc(g.Node, func(n *pb.NodeProto) bool { return !live[n] })
	g.Initializer = slices.DeleteFunc(g.Initializer, func(t *pb.TensorProto) bool { return !wanted[t.GetName()] || cut[t.GetName()] })
	g.SparseInitializer = slices.DeleteFunc(g.SparseInitializer, func(t *pb.SparseTensorProto) bool { return !wanted[t.GetValues().GetName()] })
	declaredAs := map[string]*pb.ValueInfoProto{}
	for _, v := range slices.Concat(g.Input, g.Output) {
		declaredAs[v.GetName()] = v
	}
	state := func(name string) (*pb.ValueInfoProto, error) {
		if v := declaredAs[name]; v != nil {
			return v, nil
		}
		info, ok := infos[name]
		if !ok || info.DType == pb.TensorProto_UNDEFINED {
			return nil, fail("value %q is not in the graph, or its type is not known", name)
		}
		return declare(name, info), nil
	}
	g.Input, g.Output = nil, nil
	for _, name := range inputs {
		v, err := state(name)
		if err != nil {
			return nil, err
		}
		g.Input = append(g.Input, v)
	}
	for _, name := range outputs {
		v, err := state(name)
		if err != nil {
			return nil, err
		}
		g.Output = append(g.Output, v)
	}
	within := map[string]bool{}
	for n := range live {
		for _, o := range n.GetOutput() {
			within[o] = true
		}
	}
	g.ValueInfo = slices.DeleteFunc(g.ValueInfo, func(v *pb.ValueInfoProto) bool {
		return !within[v.GetName()] || slices.Contains(outputs, v.GetName())
	})
	out.Functions = usedFunctions(out)
	out.TrainingInfo = nil
	out.IrVersion = max(out.IrVersion, IRVersion(out))
	return out, nil
}

func isInput(g *pb.GraphProto, name string) bool {
	return slices.ContainsFunc(g.GetInput(), func(v *pb.ValueInfoProto) bool { return v.GetName() == name })
}

// usedFunctions lists the functions that the graph calls, also through others.
func usedFunctions(m *Model) []*pb.FunctionProto {
	byKey := map[string]*pb.FunctionProto{}
	for _, f := range m.GetFunctions() {
		byKey[functionKey(f.GetDomain(), f.GetName(), f.GetOverload())] = f
	}
	used := map[*pb.FunctionProto]bool{}
	var visit func(nodes []*pb.NodeProto)
	visit = func(nodes []*pb.NodeProto) {
		eachNode(nodes, func(n *pb.NodeProto) {
			if f := byKey[functionKey(n.GetDomain(), n.GetOpType(), n.GetOverload())]; f != nil && !used[f] {
				used[f] = true
				visit(f.GetNode())
			}
		})
	}
	visit(m.GetGraph().GetNode())
	return slices.DeleteFunc(slices.Clone(m.GetFunctions()), func(f *pb.FunctionProto) bool { return !used[f] })
}
