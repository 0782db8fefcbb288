package onnx

import (
	"fmt"
	"strconv"

	"github.com/graft-onnx/graft/onnx/pb"
)

// maxInlinedNodes bounds what nested functions may expand to.
const maxInlinedNodes = 1 << 18

// Inline replaces every call of a model-local function by the function's body,
// except of the functions that keep names (nil keeps none). Values of the
// graph keep their names; values inside a body get the call's name in front.
// The tensors are shared with m.
//
// It fails on functions that call themselves, and where a body was written for
// another version of an operator than the one that the model imports.
func Inline(m *Model, keep func(domain, name string) bool) (*Model, error) {
	out := shell(m)
	in := &inliner{m: out, functions: map[string]*pb.FunctionProto{}}
	kept := map[string]bool{}
	for _, f := range m.GetFunctions() {
		key := functionKey(f.GetDomain(), f.GetName(), f.GetOverload())
		if keep != nil && keep(NormalDomain(f.GetDomain()), f.GetName()) {
			kept[key] = true
			continue
		}
		in.functions[key] = f
	}
	if len(in.functions) == 0 {
		return out, nil
	}
	in.used = AllNames(out.Graph)
	nodes, err := in.expand(out.Graph.Node, nil)
	if err != nil {
		return nil, err
	}
	out.Graph.Node = nodes
	out.Functions = nil
	for _, f := range m.GetFunctions() {
		if kept[functionKey(f.GetDomain(), f.GetName(), f.GetOverload())] {
			out.Functions = append(out.Functions, f)
		}
	}
	return out, nil
}

// shell copies a model's structure; nodes are copied one level deep, so that
// inputs, outputs and attribute lists can be changed, tensors are shared.
func shell(m *Model) *Model {
	g := m.GetGraph()
	graph := &pb.GraphProto{
		Name: g.GetName(), DocString: g.GetDocString(),
		Input:  append([]*pb.ValueInfoProto(nil), g.GetInput()...),
		Output: append([]*pb.ValueInfoProto(nil), g.GetOutput()...), ValueInfo: append([]*pb.ValueInfoProto(nil), g.GetValueInfo()...),
		Initializer:            append([]*pb.TensorProto(nil), g.GetInitializer()...),
		SparseInitializer:      append([]*pb.SparseTensorProto(nil), g.GetSparseInitializer()...),
		QuantizationAnnotation: append([]*pb.TensorAnnotation(nil), g.GetQuantizationAnnotation()...),
		MetadataProps:          append([]*pb.StringStringEntryProto(nil), g.GetMetadataProps()...),
	}
	for _, n := range g.GetNode() {
		graph.Node = append(graph.Node, copyNode(n))
	}
	out := &pb.ModelProto{
		IrVersion: m.GetIrVersion(), ProducerName: m.GetProducerName(), ProducerVersion: m.GetProducerVersion(),
		Domain: m.GetDomain(), ModelVersion: m.GetModelVersion(), DocString: m.GetDocString(), Graph: graph,
		TrainingInfo: m.GetTrainingInfo(),
		Functions:    append([]*pb.FunctionProto(nil), m.GetFunctions()...),
	}
	for _, o := range m.GetOpsetImport() {
		out.OpsetImport = append(out.OpsetImport, &pb.OperatorSetIdProto{Domain: o.GetDomain(), Version: o.GetVersion()})
	}
	for _, p := range m.GetMetadataProps() {
		out.MetadataProps = append(out.MetadataProps, &pb.StringStringEntryProto{Key: p.GetKey(), Value: p.GetValue()})
	}
	return &Model{ModelProto: out, Path: m.Path}
}

// copyNode copies a node one level deep.
func copyNode(n *pb.NodeProto) *pb.NodeProto {
	return &pb.NodeProto{
		Input: append([]string(nil), n.GetInput()...), Output: append([]string(nil), n.GetOutput()...),
		Name: n.GetName(), OpType: n.GetOpType(), Domain: n.GetDomain(), Overload: n.GetOverload(),
		Attribute: append([]*pb.AttributeProto(nil), n.GetAttribute()...), DocString: n.GetDocString(),
		MetadataProps: append([]*pb.StringStringEntryProto(nil), n.GetMetadataProps()...),
	}
}

func functionKey(domain, name, overload string) string {
	return NormalDomain(domain) + "\x00" + name + "\x00" + overload
}

type inliner struct {
	m         *Model
	functions map[string]*pb.FunctionProto
	used      Names // of values and nodes
	nodes     int
}

// prefix returns a name that no value begins with yet.
func (in *inliner) prefix(call *pb.NodeProto) string {
	base := NodeName(call)
	if base == "" {
		base = call.GetOpType()
	}
	p := base + "/"
	for i := 2; in.used[p]; i++ {
		p = base + "_" + strconv.Itoa(i) + "/"
	}
	in.used[p] = true
	return p
}

