package graph

import (
	"github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/iterator"
)

// recorder is the onnx-go backend that graft decodes into. It only records:
// operations in file order, and edges as a list, since a gonum graph keeps one
// edge between two nodes and would lose an operand of Add(x, x).
type recorder struct {
	nodes []*recordedNode
	ops   []recordedOp
}

// recordedOp is one operation with the names of its outputs.
type recordedOp struct {
	onnx.Operation
	outputs []*recordedNode
}

// inputs returns the operand names in order.
func (o recordedOp) inputs() []string {
	edges := o.outputs[0].operands
	names := make([]string, len(edges))
	for _, e := range edges {
		names[int(e.weight)] = e.to.name
	}
	return names
}

// recordedNode is a value: onnx-go knows values as nodes.
type recordedNode struct {
	id       int64
	name     string
	operands []*recordedEdge
}

func (n *recordedNode) ID() int64        { return n.id }
func (n *recordedNode) SetName(s string) { n.name = s }
func (n *recordedNode) GetName() string  { return n.name }

// recordedEdge leads from a result to one of its operands; the weight is the
// operand's position.
type recordedEdge struct {
	from, to *recordedNode
	weight   float64
}

func (e *recordedEdge) From() graph.Node { return e.from }
func (e *recordedEdge) To() graph.Node   { return e.to }
func (e *recordedEdge) Weight() float64  { return e.weight }
func (e *recordedEdge) ReversedEdge() graph.Edge {
	return &recordedEdge{from: e.to, to: e.from, weight: e.weight}
}

var (
	_ onnx.Backend = (*recorder)(nil)
	_ onnx.Namer   = (*recordedNode)(nil)
)

// ApplyOperation implements onnx.OperationCarrier.
func (r *recorder) ApplyOperation(op onnx.Operation, results ...graph.Node) error {
	rec := recordedOp{Operation: op}
	for _, n := range results {
		rec.outputs = append(rec.outputs, n.(*recordedNode))
	}
	r.ops = append(r.ops, rec)
	return nil
}

// NewNode implements graph.NodeAdder.
func (r *recorder) NewNode() graph.Node { return &recordedNode{id: int64(len(r.nodes))} }

// AddNode implements graph.NodeAdder.
func (r *recorder) AddNode(n graph.Node) { r.nodes = append(r.nodes, n.(*recordedNode)) }

// NewWeightedEdge implements graph.WeightedEdgeAdder.
func (r *recorder) NewWeightedEdge(from, to graph.Node, weight float64) graph.WeightedEdge {
	return &recordedEdge{from.(*recordedNode), to.(*recordedNode), weight}
}

// SetWeightedEdge implements graph.WeightedEdgeAdder.
func (r *recorder) SetWeightedEdge(e graph.WeightedEdge) {
	edge := e.(*recordedEdge)
	edge.from.operands = append(edge.from.operands, edge)
}

// Node, Nodes, From, To, HasEdgeBetween, HasEdgeFromTo, Edge, WeightedEdge and
// Weight complete graph.WeightedDirected.

func (r *recorder) Node(id int64) graph.Node {
	if id < 0 || id >= int64(len(r.nodes)) {
		return nil
	}
	return r.nodes[id]
}

func (r *recorder) Nodes() graph.Nodes {
	ns := make([]graph.Node, len(r.nodes))
	for i, n := range r.nodes {
		ns[i] = n
	}
	return iterator.NewOrderedNodes(ns)
}

func (r *recorder) From(id int64) graph.Nodes {
	var ns []graph.Node
	for _, e := range r.nodes[id].operands {
		ns = append(ns, e.to)
	}
	return iterator.NewOrderedNodes(ns)
}

func (r *recorder) To(id int64) graph.Nodes {
	var ns []graph.Node
	for _, n := range r.nodes {
		for _, e := range n.operands {
			if e.to.id == id {
				ns = append(ns, n)
			}
		}
	}
	return iterator.NewOrderedNodes(ns)
}

func (r *recorder) edge(u, v int64) *recordedEdge {
	for _, e := range r.nodes[u].operands {
		if e.to.id == v {
			return e
		}
	}
	return nil
}

func (r *recorder) HasEdgeBetween(x, y int64) bool { return r.edge(x, y) != nil || r.edge(y, x) != nil }

func (r *recorder) HasEdgeFromTo(u, v int64) bool { return r.edge(u, v) != nil }

func (r *recorder) Edge(u, v int64) graph.Edge {
	if e := r.edge(u, v); e != nil {
		return e
	}
	return nil
}

func (r *recorder) WeightedEdge(u, v int64) graph.WeightedEdge {
	if e := r.edge(u, v); e != nil {
		return e
	}
	return nil
}

func (r *recorder) Weight(x, y int64) (w float64, ok bool) {
	if e := r.edge(x, y); e != nil {
		return e.weight, true
	}
	return 0, false
}
