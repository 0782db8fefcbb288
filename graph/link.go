package graph

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// link lays out the arena and compiles the kernels.
func (c *compiler) link() (*Plan, error) {
	p := &Plan{network: c.network, training: c.spec.Mode == Train, inputs: map[string]slot{}, outputs: map[string]slot{}}
	l := &linker{compiler: c, plan: p}
	loss, settled := c.lossAt(), 0
	for i, o := range c.ops {
		if err := l.operation(i, o); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		if i < c.before {
			settled = len(p.steps)
		}
		if i == loss && c.spec.Update && c.total != nil {
			p.guard = len(p.steps)
		}
	}
	p.before, p.steps = p.steps[:settled], p.steps[settled:]
	for _, v := range c.arenaValues() {
		l.regions = append(l.regions, v.region)
	}
	p.arenaSize = layout(l.regions)
	for name, node := range c.inputs {
		if v := c.values[node.ID()]; v != nil {
			p.inputs[name] = slot{arg: place(v), shape: node.Shape()}
		}
	}
	for name, node := range c.outputs {
		p.outputs[name] = slot{arg: place(c.values[node.ID()]), shape: node.Shape()}
	}
	for _, node := range c.losses {
		p.losses = append(p.losses, place(c.values[node.ID()]))
	}
	if c.total != nil {
		a := place(c.values[c.total.ID()])
		p.total, p.counts = &a, place(c.values[c.counts.ID()])
	}
	return p, nil
}

// linker turns operations into the steps of a Plan.
type linker struct {
	*compiler
	plan    *Plan
	regions []*region // of temporaries and scratch, then of values
}

// place returns where a value lives.
func place(v *value) arg {
	v = v.root()
	return arg{static: v.static, region: v.region, size: v.size, half: v.half}
}

// temp returns memory for operation i alone.
func (l *linker) temp(size, i int) arg {
	r := &region{size: size, first: i, last: i}
	l.regions = append(l.regions, r)
	return arg{region: r, size: size}
}

// operation adds the steps of operation i.
func (l *linker) operation(i int, o *operation) error {
	all := op.Arguments[arg]{RNG: arg{static: l.network.rng, size: l.network.rng.Size()}}
	for _, v := range o.in {
		all.In = append(all.In, place(v))
	}
	for _, size := range o.block.Temps {
		all.Temps = append(all.Temps, l.temp(size, i))
	}
	if o.out != nil {
		all.Out = place(o.out)
	}
	if o.beside != nil {
		all.Beside = place(o.beside)
	}
	for _, call := range o.block.Calls {
		args := make([]arg, len(call.Args))
		for k, r := range call.Args {
			args[k] = all.Resolve(r)
		}
		if err := l.step(i, o, call.Desc, args); err != nil {
			return err
		}
	}
	return nil
}

// step compiles one kernel call of operation i. It checks the arguments against
// the description, so that no kernel can reach past a buffer.
func (l *linker) step(i int, o *operation, d kernel.Desc, args []arg) error {
	want := d.Args()
	if len(want) != len(args) {
		return fmt.Errorf("%T takes %d arguments, got %d", d, len(want), len(args))
	}
	d = mix(d, args)
	want = d.Args()
	for k, a := range want {
		if a.Size() != args[k].size {
			return fmt.Errorf("%T: argument %s has %d bytes, its buffer %d", d, a.Name, a.Size(), args[k].size)
		}
	}
	k, err := l.kernel(o, d)
	if err != nil {
		return err
	}
	if n := k.Scratch(); n > 0 {
		args = append(args, l.temp(n, i))
	}
	l.plan.steps = append(l.plan.steps, &planStep{label: o.label, name: o.name, desc: d, kernel: k, args: args})
	return nil
}

// kernel compiles a call of an operation.
func (c *compiler) kernel(o *operation, d kernel.Desc) (kernel.Kernel, error) {
	if s, ok := d.(sharing); ok {
		return s.join(shared{network: c.network, what: o.name}), nil
	}
	return c.network.dev.Compile(d)
}
