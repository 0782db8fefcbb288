package graph

import (
	"errors"
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Updater is an optimizer whose work a Plan can do itself (Spec.Update): each
// parameter changes as soon as its gradient is complete and nothing reads the
// old value any more, so a gradient takes memory for a moment only.
type Updater interface {
	// Update returns how a parameter changes, or false for one that does not.
	Update(p *Parameter) (Update, bool)
}

// Update is the change of one parameter by its gradient.
type Update struct {
	// Kind names the optimizer in profiles: "SGD".
	Kind string
	Desc kernel.Desc
	// Args are the arguments of Desc; nil stands for the gradient.
	Args []kernel.Buffer
}

var errNoUpdater = errors.New("the network has no updater; call SetUpdater before a Plan with Spec.Update is built")

// SetUpdater sets the optimizer of Plans with Spec.Update. The Network forgets
// the Plans that it has built.
func (n *Network) SetUpdater(u Updater) {
	n.updater = u
	clear(n.plans)
	n.recent.Init()
}

// updateOf returns the update of a parameter that this Plan does itself.
func (c *compiler) updateOf(p *Parameter) (Update, bool) {
	if !c.spec.Update {
		return Update{}, false
	}
	return c.network.updater.Update(p)
}

// insertUpdates adds the updates of the parameters that have a gradient. None
// comes before the loss is known, so that a run can stop there.
func (c *compiler) insertUpdates() {
	lastRead, made := map[*value]int{}, map[*value]int{}
	for i, o := range c.ops {
		for _, v := range o.in {
			lastRead[v.origin()] = i
		}
		for v := range o.results {
			made[v] = i
		}
	}
	params := map[*Parameter]*value{}
	for _, l := range c.leaves {
		if v := c.values[l.node.ID()]; l.param != nil && v != nil {
			params[l.param] = v
		}
	}
	after := map[int][]*operation{}
	for _, node := range c.nodes {
		grad := c.gradientOf(node)
		for _, p := range c.grads[node.ID()] {
			u, ok := c.updateOf(p)
			if !ok {
				continue
			}
			args := make([]*value, len(u.Args))
			for i, b := range u.Args {
				if args[i] = grad; b != nil {
					args[i] = fixed(b)
				}
			}
			at := max(made[grad], lastRead[params[p]], c.lossAt())
			if c.mean[node.ID()] != nil {
				at = max(at, lastRead[grad]) // when it is shared
			}
			after[at] = append(after[at], call(fmt.Sprintf("update of %q", p.Name), label{u.Kind, p.Name}, u.Desc, args...))
		}
	}
	var ops []*operation
	for i, o := range c.ops {
		ops = append(append(ops, o), after[i]...)
	}
	c.ops = ops
}

// lossAt returns the operation after which the loss is known, 0 without a loss.
func (c *compiler) lossAt() int {
	if c.total == nil {
		return 0
	}
	at, total := 0, c.values[c.total.ID()].origin()
	for i, o := range c.ops {
		if o.out != nil && o.out.origin() == total {
			at = i
		}
	}
	return at
}
