package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// attributes checks the attributes of a node, and the graphs they hold.
func (c *checker) attributes(n *pb.NodeProto, s *scope, p place) {
	seen := map[string]bool{}
	for i, a := range n.GetAttribute() {
		name := a.GetName()
		if name == "" {
			c.addf(p, n, "attribute %d has no name", i)
			continue
		}
		if seen[name] {
			c.addf(p, n, "two attributes are called %q", name)
		}
		seen[name] = true
		if err := attributeValue(a, p.attributes); err != nil {
			c.add(p, n, "", fmt.Errorf("attribute %q %w", name, err))
		}
		c.attributeParts(n, a, s, p)
	}
}

// attributeParts checks the tensors and graphs inside an attribute.
func (c *checker) attributeParts(n *pb.NodeProto, a *pb.AttributeProto, s *scope, p place) {
	for _, t := range attributeTensors(a) {
		c.tensor(p, n, t)
	}
	for _, t := range attributeSparse(a) {
		c.sparse(p, n, t)
	}
	for _, g := range attributeGraphs(a) {
		inner := p
		inner.nested = true
		inner.where = fmt.Sprintf("the %s of node %q", a.GetName(), NodeName(n))
		c.graph(g, s, inner)
	}
}

// attributeValue checks that an attribute holds one value of its type, or, in a
// function body, refers to one of the function's attributes; function is nil
// elsewhere.
func attributeValue(a *pb.AttributeProto, function map[string]bool) error {
	held := attributeFields(a)
	typ := a.GetType()
	if _, known := pb.AttributeProto_AttributeType_name[int32(typ)]; !known || typ == pb.AttributeProto_UNDEFINED {
		return fmt.Errorf("has unknown type %d", typ)
	}
	if ref := a.GetRefAttrName(); ref != "" {
		switch {
		case function == nil:
			return fmt.Errorf("refers to %q of a function, but stands in none", ref)
		case len(held) > 0:
			return fmt.Errorf("refers to %q of the function and holds a value too", ref)
		case !function[ref]:
			return fmt.Errorf("refers to %q, which the function does not have", ref)
		}
		return nil
	}
	for _, h := range held {
		if h != typ {
			return fmt.Errorf("is declared %s and holds %s", typ, h)
		}
	}
	// Empty lists leave no trace in the file, and with some writers neither do
	// zero and empty text; a message does.
	switch typ {
	case pb.AttributeProto_TENSOR, pb.AttributeProto_GRAPH, pb.AttributeProto_SPARSE_TENSOR, pb.AttributeProto_TYPE_PROTO:
		if len(held) == 0 {
			return fmt.Errorf("is declared %s and holds nothing", typ)
		}
	}
	return nil
}

// attributeFields lists the types whose field holds something.
func attributeFields(a *pb.AttributeProto) []pb.AttributeProto_AttributeType {
	var held []pb.AttributeProto_AttributeType
	for _, f := range []struct {
		typ pb.AttributeProto_AttributeType
		has bool
	}{
		{pb.AttributeProto_FLOAT, a.F != nil},
		{pb.AttributeProto_INT, a.I != nil},
		{pb.AttributeProto_STRING, a.S != nil},
		{pb.AttributeProto_TENSOR, a.GetT() != nil},
		{pb.AttributeProto_GRAPH, a.GetG() != nil},
		{pb.AttributeProto_SPARSE_TENSOR, a.GetSparseTensor() != nil},
		{pb.AttributeProto_TYPE_PROTO, a.GetTp() != nil},
		{pb.AttributeProto_FLOATS, len(a.GetFloats()) > 0},
		{pb.AttributeProto_INTS, len(a.GetInts()) > 0},
		{pb.AttributeProto_STRINGS, len(a.GetStrings()) > 0},
		{pb.AttributeProto_TENSORS, len(a.GetTensors()) > 0},
		{pb.AttributeProto_GRAPHS, len(a.GetGraphs()) > 0},
		{pb.AttributeProto_SPARSE_TENSORS, len(a.GetSparseTensors()) > 0},
		{pb.AttributeProto_TYPE_PROTOS, len(a.GetTypeProtos()) > 0},
	} {
		if f.has {
			held = append(held, f.typ)
		}
	}
	return held
}
