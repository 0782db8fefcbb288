package onnx

import "github.com/graft-onnx/graft/onnx/pb"

// eachTensor calls visit for every tensor of a model: initializers, the parts
// of sparse tensors, attributes, in all subgraphs, functions and training
// information. n is the node whose attribute the tensor is, nil for
// initializers. The first error stops it.
func eachTensor(m *pb.ModelProto, visit func(n *pb.NodeProto, t *pb.TensorProto) error) error {
	w := tensorWalk{visit}
	if err := w.graph(m.GetGraph()); err != nil {
		return err
	}
	for _, ti := range m.GetTrainingInfo() {
		if err := w.graph(ti.GetInitialization()); err != nil {
			return err
		}
		if err := w.graph(ti.GetAlgorithm()); err != nil {
			return err
		}
	}
	for _, f := range m.GetFunctions() {
		if err := w.nodes(f.GetNode()); err != nil {
			return err
		}
		if err := w.attributes(nil, f.GetAttributeProto()); err != nil {
			return err
		}
	}
	return nil
}

type tensorWalk struct {
	visit func(n *pb.NodeProto, t *pb.TensorProto) error
}

func (w tensorWalk) graph(g *pb.GraphProto) error {
	for _, t := range g.GetInitializer() {
		if err := w.visit(nil, t); err != nil {
			return err
		}
	}
	for _, s := range g.GetSparseInitializer() {
		if err := w.sparse(nil, s); err != nil {
			return err
		}
	}
	return w.nodes(g.GetNode())
}

func (w tensorWalk) nodes(nodes []*pb.NodeProto) error {
	for _, n := range nodes {
		if err := w.attributes(n, n.GetAttribute()); err != nil {
			return err
		}
	}
	return nil
}

func (w tensorWalk) attributes(n *pb.NodeProto, attrs []*pb.AttributeProto) error {
	for _, a := range attrs {
		for _, t := range attributeTensors(a) {
			if err := w.visit(n, t); err != nil {
				return err
			}
		}
		for _, s := range attributeSparse(a) {
			if err := w.sparse(n, s); err != nil {
				return err
			}
		}
		for _, g := range attributeGraphs(a) {
			if err := w.graph(g); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w tensorWalk) sparse(n *pb.NodeProto, s *pb.SparseTensorProto) error {
	for _, t := range []*pb.TensorProto{s.GetValues(), s.GetIndices()} {
		if t == nil {
			continue
		}
		if err := w.visit(n, t); err != nil {
			return err
		}
	}
	return nil
}

// attributeGraphs lists the graphs an attribute holds.
func attributeGraphs(a *pb.AttributeProto) []*pb.GraphProto {
	return oneAndAll(a.GetG(), a.GetGraphs())
}

// attributeTensors lists the tensors an attribute holds.
func attributeTensors(a *pb.AttributeProto) []*pb.TensorProto {
	return oneAndAll(a.GetT(), a.GetTensors())
}

// attributeSparse lists the sparse tensors an attribute holds.
func attributeSparse(a *pb.AttributeProto) []*pb.SparseTensorProto {
	return oneAndAll(a.GetSparseTensor(), a.GetSparseTensors())
}

// oneAndAll is the messages of a field and of its list form. Attributes hardly
// ever use both, so nothing is copied.
func oneAndAll[M any](one *M, all []*M) []*M {
	switch {
	case one == nil:
		return all
	case len(all) == 0:
		return []*M{one}
	}
	return append([]*M{one}, all...)
}
