package onnx

import "github.com/graft-onnx/graft/onnx/pb"

// Attr returns the node's attribute of that name, or nil.
func Attr(n *pb.NodeProto, name string) *pb.AttributeProto {
	for _, a := range n.GetAttribute() {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

// AttrInt returns an integer attribute, or def where the node has none.
func AttrInt(n *pb.NodeProto, name string, def int64) int64 {
	if a := Attr(n, name); a != nil {
		return a.GetI()
	}
	return def
}

// AttrInts returns a list of integers, or def where the node has none.
func AttrInts(n *pb.NodeProto, name string, def []int64) []int64 {
	if a := Attr(n, name); a != nil {
		return a.GetInts()
	}
	return def
}

// AttrFloat returns a float attribute, or def where the node has none.
func AttrFloat(n *pb.NodeProto, name string, def float32) float32 {
	if a := Attr(n, name); a != nil {
		return a.GetF()
	}
	return def
}

// AttrFloats returns a list of floats, or def where the node has none.
func AttrFloats(n *pb.NodeProto, name string, def []float32) []float32 {
	if a := Attr(n, name); a != nil {
		return a.GetFloats()
	}
	return def
}

// AttrString returns a string attribute, or def where the node has none.
func AttrString(n *pb.NodeProto, name, def string) string {
	if a := Attr(n, name); a != nil {
		return string(a.GetS())
	}
	return def
}

// AttrTensor returns a tensor attribute, or nil.
func AttrTensor(n *pb.NodeProto, name string) *pb.TensorProto { return Attr(n, name).GetT() }

// AttrGraph returns a graph attribute, or nil.
func AttrGraph(n *pb.NodeProto, name string) *pb.GraphProto { return Attr(n, name).GetG() }

// SetAttr adds an attribute to a node, replacing one of the same name.
func SetAttr(n *pb.NodeProto, attr *pb.AttributeProto) {
	for i, a := range n.Attribute {
		if a.GetName() == attr.GetName() {
			n.Attribute[i] = attr
			return
		}
	}
	n.Attribute = append(n.Attribute, attr)
}

// DeleteAttr removes an attribute; an absent one is no error.
func DeleteAttr(n *pb.NodeProto, name string) {
	kept := n.Attribute[:0]
	for _, a := range n.Attribute {
		if a.GetName() != name {
			kept = append(kept, a)
		}
	}
	clear(n.Attribute[len(kept):])
	n.Attribute = kept
}

// IntAttr makes an integer attribute.
func IntAttr(name string, v int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: pb.AttributeProto_INT, I: &v}
}

// IntsAttr makes a list of integers.
func IntsAttr(name string, v ...int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: pb.AttributeProto_INTS, Ints: v}
}

// FloatAttr makes a float attribute.
func FloatAttr(name string, v float32) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: pb.AttributeProto_FLOAT, F: &v}
}

// FloatsAttr makes a list of floats.
func FloatsAttr(name string, v ...float32) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: pb.AttributeProto_FLOATS, Floats: v}
}

// StringAttr makes a string attribute.
func StringAttr(name, v string) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: pb.AttributeProto_STRING, S: []byte(v)}
}

// StringsAttr makes a list of strings.
func StringsAttr(name string, v ...string) *pb.AttributeProto {
	a := &pb.AttributeProto{Name: name, Type: pb.AttributeProto_STRINGS}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

// TensorAttr makes a tensor attribute.
func TensorAttr(name string, t *pb.TensorProto) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: pb.AttributeProto_TENSOR, T: t}
}

// GraphAttr makes a graph attribute.
func GraphAttr(name string, g *pb.GraphProto) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: pb.AttributeProto_GRAPH, G: g}
}

// RefAttr makes an attribute inside a function body that takes the value of
// the function's attribute ref.
func RefAttr(name string, typ pb.AttributeProto_AttributeType, ref string) *pb.AttributeProto {
	return &pb.AttributeProto{Name: name, Type: typ, RefAttrName: ref}
}
