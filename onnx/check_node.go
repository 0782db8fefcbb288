package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// nodes checks the nodes of a graph or function in order, adding what they make
// to the scope.
func (c *checker) nodes(nodes []*pb.NodeProto, s *scope, p place) {
	s.makes = map[string]bool{}
	for _, n := range nodes {
		for _, out := range n.GetOutput() {
			s.makes[out] = true
		}
	}
	late := 0 // nodes that read what a later node makes
	var first *pb.NodeProto
	var read string
	for _, n := range nodes {
		c.operator(n, p)
		for i, in := range n.GetInput() {
			switch {
			case in == "" || s.has(in):
			case s.comes(in):
				if late == 0 {
					first, read = n, in
				}
				late++
			default:
				c.addf(p, n, "input %d reads %q, which nothing makes", i, in)
			}
		}
		c.attributes(n, s, p)
		made := 0
		for _, out := range n.GetOutput() {
			if out != "" {
				c.define(s, p, n, "output", out)
				made++
			}
		}
		if made == 0 {
			c.addf(p, n, "the node makes nothing")
		}
	}
	if late > 0 {
		c.order(nodes, p, first, read, late)
	}
}

// order reports a list of nodes in which some read what later ones make:
// unsorted, or not sortable because values depend on themselves.
func (c *checker) order(nodes []*pb.NodeProto, p place, first *pb.NodeProto, read string, late int) {
	if _, cycle := topological(nodes); cycle != nil {
		c.addf(p, cycle, "the node depends on its own output")
		return
	}
	c.add(p, first, "graft import sorts such models", fmt.Errorf(
		"the nodes are not in topological order: it reads %q, which a later node makes (%d such inputs)", read, late))
}

// operator checks that the node names an operator whose set is imported, and
// its number of inputs and outputs where the operator is known.
func (c *checker) operator(n *pb.NodeProto, p place) {
	if n.GetOpType() == "" {
		c.addf(p, n, "the node names no operator")
		return
	}
	domain := NormalDomain(n.GetDomain())
	imported := p.opsets[domain]
	if imported == 0 && (domain != "" || p.attributes != nil) {
		// Reported once for the whole model where ai.onnx is missing.
		shown := domain
		if shown == "" {
			shown = "ai.onnx"
		}
		c.addf(p, n, "no version of the operator set %s is imported", shown)
	}
	if f := c.called[calledID(n)]; f != nil {
		if len(n.GetInput()) > len(f.GetInput()) || len(n.GetOutput()) > len(f.GetOutput()) {
			c.addf(p, n, "%d inputs and %d outputs, the function has %d and %d",
				len(n.GetInput()), len(n.GetOutput()), len(f.GetInput()), len(f.GetOutput()))
		}
		return
	}
	if domain == "" && imported > 0 {
		c.signature(n, p, imported)
	}
}
