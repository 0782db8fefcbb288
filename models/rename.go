package models

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// rename gives values of the graph new names. It replaces tensors and value
// infos instead of changing them, since models share them, but changes nodes.
// A model with graphs inside nodes (If, Loop, Scan) is refused.
func rename(m *onnx.Model, names map[string]string) error {
	if len(names) == 0 {
		return nil
	}
	g := m.GetGraph()
	taken := map[string]bool{}
	for _, in := range g.GetInput() {
		taken[in.GetName()] = true
	}
	for _, p := range g.GetInitializer() {
		taken[p.GetName()] = true
	}
	for _, n := range g.GetNode() {
		for _, out := range n.GetOutput() {
			taken[out] = true
		}
	}
	for old, name := range names {
		if _, moves := names[name]; taken[name] && !moves {
			return &onnx.Error{File: m.Path, Err: onnx.ErrUnsupported,
				Msg: fmt.Sprintf("%q is to be called %q, which is the name of something else", old, name)}
		}
	}
	for i, p := range g.GetInitializer() {
		if name, ok := names[p.GetName()]; ok {
			g.Initializer[i] = renamed(p, name)
		}
	}
	for _, infos := range [][]*pb.ValueInfoProto{g.GetInput(), g.GetOutput(), g.GetValueInfo()} {
		for i, v := range infos {
			if name, ok := names[v.GetName()]; ok {
				infos[i] = &pb.ValueInfoProto{Name: name, Type: v.GetType(), DocString: v.GetDocString(), MetadataProps: v.GetMetadataProps()}
			}
		}
	}
	for _, n := range g.GetNode() {
		for _, a := range n.GetAttribute() {
			if a.GetG() != nil || len(a.GetGraphs()) > 0 {
				return &onnx.Error{File: m.Path, Node: onnx.NodeName(n), Op: onnx.OpName(n), Err: onnx.ErrUnsupported,
					Msg: "an encoder cannot have graphs inside its nodes"}
			}
		}
		for _, list := range [][]string{n.Input, n.Output} {
			for i, old := range list {
				if name, ok := names[old]; ok {
					list[i] = name
				}
			}
		}
	}
	return nil
}

// renamed is the same tensor under another name; the data are shared.
func renamed(p *pb.TensorProto, name string) *pb.TensorProto {
	c := &pb.TensorProto{}
	p.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		c.ProtoReflect().Set(field, v)
		return true
	})
	c.Name = name
	return c
}