func (in *inliner) expand(nodes []*pb.NodeProto, stack []string) ([]*pb.NodeProto, error) {
	var out []*pb.NodeProto
	for _, n := range nodes {
		for i, a := range n.GetAttribute() {
			g := a.GetG()
			if g == nil {
				continue
			}
			body, err := in.expand(g.GetNode(), stack)
			if err != nil {
				return nil, err
			}
			n.Attribute[i] = &pb.AttributeProto{Name: a.GetName(), Type: a.GetType(), G: withNodes(g, body)}
		}
		f := in.functions[functionKey(n.GetDomain(), n.GetOpType(), n.GetOverload())]
		if f == nil {
			if in.nodes++; in.nodes > maxInlinedNodes {
				return nil, &Error{File: in.m.Path, Node: NodeName(n), Op: OpName(n), Err: ErrTooLarge,
					Msg: fmt.Sprintf("functions expand to more than %d nodes", maxInlinedNodes)}
			}
			out = append(out, n)
			continue
		}
		for _, s := range stack {
			if s == OpName(n) {
				return nil, &Error{File: in.m.Path, Node: NodeName(n), Op: OpName(n), Err: ErrInvalid, Msg: "the function calls itself"}
			}
		}
		body, err := in.body(n, f)
		if err != nil {
			return nil, err
		}
		body, err = in.expand(body, append(stack, OpName(n)))
		if err != nil {
			return nil, err
		}
		out = append(out, body...)
	}
	return out, nil
}

func withNodes(g *pb.GraphProto, nodes []*pb.NodeProto) *pb.GraphProto {
	return &pb.GraphProto{Node: nodes, Name: g.GetName(), Initializer: g.GetInitializer(), DocString: g.GetDocString(),
		Input: g.GetInput(), Output: g.GetOutput(), ValueInfo: g.GetValueInfo(),
		SparseInitializer: g.GetSparseInitializer(), QuantizationAnnotation: g.GetQuantizationAnnotation()}
}

// body returns the nodes of a function with the names and attributes of one
// call.
func (in *inliner) body(call *pb.NodeProto, f *pb.FunctionProto) ([]*pb.NodeProto, error) {
	fail := func(err error, format string, args ...any) error {
		return &Error{File: in.m.Path, Node: NodeName(call), Op: OpName(call), Err: err, Msg: fmt.Sprintf(format, args...)}
	}
	if len(call.GetInput()) > len(f.GetInput()) || len(call.GetOutput()) > len(f.GetOutput()) {
		return nil, fail(ErrInvalid, "called with %d inputs and %d outputs, the function has %d and %d",
			len(call.GetInput()), len(call.GetOutput()), len(f.GetInput()), len(f.GetOutput()))
	}
	if err := in.opsets(call, f); err != nil {
		return nil, err
	}
	prefix := in.prefix(call)
	names := map[string]string{"": ""}
	for i, formal := range f.GetInput() {
		names[formal] = ""
		if i < len(call.GetInput()) {
			names[formal] = call.GetInput()[i]
		}
	}
	var passed []*pb.NodeProto // outputs that are inputs
	for i, formal := range f.GetOutput() {
		if i >= len(call.GetOutput()) || call.GetOutput()[i] == "" {
			continue
		}
		if actual, ok := names[formal]; ok {
			passed = append(passed, &pb.NodeProto{OpType: "Identity", Name: prefix + formal,
				Input: []string{actual}, Output: []string{call.GetOutput()[i]}})
			continue
		}
		names[formal] = call.GetOutput()[i]
	}
	attrs := map[string]*pb.AttributeProto{}
	for _, a := range f.GetAttributeProto() {
		attrs[a.GetName()] = a
	}
	for _, a := range call.GetAttribute() {
		attrs[a.GetName()] = a
	}
	for _, name := range f.GetAttribute() {
		if attrs[name] == nil {
			return nil, fail(ErrInvalid, "the function's attribute %q is missing", name)
		}
	}
	s := &substitution{prefix: prefix, names: names, attrs: attrs, used: in.used}
	nodes := s.nodes(f.GetNode(), 0)
	if s.err != nil {
		return nil, fail(ErrInvalid, "%v", s.err)
	}
	return append(nodes, passed...), nil
}

