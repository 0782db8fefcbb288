package graph

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/graph/op"
)

// seed pairs a node with the gradient it starts from.
type seed struct{ node, grad *op.Node }

// gradient extends the graph by the gradients of the wanted nodes, by reverse
// accumulation over SymDiff. Where a value is read several times its gradients
// are added in a fixed order. A wanted node that no seed depends on has no
// entry in the result. After the gradient of a node, made gets the node and the
// number of nodes that the graph had before.
func gradient(g *gorgonia.ExprGraph, seeds []seed, wanted []*op.Node, made func(before int, of *op.Node)) (map[*op.Node]*op.Node, error) {
	roots := make([]*op.Node, len(seeds))
	for i, s := range seeds {
		roots[i] = s.node
	}
	order := reachable(g, roots)
	// needed holds the nodes that lead to a wanted one: only they pass a
	// gradient on.
	needed := map[*op.Node]bool{}
	for _, w := range wanted {
		needed[w] = true
	}
	for _, n := range order {
		if n.Op() == nil {
			continue
		}
		for i, c := range op.Operands(n) {
			if needed[c] && differentiable(n, i) {
				needed[n] = true
				break
			}
		}
	}
	parts := map[*op.Node][]*op.Node{}
	for _, s := range seeds {
		parts[s.node] = append(parts[s.node], s.grad)
	}
	sums := map[*op.Node]*op.Node{}
	for _, n := range slices.Backward(order) {
		terms := parts[n]
		if len(terms) == 0 || !needed[n] {
			continue
		}
		before := len(g.AllNodes())
		sum, err := op.AddN(terms...)
		if err != nil {
			return nil, err
		}
		sums[n] = sum
		if n.Op() == nil {
			made(before, n)
			continue
		}
		in := op.Operands(n)
		sd, ok := n.Op().(gorgonia.SDOp)
		if !ok {
			return nil, fmt.Errorf("%v: %w", n.Op(), ErrNoGradient)
		}
		grads, err := sd.SymDiff(in, n, sum)
		if err != nil {
			return nil, fmt.Errorf("gradient of %v: %w", n.Op(), err)
		}
		if len(grads) != len(in) {
			return nil, fmt.Errorf("gradient of %v: %d gradients for %d inputs", n.Op(), len(grads), len(in))
		}
		made(before, n)
		for i, d := range grads {
			if d != nil && needed[in[i]] {
				parts[in[i]] = append(parts[in[i]], d)
			}
		}
	}
	result := map[*op.Node]*op.Node{}
	for _, w := range wanted {
		if s := sums[w]; s != nil {
			result[w] = s
		}
	}
	return result, nil
}

func differentiable(n *op.Node, input int) bool {
	sd, ok := n.Op().(gorgonia.SDOp)
	if !ok {
		return true // reported when its gradient is asked for
	}
	return sd.DiffWRT(sd.Arity())[input]
}

// reachable returns the nodes that the roots depend on, operands before
// results. Gorgonia numbers nodes as they are made, so the order of numbers is
// topological; it also keeps a value close to its first use.
func reachable(g *gorgonia.ExprGraph, roots []*op.Node) []*op.Node {
	seen := map[int64]*op.Node{}
	stack := append([]*op.Node(nil), roots...)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n.ID()] != nil {
			continue
		}
		seen[n.ID()] = n
		stack = append(stack, op.Operands(n)...)
	}
	order := make([]*op.Node, 0, len(seen))
	for _, n := range seen {
		order = append(order, n)
	}
	slices.SortFunc(order, func(a, b *op.Node) int { return int(a.ID() - b.ID()) })
	return order
}
