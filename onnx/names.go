package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Names are names that are taken.
type Names map[string]bool

// ValueNames returns the names of a graph's values, those inside its subgraphs
// included.
func ValueNames(g *pb.GraphProto) Names {
	taken := Names{}
	taken.collect(g, false)
	return taken
}

// AllNames is ValueNames and the names of the nodes.
func AllNames(g *pb.GraphProto) Names {
	taken := Names{}
	taken.collect(g, true)
	return taken
}

func (taken Names) collect(g *pb.GraphProto, nodes bool) {
	for _, v := range g.GetInput() {
		taken.add(v.GetName())
	}
	for _, t := range g.GetInitializer() {
		taken.add(t.GetName())
	}
	for _, t := range g.GetSparseInitializer() {
		taken.add(t.GetValues().GetName())
	}
	for _, n := range g.GetNode() {
		if nodes {
			taken.add(n.GetName())
		}
		for _, o := range n.GetOutput() {
			taken.add(o)
		}
		for _, sub := range Subgraphs(n) {
			taken.collect(sub, nodes)
		}
	}
}

// add takes a name; what is optional and left out has none.
func (taken Names) add(name string) {
	if name != "" {
		taken[name] = true
	}
}

// Fresh returns base, or base with a number where that is taken, and takes it.
func (taken Names) Fresh(base string) string {
	name := base
	for i := 2; taken[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	taken[name] = true
	return name
}

// Subgraphs lists the graphs inside a node, such as the branches of If.
func Subgraphs(n *pb.NodeProto) []*pb.GraphProto {
	var out []*pb.GraphProto
	for _, a := range n.GetAttribute() {
		out = append(out, attributeGraphs(a)...)
	}
	return out
}