// opsets checks that the body means the same under the model's imports.
func (in *inliner) opsets(call *pb.NodeProto, f *pb.FunctionProto) error {
	for _, o := range f.GetOpsetImport() {
		have := in.m.Opset(o.GetDomain())
		if have == 0 {
			in.m.SetOpset(o.GetDomain(), o.GetVersion())
			continue
		}
		if have == o.GetVersion() {
			continue
		}
		for _, n := range f.GetNode() {
			if NormalDomain(n.GetDomain()) != NormalDomain(o.GetDomain()) {
				continue
			}
			if NormalDomain(o.GetDomain()) == "" && schemaVersion(n.GetOpType(), have) == schemaVersion(n.GetOpType(), o.GetVersion()) {
				continue
			}
			return &Error{File: in.m.Path, Node: NodeName(call), Op: OpName(call), Err: ErrUnsupported,
				Msg: fmt.Sprintf("the function's body uses %s of opset %d, the model imports opset %d",
					OpName(n), o.GetVersion(), have),
				Remedy: fmt.Sprintf("export the model with opset %d", o.GetVersion())}
		}
	}
	return nil
}

// substitution renames the values of a function's body and fills in its
// attributes.
type substitution struct {
	prefix string
	names  map[string]string
	attrs  map[string]*pb.AttributeProto
	used   Names // taken in the model
	keep   bool  // only rename what names lists, keep everything else
	err    error
}

func (s *substitution) name(v string) string {
	if n, ok := s.names[v]; ok {
		return n
	}
	if s.keep {
		return v
	}
	n := s.prefix + v
	for s.used[n] {
		n += "_"
	}
	s.used[n] = true
	s.names[v] = n
	return n
}

// maxSubgraphDepth bounds the nesting of control flow inside a function.
const maxSubgraphDepth = 32

func (s *substitution) nodes(body []*pb.NodeProto, depth int) []*pb.NodeProto {
	if depth > maxSubgraphDepth {
		s.err = fmt.Errorf("subgraphs nested deeper than %d", maxSubgraphDepth)
		return nil
	}
	out := make([]*pb.NodeProto, 0, len(body))
	for _, b := range body {
		n := copyNode(b)
		if !s.keep {
			n.Name = s.prefix + NodeName(b)
		}
		for i, v := range n.Input {
			n.Input[i] = s.name(v)
		}
		for i, v := range n.Output {
			n.Output[i] = s.name(v)
		}
		n.Attribute = nil
		for _, a := range b.GetAttribute() {
			if ref := a.GetRefAttrName(); ref != "" && !s.keep {
				if v := s.attrs[ref]; v != nil {
					n.Attribute = append(n.Attribute, renameAttr(v, a.GetName()))
				}
				continue
			}
			if g := a.GetG(); g != nil {
				a = &pb.AttributeProto{Name: a.GetName(), Type: a.GetType(), G: s.graph(g, depth+1)}
			}
			n.Attribute = append(n.Attribute, a)
		}
		out = append(out, n)
	}
	return out
}

// graph renames a subgraph: all its values get the prefix, and those it takes
// from the body around it the names that they have there.
func (s *substitution) graph(g *pb.GraphProto, depth int) *pb.GraphProto {
	out := withNodes(g, nil)
	out.Initializer, out.Input, out.Output, out.ValueInfo = nil, nil, nil, nil
	for _, t := range g.GetInitializer() {
		out.Initializer = append(out.Initializer, renameTensor(t, s.name(t.GetName())))
	}
	for _, v := range g.GetInput() {
		out.Input = append(out.Input, renameValue(v, s.name(v.GetName())))
	}
	out.Node = s.nodes(g.GetNode(), depth)
	for _, v := range g.GetOutput() {
		out.Output = append(out.Output, renameValue(v, s.name(v.GetName())))
	}
	return out
}

// renameAttr returns an attribute under another name.
func renameAttr(a *pb.AttributeProto, name string) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: a.GetType(), RefAttrName: a.GetRefAttrName(), F: a.F, I: a.I, S: a.S, T: a.GetT(), G: a.GetG(),
		Floats: a.GetFloats(), Ints: a.GetInts(), Strings: a.GetStrings(), Tensors: a.GetTensors(), Graphs: a.GetGraphs(),
		Tp: a.GetTp(), TypeProtos: a.GetTypeProtos(), SparseTensor: a.GetSparseTensor(), SparseTensors: a.GetSparseTensors()}
}

// renameValue returns a value's declaration under another name.
func renameValue(v *pb.ValueInfoProto, name string) *pb.ValueInfoProto {
	return &pb.ValueInfoProto{Name: name, Type: v.GetType(), DocString: v.GetDocString()}
}

// renameTensor returns a tensor under another name; the data is shared.
func renameTensor(t *pb.TensorProto, name string) *pb.TensorProto {
	return &pb.TensorProto{Name: name, Dims: t.GetDims(), DataType: t.GetDataType(), Segment: t.GetSegment(),
		FloatData: t.GetFloatData(), Int32Data: t.GetInt32Data(), StringData: t.GetStringData(), Int64Data: t.GetInt64Data(),
		RawData: t.GetRawData(), DoubleData: t.GetDoubleData(), Uint64Data: t.GetUint64Data(), DocString: t.GetDocString(),
		ExternalData: t.GetExternalData(), DataLocation: t.GetDataLocation()}
}
