package export

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// editor changes a graph in place.
type editor struct {
	m     *onnx.Model
	g     *pb.GraphProto
	names onnx.Names // of values and nodes
}

func newEditor(m *onnx.Model) *editor {
	return &editor{m: m, g: m.GetGraph(), names: onnx.AllNames(m.GetGraph())}
}

// fail makes an error about a node.
func (e *editor) fail(n *pb.NodeProto, err error, remedy, format string, args ...any) error {
	return &onnx.Error{File: e.m.Path, Node: onnx.NodeName(n), Op: onnx.OpName(n), Msg: fmt.Sprintf(format, args...), Remedy: remedy, Err: err}
}

// producers maps every value to the node that makes it.
func (e *editor) producers() map[string]*pb.NodeProto {
	out := make(map[string]*pb.NodeProto, len(e.g.GetNode()))
	for _, n := range e.g.GetNode() {
		for _, o := range n.GetOutput() {
			if o != "" {
				out[o] = n
			}
		}
	}
	return out
}

// uses counts how often each value is read; an output of the graph counts as
// one more reading.
func (e *editor) uses() map[string]int {
	out := map[string]int{}
	for _, v := range e.g.GetOutput() {
		out[v.GetName()]++
	}
	countUses(e.g.GetNode(), out)
	return out
}

func countUses(nodes []*pb.NodeProto, uses map[string]int) {
	for _, n := range nodes {
		for _, in := range n.GetInput() {
			if in != "" {
				uses[in]++
			}
		}
		for _, sub := range onnx.Subgraphs(n) {
			for _, v := range sub.GetOutput() {
				uses[v.GetName()]++
			}
			countUses(sub.GetNode(), uses)
		}
	}
}

// rename replaces values wherever nodes read them. to maps old to new names
// and may hold chains.
func (e *editor) rename(to map[string]string) {
	if len(to) == 0 {
		return
	}
	last := func(name string) string {
		for {
			next, ok := to[name]
			if !ok {
				return name
			}
			name = next
		}
	}
	var walk func(nodes []*pb.NodeProto)
	walk = func(nodes []*pb.NodeProto) {
		for _, n := range nodes {
			for i, in := range n.GetInput() {
				n.Input[i] = last(in)
			}
			for _, sub := range onnx.Subgraphs(n) {
				for _, v := range sub.GetOutput() {
					v.Name = last(v.GetName())
				}
				walk(sub.GetNode())
			}
		}
	}
	walk(e.g.GetNode())
}

// move gives a value that a node or an initializer makes another name.
func (e *editor) move(from, to string) {
	for _, n := range e.g.GetNode() {
		for i, o := range n.GetOutput() {
			if o == from {
				n.Output[i] = to
			}
		}
	}
	for _, t := range e.g.GetInitializer() {
		if t.GetName() == from {
			t.Name = to
		}
	}
	e.rename(map[string]string{from: to})
}

// claim frees a name for an output of the graph: the value that has it gets
// another, which is returned.
func (e *editor) claim(name string) string {
	moved := name
	if e.names[name] {
		moved = e.names.Fresh(name + "_inner")
		e.move(name, moved)
	}
	e.names[name] = true
	return moved
}

// add appends a node of ai.onnx with one output and returns the output's name.
func (e *editor) add(op, output string, inputs []string, attrs ...*pb.AttributeProto) string {
	e.g.Node = append(e.g.Node, e.node(op, output, inputs, attrs...))
	return output
}

func (e *editor) node(op, output string, inputs []string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	return &pb.NodeProto{Name: e.names.Fresh("export/" + output), OpType: op, Input: inputs, Output: []string{output}, Attribute: attrs}
}

// constant adds an initializer under an unused name like t's and returns it.
func (e *editor) constant(t *pb.TensorProto) string {
	t.Name = e.names.Fresh(t.GetName())
	e.g.Initializer = append(e.g.Initializer, t)
	return t.Name
}

// prune drops nodes that no output needs, and initializers, functions and
// operator sets that no node needs. Types recorded for values go too: what
// they say of removed or resized values is no longer true.
func (e *editor) prune() {
	needed := map[string]bool{}
	for _, v := range e.g.GetOutput() {
		needed[v.GetName()] = true
	}
	var kept []*pb.NodeProto
	for i := len(e.g.Node) - 1; i >= 0; i-- {
		n := e.g.Node[i]
		wanted := false
		for _, o := range n.GetOutput() {
			wanted = wanted || needed[o]
		}
		if !wanted {
			continue
		}
		kept = append(kept, n)
		uses := map[string]int{}
		countUses([]*pb.NodeProto{n}, uses)
		for name := range uses {
			needed[name] = true
		}
	}
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	e.g.Node = kept

	var stored []*pb.TensorProto
	for _, t := range e.g.GetInitializer() {
		if needed[t.GetName()] {
			stored = append(stored, t)
		}
	}
	dropped := map[string]bool{}
	for _, t := range e.g.GetInitializer() {
		dropped[t.GetName()] = !needed[t.GetName()]
	}
	var inputs []*pb.ValueInfoProto
	for _, v := range e.g.GetInput() {
		if !dropped[v.GetName()] {
			inputs = append(inputs, v)
		}
	}
	e.g.Initializer, e.g.Input = stored, inputs
	e.g.ValueInfo, e.g.QuantizationAnnotation = nil, nil
	e.pruneFunctions()
}

// pruneFunctions keeps the functions that are called, directly or by another
// one, and the operator sets in use.
func (e *editor) pruneFunctions() {
	domains, called := map[string]bool{"": true}, map[string]bool{}
	var visit func(nodes []*pb.NodeProto)
	visit = func(nodes []*pb.NodeProto) {
		for _, n := range nodes {
			domains[onnx.NormalDomain(n.GetDomain())] = true
			key := onnx.OpName(n)
			if f := e.m.Function(n.GetDomain(), n.GetOpType()); f != nil && !called[key] {
				called[key] = true
				visit(f.GetNode())
			}
			for _, sub := range onnx.Subgraphs(n) {
				visit(sub.GetNode())
			}
		}
	}
	visit(e.g.GetNode())
	var functions []*pb.FunctionProto
	for _, f := range e.m.GetFunctions() {
		if called[onnx.OpName(&pb.NodeProto{Domain: f.GetDomain(), OpType: f.GetName()})] {
			functions = append(functions, f)
		}
	}
	var opsets []*pb.OperatorSetIdProto
	for _, o := range e.m.GetOpsetImport() {
		if domains[onnx.NormalDomain(o.GetDomain())] {
			opsets = append(opsets, o)
		}
	}
	e.m.Functions, e.m.OpsetImport = functions, opsets
}
