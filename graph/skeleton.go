package graph

import (
	"fmt"
	"strconv"

	onnxgo "github.com/owulveryck/onnx-go"
	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// skeleton returns the bytes of a model's structure alone, as onnx-go v0.5.0
// decodes it safely: no initializers and no value types (it allocates a tensor
// for each and knows few element types), operators of other domains spelled
// "domain.Name" (it drops domains), every output named (unused ones share the
// empty name), every attribute typed.
func skeleton(m *onnx.Model) ([]byte, error) {
	src := m.GetGraph()
	g := &pb.GraphProto{Name: src.GetName()}
	for _, in := range src.GetInput() {
		g.Input = append(g.Input, &pb.ValueInfoProto{Name: in.GetName()})
	}
	for _, out := range src.GetOutput() {
		g.Output = append(g.Output, &pb.ValueInfoProto{Name: out.GetName()})
	}
	unused := 0
	for _, n := range src.GetNode() {
		outputs := append([]string(nil), n.GetOutput()...)
		for i, name := range outputs {
			if name == "" {
				outputs[i] = "unused " + strconv.Itoa(unused)
				unused++
			}
		}
		g.Node = append(g.Node, &pb.NodeProto{
			Name: n.GetName(), OpType: onnx.OpName(n), Input: n.GetInput(), Output: outputs, Attribute: n.GetAttribute(),
		})
	}
	return proto.Marshal(&pb.ModelProto{IrVersion: m.GetIrVersion(), OpsetImport: m.GetOpsetImport(), Graph: g})
}

// record decodes a specialised model through onnx-go. Its decoder panics on
// input it does not expect, hence the recover.
func record(m *onnx.Model) (r *recorder, err error) {
	if len(m.GetGraph().GetNode()) == 0 {
		return &recorder{}, nil // all of it was folded; onnx-go refuses that
	}
	data, err := skeleton(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%s: decoding the graph: %v", m.Path, p)
		}
	}()
	r = &recorder{}
	if err := onnxgo.NewModel(r).UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("%s: decoding the graph: %w", m.Path, err)
	}
	if len(r.ops) != len(m.GetGraph().GetNode()) {
		return nil, fmt.Errorf("%s: decoding the graph: %d of %d nodes arrived", m.Path, len(r.ops), len(m.GetGraph().GetNode()))
	}
	return r, nil
}
