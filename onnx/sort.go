package onnx

import (
	"container/heap"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Sort returns the model with the nodes of every graph and function in
// topological order. Some exporters leave them unsorted, and ONNX Runtime sorts
// for itself. Nodes keep their order where it is free, so a sorted model comes
// back as it was. It fails where a value depends on itself.
func Sort(m *Model) (*Model, error) {
	out := m.Clone()
	err := sortGraph(out.GetGraph())
	for _, f := range out.GetFunctions() {
		if err == nil {
			f.Node, err = sortList(f.GetNode())
		}
	}
	if err != nil {
		err.File = m.Path
		return nil, err
	}
	return out, nil
}

func sortGraph(g *pb.GraphProto) (err *Error) {
	if g == nil {
		return nil
	}
	g.Node, err = sortList(g.GetNode())
	return err
}

func sortList(nodes []*pb.NodeProto) ([]*pb.NodeProto, *Error) {
	order, cycle := topological(nodes)
	if cycle != nil {
		return nil, &Error{Node: NodeName(cycle), Op: OpName(cycle), Msg: "the node depends on its own output", Err: ErrInvalid}
	}
	for _, n := range nodes {
		for _, a := range n.GetAttribute() {
			for _, g := range attributeGraphs(a) {
				if err := sortGraph(g); err != nil {
					return nil, err
				}
			}
		}
	}
	return order, nil
}

// topological orders nodes so that each stands after those whose outputs it or a
// graph inside it reads, the earliest possible first. Where that cannot be, it
// returns a node on a cycle.
func topological(nodes []*pb.NodeProto) (order []*pb.NodeProto, cycle *pb.NodeProto) {
	producer := map[string]int{}
	for i, n := range nodes {
		for _, out := range n.GetOutput() {
			if out != "" {
				producer[out] = i
			}
		}
	}
	readers := make([][]int, len(nodes))
	missing := make([]int, len(nodes)) // inputs whose producer is not placed yet
	for i, n := range nodes {
		for name := range reads(n) {
			if j, ok := producer[name]; ok {
				readers[j] = append(readers[j], i)
				missing[i]++
			}
		}
	}
	ready := &intHeap{}
	for i, k := range missing {
		if k == 0 {
			heap.Push(ready, i)
		}
	}
	order = make([]*pb.NodeProto, 0, len(nodes))
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		order = append(order, nodes[i])
		for _, r := range readers[i] {
			if missing[r]--; missing[r] == 0 {
				heap.Push(ready, r)
			}
		}
	}
	if len(order) == len(nodes) {
		return order, nil
	}
	// What is left is a cycle or behind one: walking back stays on what is
	// left and must come round.
	at := 0
	for missing[at] == 0 {
		at++
	}
	for visited := make([]bool, len(nodes)); !visited[at]; {
		visited[at] = true
		for name := range reads(nodes[at]) {
			if j, ok := producer[name]; ok && missing[j] > 0 {
				at = j
				break
			}
		}
	}
	return nil, nodes[at]
}

// reads is the set of values of the surrounding graph that a node may read:
// its inputs and those of the nodes in its graphs.
func reads(n *pb.NodeProto) map[string]bool {
	names := map[string]bool{}
	eachNode([]*pb.NodeProto{n}, func(n *pb.NodeProto) {
		for _, in := range n.GetInput() {
			if in != "" {
				names[in] = true
			}
		}
	})
	return names
}

// intHeap is a heap of ints, smallest first.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
