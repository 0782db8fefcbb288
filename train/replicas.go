package train

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/train/history"
)

// Replicas train one model on several devices, each on its own batches, which
// may have different sizes. As in the reference, the loss of a step is the mean
// of the replicas' losses, each of which is a mean over the labelled pixels of
// its own batch; batch normalisation uses the statistics of all batches. The
// parameters of all replicas have the same bits after every step.
type Replicas struct {
	// Trainers hold a replica each.
	Trainers []*Trainer
	groups   []graph.Group // of each; nil for a single one
}

// NewReplicas makes a trainer on every device, by NewTrainer or ResumeTrainer.
// Several are called cpu:0, cpu:1 and so on. A single one may have others in
// other processes: group, nil if there are none.
func NewReplicas(devices []kernel.Device, group graph.Group, make func(kernel.Device) (*Trainer, error)) (*Replicas, error) {
	r := &Replicas{}
	switch {
	case len(devices) == 0:
		return nil, errors.New("no device to train on")
	case len(devices) > 1 && group != nil:
		return nil, fmt.Errorf("%d devices in a process of several; each trains on one", len(devices))
	case len(devices) > 1:
		names := []string{}
		for i := range devices {
			names = append(names, fmt.Sprintf("replica cpu:%d", i))
		}
		r.groups = graph.NewGroup(names...)
	case group != nil:
		r.groups = []graph.Group{group}
	}
	for i, dev := range devices {
		t, err := make(dev)
		if err != nil {
			return nil, err
		}
		if r.groups != nil {
			t.join(r.groups[i])
		}
		r.Trainers = append(r.Trainers, t)
	}
	return r, nil
}

// Describe tells what a run computes on.
func Describe(devices []kernel.Device, group graph.Group) string {
	one := devices[0].String()
	switch {
	case group != nil && group.Local() < group.Size():
		return fmt.Sprintf("%d ranks, %d of them on this machine, each on %s", group.Size(), group.Local(), one)
	case group != nil:
		return fmt.Sprintf("%d ranks, each on %s", group.Size(), one)
	case len(devices) > 1:
		return fmt.Sprintf("%d replicas, each on %s", len(devices), one)
	}
	return one
}

// First returns the trainer whose parameters are saved.
func (r *Replicas) First() *Trainer { return r.Trainers[0] }

// Step trains every replica on the same number of batches: the first ones go to
// the replicas in turn, and so on. The record has the means over the replicas,
// those of other processes too, and the picture size of the first here. After an error, which names the replica
// that failed, no replica can go on.
func (r *Replicas) Step(batches ...Batch) (history.Record, error) {
	k := len(r.Trainers)
	if len(batches) == 0 || len(batches)%k != 0 {
		return history.Record{}, fmt.Errorf("%d batches for %d replicas; every replica takes as many", len(batches), k)
	}
	if r.groups == nil {
		return r.First().StepOn(batches...)
	}
	shares := make([][]Batch, k)
	for i, b := range batches {
		shares[i%k] = append(shares[i%k], b)
	}
	records := make([]history.Record, k)
	err := r.each(func(i int) (err error) {
		if records[i], err = r.Trainers[i].StepOn(shares[i]...); err != nil {
			return err
		}
		return shareRecord(r.groups[i], &records[i])
	})
	if err != nil {
		return history.Record{}, err
	}
	return records[0], nil
}

// shareRecord replaces losses and accuracy by their means over a group.
func shareRecord(g graph.Group, rec *history.Record) error {
	shared := []*float64{&rec.Loss, &rec.LossMain, &rec.LossDeepSup, &rec.Accuracy}
	v := make([]float64, len(shared))
	for i, p := range shared {
		v[i] = *p / float64(g.Size())
	}
	if err := g.SumDouble("losses and accuracy", v); err != nil {
		return err
	}
	for i, p := range shared {
		*p = v[i]
	}
	return nil
}

// each calls f for all replicas at the same time. The first failure that is not
// that of another replica is the error.
func (r *Replicas) each(f func(i int) error) error {
	if len(r.Trainers) == 1 {
		return f(0) // who joined it to others tells them
	}
	errs := make([]error, len(r.Trainers))
	var all sync.WaitGroup
	for i := range r.Trainers {
		all.Go(func() {
			if errs[i] = guarded(func() error { return f(i) }); errs[i] != nil {
				r.groups[i].Fail(errs[i])
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		var other *graph.GroupError
		if err != nil && !errors.As(err, &other) {
			return fmt.Errorf("%s: %w", r.groups[i].Name(), err)
		}
	}
	return errors.Join(errs...)
}

// guarded calls f; a panic, which nobody else could recover in a goroutine,
// becomes an error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// join makes the trainer a replica of a group.
func (t *Trainer) join(g graph.Group) {
	t.Net.Join(g)
	t.replica, t.replicas = g.Rank(), g.Size()
}

// Predictors returns that of every replica.
func (r *Replicas) Predictors() Predictors {
	var all Predictors
	for _, t := range r.Trainers {
		all = append(all, t.Predictor())
	}
	return all
}
