package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// functions checks the model-local functions: each has a scope of its own, and
// none may call itself, directly or through others.
func (c *checker) functions() {
	type key struct{ domain, name, overload string }
	seen := map[key]bool{}
	for i, f := range c.model.GetFunctions() {
		if f.GetName() == "" {
			c.addf(place{}, nil, "function %d has no name", i)
			continue
		}
		p := place{where: "function " + functionName(f), opsets: f.GetOpsetImport(), function: f}
		k := key{NormalDomain(f.GetDomain()), f.GetName(), f.GetOverload()}
		if seen[k] {
			c.addf(place{}, nil, "two functions are called %s", functionName(f))
		}
		seen[k] = true
		c.function(f, p)
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

func (c *checker) function(f *pb.FunctionProto, p place) {
	c.opsets(p, f.GetOpsetImport())
	for _, o := range f.GetOpsetImport() {
		if v := c.model.Opset(o.GetDomain()); NormalDomain(o.GetDomain()) == "" && v != 0 && v != o.GetVersion() {
			c.add(p, nil, "export the model again, or inline the function", fmt.Errorf(
				"%w: the function wants ai.onnx version %d, the model version %d", ErrUnsupported, o.GetVersion(), v))
		}
	}
	s := &scope{own: map[string]bool{}}
	for _, name := range f.GetInput() {
		if name == "" {
			c.addf(p, nil, "an input has no name")
			continue
		}
		c.define(s, p, nil, "input", name)
	}
	attrs := map[string]bool{}
	attribute := func(name string) {
		if name == "" || attrs[name] {
			c.addf(p, nil, "the attribute %q is declared twice or has no name", name)
		}
		attrs[name] = true
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
			if g := c.called(n); g != nil {
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
