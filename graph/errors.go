package graph

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of this package, for errors.Is.
var (
	// ErrNoGradient marks an operator on the way to a parameter that has no
	// derivative.
	ErrNoGradient = errors.New("not differentiable")
	// ErrShape marks data that does not fit the shape a Plan was built for.
	ErrShape = errors.New("shape mismatch")
	// ErrMemory marks a Plan that the machine has no memory for.
	ErrMemory = errors.New("not enough memory")
)

// NodeError is a failure at one node of a model.
type NodeError struct {
	File string // file of the model, if it has one
	Node string // node name, or its first output
	Op   string // operator type
	Err  error
}

func (e *NodeError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	fmt.Fprintf(&b, "node %q (%s): %v", e.Node, e.Op, e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *NodeError) Unwrap() error { return e.Err }

// UnsupportedError lists every operator of a model that graft has no builder
// for.
type UnsupportedError struct {
	File  string
	Nodes []NodeRef
}

// NodeRef names a node and its operator.
type NodeRef struct{ Node, Op string }

func (e *UnsupportedError) Error() string {
	count := map[string]int{}
	first := map[string]string{}
	var order []string
	for _, n := range e.Nodes {
		if count[n.Op] == 0 {
			order = append(order, n.Op)
			first[n.Op] = n.Node
		}
		count[n.Op]++
	}
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	b.WriteString("unsupported operators: ")
	for i, op := range order {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%d, first at node %q)", op, count[op], first[op])
	}
	b.WriteString("; `graft inspect FILE` lists what a file needs")
	return b.String()
}
