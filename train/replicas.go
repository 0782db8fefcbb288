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
	groups   []graph.Group // nil for a single one
}

// NewReplicas makes a trainer on every device, by NewTrainer or ResumeTrainer.
// Several are called cpu:0, cpu:1 and so on.
func NewReplicas(devices []kernel.Device, make func(kernel.Device) (*Trainer, error)) (*Replicas, error) {
	r := &Replicas{}
	if len(devices) == 0 {
		return nil, errors.New("no device to train on")
	}
	if len(devices) > 1 {
		names := []string{}
		for i := range devices {
			names = append(names, fmt.Sprintf("cpu:%d", i))
		}
		r.groups = graph.NewGroup(names...)
	}
	for i, dev := range devices {
		t, err := make(dev)
		if err != nil {
			return nil, err
		}
		if r.groups != nil {
			t.join(r.groups[i], i)
		}
		r.Trainers = append(r.Trainers, t)
	}
	return r, nil
}

// Describe tells what a run computes on.
func Describe(devices []kernel.Device) string {
	one := devices[0].String()
	if len(devices) == 1 {
		return one
	}
	return fmt.Sprintf("%d replicas, each on %s", len(devices), one)
}

// First returns the trainer whose parameters are saved.
func (r *Replicas) First() *Trainer { return r.Trainers[0] }

// Step trains every replica on the same number of batches: the first ones go to
// the replicas in turn, and so on. The record has the means over the replicas
// and the picture size of the first. After an error, which names the replica
// that failed, no replica can go on.
func (r *Replicas) Step(batches ...Batch) (history.Record, error) {
	k := len(r.Trainers)
	if len(batches) == 0 || len(batches)%k != 0 {
		return history.Record{}, fmt.Errorf("%d batches for %d replicas; every replica takes as many", len(batches), k)
	}
	if k == 1 {
		return r.First().StepOn(batches...)
	}
	shares := make([][]Batch, k)
	for i, b := range batches {
		shares[i%k] = append(shares[i%k], b)
	}
	records := make([]history.Record, k)
	err := r.each(func(i int) (err error) {
		records[i], err = r.Trainers[i].StepOn(shares[i]...)
		return err
	})
	if err != nil {
		return history.Record{}, err
	}
	mean := records[0]
	mean.Loss, mean.LossMain, mean.LossDeepSup, mean.Accuracy = 0, 0, 0, 0
	for _, one := range records {
		mean.Loss += one.Loss / float64(k)
		mean.LossMain += one.LossMain / float64(k)
		mean.LossDeepSup += one.LossDeepSup / float64(k)
		mean.Accuracy += one.Accuracy / float64(k)
	}
	return mean, nil
}

// each calls f for all replicas at the same time. The first failure that is not
// that of another replica is the error.
func (r *Replicas) each(f func(i int) error) error {
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
			return fmt.Errorf("replica %s: %w", r.groups[i].Name(), err)
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

// join makes the trainer replica number i of a group.
func (t *Trainer) join(g graph.Group, i int) {
	t.Net.Join(g)
	t.replica, t.replicas = i, g.Size()
}

// Predictors returns that of every replica.
func (r *Replicas) Predictors() Predictors {
	var all Predictors
	for _, t := range r.Trainers {
		all = append(all, t.Predictor())
	}
	return all
}
