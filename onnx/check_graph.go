package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// scope is the values that a graph can read: its own and those around it.
type scope struct {
	outer *scope
	own   map[string]bool
	makes map[string]bool // what the nodes make, later ones included
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.own[name] {
			return true
		}
	}
	return false
}

// comes reports whether a node makes the value, early or late.
func (s *scope) comes(name string) bool {
	for ; s != nil; s = s.outer {
		if s.makes[name] {
			return true
		}
	}
	return false
}

// define adds a value to a graph's scope; what says what it is.
func (c *checker) define(s *scope, p place, n *pb.NodeProto, what, name string) {
	switch {
	case s.own[name]:
		c.addf(p, n, "%s %q: the name is taken, a value can be made only once", what, name)
	case s.outer.has(name):
		c.addf(p, n, "%s %q: the name is taken by a value of the graph around it", what, name)
	}
	s.own[name] = true
}

// graph checks one graph and returns its scope.
func (c *checker) graph(g *pb.GraphProto, outer *scope, p place) *scope {
	s := &scope{outer: outer, own: map[string]bool{}}
	inputs := map[string]*pb.ValueInfoProto{}
	for i, v := range g.GetInput() {
		name := v.GetName()
		if name == "" {
			c.addf(p, nil, "input %d has no name", i)
			continue
		}
		c.define(s, p, nil, "input", name)
		inputs[name] = v
		if !p.nested {
			c.valueType(p, "input", v)
		}
	}
	c.initializers(g, s, p, inputs)
	c.nodes(g.GetNode(), s, p)
	c.outputs(g, s, p)
	return s
}

// initializers checks the stored tensors of a graph.
func (c *checker) initializers(g *pb.GraphProto, s *scope, p place, inputs map[string]*pb.ValueInfoProto) {
	seen := map[string]bool{}
	one := func(kind, name string, elem int32, dims []int64) {
		switch in := inputs[name]; {
		case name == "":
			c.addf(p, nil, "%s without a name", kind)
			return
		case seen[name]:
			c.addf(p, nil, "two initializers are called %q", name)
		case in != nil:
			c.sameType(p, in, elem, dims)
		default:
			c.define(s, p, nil, kind, name)
			if c.model.GetIrVersion() < irFreeInitializers && !p.nested {
				c.add(p, nil, fmt.Sprintf("list it there or declare IR version %d", irFreeInitializers), fmt.Errorf(
					"%s %q is not among the graph's inputs, as IR version %d demands", kind, name, c.model.GetIrVersion()))
			}
		}
		seen[name] = true
	}
	for _, t := range g.GetInitializer() {
		one("initializer", t.GetName(), t.GetDataType(), t.GetDims())
		c.tensor(p, nil, t)
	}
	for _, t := range g.GetSparseInitializer() {
		one("sparse initializer", t.GetValues().GetName(), t.GetValues().GetDataType(), t.GetDims())
		c.sparse(p, nil, t)
	}
}

// sameType compares an initializer with the input of the same name, whose
// default it is.
func (c *checker) sameType(p place, in *pb.ValueInfoProto, elem int32, dims []int64) {
	tt := in.GetType().GetTensorType()
	if tt == nil {
		return
	}
	name := in.GetName()
	if tt.GetElemType() != 0 && tt.GetElemType() != elem {
		c.addf(p, nil, "initializer %q holds %s, the input of that name %s", name,
			DataTypeName(pb.TensorProto_DataType(elem)), DataTypeName(pb.TensorProto_DataType(tt.GetElemType())))
	}
	if tt.GetShape() == nil {
		return
	}
	declared := tt.GetShape().GetDim()
	differs := len(declared) != len(dims)
	for i := 0; !differs && i < len(dims); i++ {
		d, fixed := declared[i].GetValue().(*pb.TensorShapeProto_Dimension_DimValue)
		differs = fixed && d.DimValue >= 0 && d.DimValue != dims[i]
	}
	if differs {
		c.addf(p, nil, "initializer %q has dimensions %v, the input of that name %s", name, dims, shapeString(tt.GetShape()))
	}
}

// shapeString prints a declared shape: [N 3 224 ?].
func shapeString(s *pb.TensorShapeProto) string {
	dims := make([]any, len(s.GetDim()))
	for i, d := range s.GetDim() {
		switch v := d.GetValue().(type) {
		case *pb.TensorShapeProto_Dimension_DimValue:
			dims[i] = v.DimValue
		case *pb.TensorShapeProto_Dimension_DimParam:
			dims[i] = v.DimParam
		default:
			dims[i] = "?"
		}
	}
	return fmt.Sprint(dims)
}

// valueType checks the declared type of an input or output of the model.
func (c *checker) valueType(p place, what string, v *pb.ValueInfoProto) {
	switch t := v.GetType().GetValue().(type) {
	case nil:
		c.addf(p, nil, "%s %q has no type", what, v.GetName())
	case *pb.TypeProto_TensorType:
		elem := t.TensorType.GetElemType()
		if _, known := pb.TensorProto_DataType_name[elem]; !known || elem == 0 {
			c.addf(p, nil, "%s %q has unknown element type %d", what, v.GetName(), elem)
		}
	}
}

// outputs checks that a graph's outputs are values it makes.
func (c *checker) outputs(g *pb.GraphProto, s *scope, p place) {
	if len(g.GetOutput()) == 0 && len(g.GetNode()) > 0 && !p.nested { // without nodes it is a file of weights
		c.addf(p, nil, "the graph has no outputs")
	}
	seen := map[string]bool{}
	for i, v := range g.GetOutput() {
		name := v.GetName()
		switch {
		case name == "":
			c.addf(p, nil, "output %d has no name", i)
		case seen[name]:
			c.addf(p, nil, "two outputs are called %q", name)
		case !s.own[name] && s.outer.has(name):
			c.add(p, nil, "pass it through an Identity node",
				fmt.Errorf("output %q is a value of the graph around it", name))
		case !s.own[name]:
			c.addf(p, nil, "output %q: nothing makes it", name)
		}
		seen[name] = true
		if !p.nested && name != "" {
			c.valueType(p, "output", v)
		}
	}
}
