package train

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/metric"
)

// ranks are the processes that train together with one replica each, or the
// only one. All of them make the same calls in the same order.
type ranks struct {
	group graph.Group // nil for one process
}

func (r ranks) several() bool { return r.group != nil }

func (r ranks) count() int {
	if r.group == nil {
		return 1
	}
	return r.group.Size()
}

// number is that of this process, from 0.
func (r ranks) number() int {
	if r.group == nil {
		return 0
	}
	return r.group.Rank()
}

// first reports whether this process is the one that writes.
func (r ranks) first() bool { return r.number() == 0 }

// any reports whether any process says yes to a question. All get one answer.
func (r ranks) any(question string, yes bool) (bool, error) {
	if !r.several() {
		return yes, nil
	}
	var answers [1]float64
	if yes {
		answers[0] = 1
	}
	err := r.group.SumDouble(question, answers[:])
	return answers[0] > 0, err
}

// same returns an error that names a process to which a thing is another than to
// the first.
func (r ranks) same(format string, args ...any) error {
	if !r.several() {
		return nil
	}
	return r.group.SumDouble(fmt.Sprintf(format, args...), nil)
}

// options are those of a loader of this process's part of the data.
func (r ranks) options(cfg *config.Config) data.Options {
	o := data.OptionsFrom(cfg)
	o.Part, o.Parts = r.number(), r.count()
	return o
}

// merge takes what the evaluation of a part came to and returns that of the
// whole; ErrStopped if ctx has ended in one process before it was done.
func (r ranks) merge(ctx context.Context, part *metric.Confusion, err error) (*metric.Confusion, error) {
	stopped := err != nil && ctx.Err() != nil
	if err != nil && !stopped {
		return nil, err
	}
	switch stopped, err = r.any("stop of the evaluation", stopped); {
	case err != nil:
		return nil, err
	case stopped:
		return nil, ErrStopped
	case !r.several():
		return part, nil
	}
	pixels := make([]float64, len(part.Counts)) // exact up to 2^53
	for i, v := range part.Counts {
		pixels[i] = float64(v)
	}
	if err := r.group.SumDouble("pixels of the evaluation", pixels); err != nil {
		return nil, err
	}
	for i, v := range pixels {
		part.Counts[i] = int64(v)
	}
	return part, nil
}

// sameSet compares a data set: the names and sizes of its pictures.
func (r ranks) sameSet(split data.Split, set *data.Set) error {
	if !r.several() {
		return nil
	}
	h := sha256.New()
	for _, one := range set.Records {
		fmt.Fprintf(h, "%q %d %d\n", one.Name, one.Width, one.Height)
	}
	return r.same("a %s set of %d pictures, sizes and names of fingerprint %.6x", split, len(set.Records), h.Sum(nil))
}

// sameState compares weights, averages and the optimizer's state, bit by bit.
func (r ranks) sameState(t *Trainer) error {
	if !r.several() {
		return nil
	}
	h := sha256.New()
	add := func(net *graph.Network, p *graph.Parameter) error {
		v, err := net.Value(p)
		if err != nil {
			return err
		}
		h.Write(kernel.Bytes(v))
		return nil
	}
	for _, p := range t.Net.Parameters() {
		if err := add(t.Net, p); err != nil {
			return err
		}
		if t.average != nil {
			if err := add(t.average.net, t.average.net.Parameter(p.Name)); err != nil {
				return err
			}
		}
	}
	for _, p := range t.Optimizer.params {
		for _, state := range p.states {
			if err := add(t.Net, p.as(state)); err != nil {
				return err
			}
		}
	}
	return r.same("weights and optimizer of fingerprint %.6x after %d iterations", h.Sum(nil), t.Iteration)
}
