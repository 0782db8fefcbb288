package graph

import (
	"fmt"
	"strings"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// What an Eval Plan computes from parameters alone, such as filters with a
// batch normalisation folded in, does not change from run to run. It is settled:
// computed before the first run and again when parameters have changed, into
// memory that all Plans of the Network share.

// Changed tells the network that parameters have other values than before.
// SetValue and training Plans do so themselves; it is for those who write into
// Parameter.Value.
func (n *Network) Changed() { n.version++ }

// settledBuffer returns the memory of a settled value by its key.
func (n *Network) settledBuffer(key string, size int) (kernel.Buffer, error) {
	if b := n.settled[key]; b != nil {
		return b, nil
	}
	b, err := n.dev.Alloc(size)
	if err != nil {
		return nil, err
	}
	n.settled[key] = b
	return b, nil
}

// settle takes the operations that read nothing but parameters out of the list
// of an Eval Plan.
func (c *compiler) settle() error {
	if c.spec.Mode != Eval {
		return nil
	}
	keys := map[int64]string{} // of parameters and settled nodes: the whole computation
	for _, l := range c.leaves {
		if l.param != nil {
			keys[l.node.ID()] = fmt.Sprintf("%q", l.param.Name)
		}
	}
	settled := map[*value]bool{}
	for _, node := range c.nodes {
		o, ok := node.Op().(*op.Op)
		if !ok {
			continue
		}
		var in []string
		operands := op.Operands(node)
		for _, x := range operands {
			if key := keys[x.ID()]; key != "" {
				in = append(in, key)
			}
		}
		if len(in) == 0 || len(in) < len(operands) {
			continue
		}
		key := fmt.Sprintf("%T%+v%v(%s)", o.Spec, o.Spec, node.Shape(), strings.Join(in, " "))
		keys[node.ID()] = key
		v := c.values[node.ID()]
		if v.alias != nil {
			continue
		}
		b, err := c.network.settledBuffer(key, v.size)
		if err != nil {
			return err
		}
		v.static, settled[v] = b, true
	}
	var rest []*operation
	for _, o := range c.ops {
		if settled[o.out] {
			c.before = append(c.before, o)
		} else {
			rest = append(rest, o)
		}
	}
	c.ops = rest
	return nil
}

// settle computes what parameters that have changed make necessary.
func (p *Plan) settle() error {
	if len(p.before) == 0 || p.version == p.network.version {
		return nil
	}
	for _, s := range p.before {
		if err := s.run(); err != nil {
			return err
		}
	}
	p.version = p.network.version
	return nil
}
