package onnx

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Model is an ONNX model with its weights in memory.
type Model struct {
	*pb.ModelProto
	Path string // the file it came from, for errors; empty for models made in memory
}

// Clone returns a deep copy.
func (m *Model) Clone() *Model {
	return &Model{ModelProto: proto.Clone(m.ModelProto).(*pb.ModelProto), Path: m.Path}
}

// Shallow returns a copy whose nodes and initializers can be replaced, and
// whose nodes can be given other names and attributes, without changing m.
// Tensors and everything else are shared.
func (m *Model) Shallow() *Model {
	graph := shallow(m.Graph)
	graph.Initializer = slices.Clone(graph.Initializer)
	graph.Node = make([]*pb.NodeProto, len(m.Graph.GetNode()))
	for i, n := range m.Graph.GetNode() {
		c := shallow(n)
		c.Input, c.Output, c.Attribute = slices.Clone(c.Input), slices.Clone(c.Output), slices.Clone(c.Attribute)
		graph.Node[i] = c
	}
	out := shallow(m.ModelProto)
	out.Graph = graph
	return &Model{ModelProto: out, Path: m.Path}
}

// Opset returns the version that the model imports of an operator set, or 0.
// "" and "ai.onnx" name the same set.
func (m *Model) Opset(domain string) int64 {
	domain = NormalDomain(domain)
	for _, o := range m.GetOpsetImport() {
		if NormalDomain(o.GetDomain()) == domain {
			return o.GetVersion()
		}
	}
	return 0
}

// SetOpset imports version of an operator set, replacing an import of the same.
func (m *Model) SetOpset(domain string, version int64) {
	for _, o := range m.OpsetImport {
		if NormalDomain(o.GetDomain()) == NormalDomain(domain) {
			o.Version = version
			return
		}
	}
	m.OpsetImport = append(m.OpsetImport, &pb.OperatorSetIdProto{Domain: domain, Version: version})
}

// NormalDomain maps "ai.onnx" to its short form "".
func NormalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// OpName is an operator as errors print it: "Conv", "domain.Op".
func OpName(n *pb.NodeProto) string {
	if d := NormalDomain(n.GetDomain()); d != "" {
		return d + "." + n.GetOpType()
	}
	return n.GetOpType()
}

// NodeName is a node as errors print it: its name or, without one, its first
// output that has one.
func NodeName(n *pb.NodeProto) string {
	if n.GetName() != "" {
		return n.GetName()
	}
	for _, o := range n.GetOutput() {
		if o != "" {
			return o
		}
	}
	return ""
}

// Initializer returns the initializer of that name, or nil.
func (m *Model) Initializer(name string) *pb.TensorProto {
	for _, t := range m.GetGraph().GetInitializer() {
		if t.GetName() == name {
			return t
		}
	}
	return nil
}

// Function returns the model-local function of that name, or nil.
func (m *Model) Function(domain, name string) *pb.FunctionProto {
	for _, f := range m.GetFunctions() {
		if f.GetName() == name && NormalDomain(f.GetDomain()) == NormalDomain(domain) {
			return f
		}
	}
	return nil
}

// Inputs returns the graph inputs that a caller has to feed: those without an
// initializer, which files before IR 4 list among the inputs too.
func (m *Model) Inputs() []*pb.ValueInfoProto {
	g := m.GetGraph()
	stored := make(map[string]bool, len(g.GetInitializer()))
	for _, t := range g.GetInitializer() {
		stored[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		stored[t.GetValues().GetName()] = true
	}
	return slices.DeleteFunc(slices.Clone(g.GetInput()), func(v *pb.ValueInfoProto) bool {
		return stored[v.GetName()]
	})
}
