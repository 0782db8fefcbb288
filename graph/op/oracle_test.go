package op_test

import (
	"fmt"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/op"
)

// devices returns every kernel set that this machine has.
func devices(t *testing.T) []kernel.Device {
	t.Helper()
	ds := []kernel.Device{native.New(2)}
	d, err := device.OpenThreads("onednn", 2)
	if err != nil {
		t.Logf("without oneDNN: %v", err)
		return ds
	}
	t.Cleanup(func() { d.Close() })
	return append(ds, d)
}

// array is a row-major tensor of the tests.
type array struct {
	shape []int
	data  []float32
}

// program is an expression graph with values for its leaves.
type program struct {
	graph  *gorgonia.ExprGraph
	values map[*op.Node]gorgonia.Value
}

func newProgram() *program {
	return &program{gorgonia.NewGraph(), map[*op.Node]gorgonia.Value{}}
}

// leaf adds an input.
func (p *program) leaf(name string, a array) *op.Node {
	var n *op.Node
	if len(a.shape) == 0 {
		n = gorgonia.NewScalar(p.graph, tensor.Float32, gorgonia.WithName(name))
	} else {
		n = gorgonia.NewTensor(p.graph, tensor.Float32, len(a.shape), gorgonia.WithShape(a.shape...), gorgonia.WithName(name))
	}
	p.set(n, a.data)
	return n
}

// set gives an input a value.
func (p *program) set(n *op.Node, data []float32) {
	if len(n.Shape()) == 0 {
		p.values[n] = gorgonia.NewF32(data[0])
		return
	}
	p.values[n] = tensor.New(tensor.WithShape(n.Shape()...), tensor.WithBacking(append([]float32(nil), data...)))
}

// operands returns the operands of a node in order.
func operands(n *op.Node) []*op.Node {
	it := n.Graph().From(n.ID())
	var r []*op.Node
	for it.Next() {
		r = append(r, it.Node().(*op.Node))
	}
	return r
}

// run evaluates nodes.
func (p *program) run(nodes ...*op.Node) ([][]float32, error) {
	memo := map[*op.Node]gorgonia.Value{}
	r := make([][]float32, len(nodes))
	for i, n := range nodes {
		v, err := p.eval(n, memo)
		if err != nil {
			return nil, err
		}
		switch d := v.Data().(type) {
		case []float32:
			r[i] = d
		case float32:
			r[i] = []float32{d}
		default:
			return nil, fmt.Errorf("value of type %T", d)
		}
		if len(r[i]) != kernel.Len(n.Shape()) {
			return nil, fmt.Errorf("%v: %d values for shape %v", n, len(r[i]), n.Shape())
		}
	}
	return r, nil
}

func (p *program) eval(n *op.Node, memo map[*op.Node]gorgonia.Value) (gorgonia.Value, error) {
	if v, ok := p.values[n]; ok {
		return v, nil
	}
	if v, ok := memo[n]; ok {
		return v, nil
	}
	var args []gorgonia.Value
	for _, c := range operands(n) {
		v, err := p.eval(c, memo)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	if n.Op() == nil {
		return nil, fmt.Errorf("%v has no value", n)
	}
	v, err := n.Op().Do(args...)
	if err != nil {
		return nil, err
	}
	memo[n] = v
	return v, nil
}

// gradients walks back from root, whose gradient is seed, to the leaves.
func gradients(root, seed *op.Node, leaves []*op.Node) (map[*op.Node]*op.Node, error) {
	var order []*op.Node
	seen := map[*op.Node]bool{}
	var visit func(n *op.Node)
	visit = func(n *op.Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, c := range operands(n) {
			visit(c)
		}
		order = append(order, n)
	}
	visit(root)
	parts := map[*op.Node][]*op.Node{root: {seed}}
	result := map[*op.Node]*op.Node{}
	for i := len(order) - 1; i >= 0; i-- {
		n := order[i]
		if len(parts[n]) == 0 {
			continue
		}
		sum, err := op.AddN(parts[n]...)
		if err != nil {
			return nil, err
		}
		result[n] = sum
		if n.Op() == nil {
			continue
		}
		o := n.Op().(*op.Op)
		in := operands(n)
		if len(in) == 0 {
			continue
		}
		wrt := o.DiffWRT(len(in))
		grads, err := o.SymDiff(in, n, sum)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", o, err)
		}
		if len(grads) != len(in) || len(wrt) != len(in) {
			return nil, fmt.Errorf("%v: %d gradients, %d flags for %d inputs", o, len(grads), len(wrt), len(in))
		}
		for k, d := range grads {
			if (d != nil) != wrt[k] {
				return nil, fmt.Errorf("%v: gradient %d is %v where DiffWRT says %v", o, k, d, wrt[k])
			}
			if d == nil {
				continue
			}
			if !d.Shape().Eq(in[k].Shape()) {
				return nil, fmt.Errorf("%v: gradient %d has shape %v, input %v", o, k, d.Shape(), in[k].Shape())
			}
			parts[in[k]] = append(parts[in[k]], d)
		}
	}
	for _, l := range leaves {
		if result[l] == nil {
			return nil, fmt.Errorf("no gradient for %v", l)
		}
	}
	return result, nil
}
