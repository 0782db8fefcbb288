package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// renameValues gives values of the graph new names, in place; m comes from
// shell. Subgraphs that read a renamed value get the new name too. It fails if
// a new name is taken already.
func renameValues(m *Model, names map[string]string) error {
	g := m.Graph
	taken := ValueNames(g)
	for from, to := range names {
		if _, moved := names[to]; from != to && taken[to] && !moved {
			return &Error{File: m.Path, Msg: fmt.Sprintf("%q cannot be called %q, which is the name of another value", from, to), Err: ErrInvalid}
		}
	}
	to := func(name string) string {
		if n, ok := names[name]; ok {
			return n
		}
		return name
	}
	for _, list := range [][]*pb.ValueInfoProto{g.Input, g.Output, g.ValueInfo} {
		for i, v := range list {
			if n := to(v.GetName()); n != v.GetName() {
				list[i] = renameValue(v, n)
			}
		}
	}
	for i, t := range g.Initializer {
		if n := to(t.GetName()); n != t.GetName() {
			g.Initializer[i] = renameTensor(t, n)
		}
	}
	for _, n := range g.Node {
		for i, v := range n.Input {
			n.Input[i] = to(v)
		}
		for i, v := range n.Output {
			n.Output[i] = to(v)
		}
		for i, a := range n.Attribute {
			if a.GetG() != nil {
				s := &substitution{names: names, keep: true}
				n.Attribute[i] = &pb.AttributeProto{Name: a.GetName(), Type: a.GetType(), G: s.graph(a.GetG(), 0)}
				if s.err != nil {
					return &Error{File: m.Path, Node: NodeName(n), Op: OpName(n), Msg: s.err.Error(), Err: ErrTooLarge}
				}
			}
		}
	}
	return nil
}
