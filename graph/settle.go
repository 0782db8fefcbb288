package graph

import (
	"fmt"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// What an Eval Plan computes from parameters alone, such as filters with a
// batch normalisation folded in, does not change from run to run. It is settled:
// computed before the first run and again when parameters have changed, into
// memory that all Plans of the Network share. So is the order in which the
// device's convolutions read their filters.

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

// settle moves the operations of an Eval Plan that read nothing but parameters to
// the front, together with those that pack filters, and notes how many they are.
func (c *compiler) settle() error {
	if c.spec.Mode != Eval {
		return nil
	}
	s := &settler{compiler: c, keys: c.settledKeys(), packed: map[string]*value{}}
	var before, rest []*operation
	for _, o := range c.ops {
		if s.settled(o.out) {
			before = append(before, o)
			continue
		}
		pack, o, err := s.pack(o)
		if err != nil {
			return err
		}
		if pack != nil {
			before = append(before, pack)
		}
		rest = append(rest, o)
	}
	for _, o := range before {
		if v := o.out; v != nil && v.keep {
			if err := s.hold(v); err != nil {
				return err
			}
		}
	}
	for _, o := range rest {
		if len(o.block.Calls) == 0 {
			continue // another name, which whoever reads it holds
		}
		for _, v := range o.in {
			if err := s.hold(v.origin()); err != nil {
				return err
			}
		}
	}
	c.before, c.ops = len(before), append(before, rest...)
	return nil
}

// settledKeys returns the values that are parameters, or computed from these
// alone, each with a key that holds the whole computation.
func (c *compiler) settledKeys() map[*value]string {
	keys := map[*value]string{}
	for _, l := range c.leaves {
		if v := c.values[l.node.ID()]; l.param != nil && v != nil {
			keys[v] = fmt.Sprintf("%q", l.param.Name)
		}
	}
	for _, node := range c.nodes {
		o, ok := node.Op().(*op.Op)
		if !ok {
			continue
		}
		var in []string
		operands := op.Operands(node)
		for _, x := range operands {
			if key := keys[c.values[x.ID()]]; key != "" {
				in = append(in, key)
			}
		}
		if len(in) > 0 && len(in) == len(operands) {
			keys[c.values[node.ID()]] = fmt.Sprintf("%T%+v%v(%s)", o.Spec, o.Spec, node.Shape(), strings.Join(in, " "))
		}
	}
	return keys
}

// settler tells what is settled.
type settler struct {
	*compiler
	keys   map[*value]string
	packed map[string]*value // filters, by their key
}

// settled reports whether a value is computed from parameters alone.
func (s *settler) settled(v *value) bool {
	return v != nil && v.alias == nil && s.keys[v] != ""
}

// hold gives a settled value memory that lasts from run to run. Others, such as
// the filters that are packed, are there for a moment only.
func (s *settler) hold(v *value) error {
	if !s.settled(v) || v.static != nil {
		return nil
	}
	b, err := s.network.settledBuffer(s.keys[v], v.size)
	v.static = b
	return err
}

// pack returns a convolution that reads its filter packed, and what packs it, nil
// where it is packed for another one or the device has no use for that. Kernels
// that multiply bfloat16 have orders of their own, and narrow the filter too.
func (s *settler) pack(o *operation) (pack, changed *operation, err error) {
	d, ok := sole[kernel.Conv](o)
	if !ok || s.spec.Precision != Float32 || s.keys[o.in[1]] == "" {
		return nil, o, nil
	}
	n := kernel.PackedFilter(s.network.dev, d)
	if n == 0 {
		return nil, o, nil
	}
	packing, conv := d.Pack(n)
	key := fmt.Sprintf("%T%+v(%s)", packing, packing, s.keys[o.in[1]])
	v := s.packed[key]
	if v == nil {
		b, err := s.network.settledBuffer(key, 4*n)
		if err != nil {
			return nil, nil, err
		}
		v = fixed(b)
		s.packed[key] = v
		pack = call(o.name, label{"Conv.pack", o.label.node}, packing, o.in[1], v)
	}
	block := *o.block
	block.Calls = []op.Call{{Desc: conv, Args: o.block.Calls[0].Args}}
	with := *o
	with.block, with.in = &block, slices.Clone(o.in)
	with.in[1] = v
	return pack, &with, nil
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
