package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// functionID identifies a model-local function.
type functionID struct{ domain, name, overload string }

// calledID is the function that a node would call.
func calledID(n *pb.NodeProto) functionID {
	return functionID{NormalDomain(n.GetDomain()), n.GetOpType(), n.GetOverload()}
}

// functions checks the model-local functions: each has a scope of its own, and
// none may call itself, directly or through others. opsets is what the model
// imports.
func (c *checker) functions(opsets map[string]int64) {
	for i, f := range c.model.GetFunctions() {
		key := functionID{NormalDomain(f.GetDomain()), f.GetName(), f.GetOverload()}
		switch {
		case f.GetName() == "":
			c.addf(place{}, nil, "function %d has no name", i)
		case key.domain == "":
			c.addf(place{}, nil, "function %s has no domain of its own", functionName(f))
		case c.called[key] != nil:
			c.addf(place{}, nil, "two functions are called %s", functionName(f))
		default:
			c.called[key] = f
		}
	}
	for _, f := range c.model.GetFunctions() {
		if f.GetName() != "" {
			c.function(f, opsets)
		}
	}
	c.recursion()
}

func functionName(f *pb.FunctionProto) string {
	name := f.GetName()
	if d := NormalDomain(f.GetDomain()); d != "" {
		name = d + "." + name
	}
	if f.GetOverload() != "" {
		name += ":" + f.GetOverload()
	}
	return name
}

func (c *checker) function(f *pb.FunctionProto, opsets map[string]int64) {
	p := place{where: "function " + functionName(f), attributes: map[string]bool{}}
	p.opsets = c.opsets(p, f.GetOpsetImport())
	if own, models := p.opsets[""], opsets[""]; own != 0 && models != 0 && own != models {
		c.add(p, nil, "export the model again, or inline the function", fmt.Errorf(
			"%w: the function wants ai.onnx version %d, the model version %d", ErrUnsupported, own, models))
	}
	s := &scope{own: map[string]bool{}}
	for _, name := range f.GetInput() {
		if name == "" {
			c.addf(p, nil, "an input has no name")
			continue
		}
		c.define(s, p, nil, "input", name)
	}
	attribute := func(name string) {
		if name == "" || p.attributes[name] {
			c.addf(p, nil, "the attribute %q is declared twice or has no name", name)
		}
		p.attributes[name] = true
	}
	for _, name := range f.GetAttribute() {
		attribute(name)
	}
	for _, a := range f.GetAttributeProto() {
		attribute(a.GetName())
		if err := attributeValue(a, nil); err != nil {
			c.add(p, nil, "", fmt.Errorf("attribute %q %w", a.GetName(), err))
		}
	}
	c.nodes(f.GetNode(), s, p)
	outs := map[string]bool{}
	for _, name := range f.GetOutput() {
		switch {
		case outs[name]:
			c.addf(p, nil, "two outputs are called %q", name)
		case !s.own[name]:
			c.addf(p, nil, "output %q: nothing makes it", name)
		}
		outs[name] = true
	}
}

// recursion reports functions that reach themselves.
func (c *checker) recursion() {
	calls := map[*pb.FunctionProto][]*pb.FunctionProto{}
	for _, f := range c.model.GetFunctions() {
		eachNode(f.GetNode(), func(n *pb.NodeProto) {
			if g := c.called[calledID(n)]; g != nil {
				calls[f] = append(calls[f], g)
			}
		})
	}
	const active, done = 1, 2
	state := map[*pb.FunctionProto]int{}
	var visit func(f *pb.FunctionProto)
	visit = func(f *pb.FunctionProto) {
		state[f] = active
		for _, g := range calls[f] {
			switch state[g] {
			case active:
				c.addf(place{}, nil, "function %s calls itself", functionName(g))
			case 0:
				visit(g)
			}
		}
		state[f] = done
	}
	for _, f := range c.model.GetFunctions() {
		if state[f] == 0 {
			visit(f)
		}
	}
}

// eachNode calls visit for every node of a list and of the graphs inside.
func eachNode(nodes []*pb.NodeProto, visit func(*pb.NodeProto)) {
	for _, n := range nodes {
		visit(n)
		for _, a := range n.GetAttribute() {
			for _, g := range attributeGraphs(a) {
				eachNode(g.GetNode(), visit)
			}
		}
	}
}
