package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/mpi"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/metric"
)

// trainCommand is `graft train`.
type trainCommand struct {
	configFlags
	devicesFlags
	Resume     bool    `help:"Continue the run in DIR from its last checkpoint, bit for bit."`
	Checkpoint string  `help:"Checkpoint to continue from, instead of DIR's." placeholder:"FILE" predictor:"onnx"`
	Profile    string  `help:"Time every operator; write profile.txt and trace.json (for ui.perfetto.dev) to FOLDER." placeholder:"FOLDER"`
	Recompute  *string `help:"What is computed twice to need less memory: auto, none, cheap or full. Without it: TRAIN.recompute." enum:"auto,none,cheap,full" placeholder:"WHAT"`
	jsonFlag
}

// Help is shown by --help.
func (trainCommand) Help() string {
	return `Examples:
  graft train --cfg camvid.yaml
  graft train --cfg camvid.yaml TRAIN.num_epoch 10 DATASET.imgSizes "(240,)" DIR runs/short
  graft train --cfg camvid.yaml --resume
  graft train --cfg camvid.yaml --devices cpu:0,cpu:1
  mpirun -n 2 --bind-to none graft train --cfg camvid.yaml
  graft train --cfg camvid.yaml --profile profile TRAIN.num_epoch 1 TRAIN.epoch_iters 20 DIR runs/profiled

The run folder (DIR) gets config.yaml, environment.json, history.csv, history.json,
evaluation.csv, checkpoint.onnx, best.onnx (by validation mIoU), report.html and the
folder tensorboard (tensorboard --logdir DIR). Ctrl-C saves a checkpoint and stops.`
}

func (c *trainCommand) Run(ctx context.Context, s streams, line commandLine) error {
	return asRank(ctx, s, func(s streams, m *mpi.Member) error { return c.train(ctx, s, line, m) })
}

// train trains alone, or as one of the members of a group.
func (c *trainCommand) train(ctx context.Context, s streams, line commandLine, m *mpi.Member) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	cfg.Train.Recompute = cmp.Or(given(c.Recompute), cfg.Train.Recompute)
	if cfg.Train.Devices, err = c.names(cfg.Train.Devices); err != nil {
		return err
	}
	if n := len(cfg.Train.Devices); m != nil && n > 1 {
		return usage("--devices or TRAIN.devices name %d replicas of one process, and below mpirun each rank is one; name none, and start as many ranks as you want replicas", n)
	}
	resume := c.Checkpoint
	if c.Resume && resume == "" {
		resume = filepath.Join(cfg.Dir, train.CheckpointFile)
		if _, err := os.Stat(resume); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: no checkpoint to resume from; start the run without --resume", resume)
		}
	}
	var profiler *graph.Profiler
	if c.Profile != "" && (m == nil || m.Rank() == 0) {
		if isFile(c.Profile) {
			return usage("--profile %s is a file; name a folder", c.Profile)
		}
		if err := os.MkdirAll(c.Profile, 0o755); err != nil { // now, not after the training
			return fmt.Errorf("--profile: %w", err)
		}
		profiler = graph.NewProfiler()
	}
	result, err := runTraining(ctx, s, cfg, c.deviceFlags, m, resume, line, profiler)
	if profiler != nil && (err == nil || errors.Is(err, train.ErrStopped)) {
		if e := writeProfile(s.err, c.Profile, profiler); e != nil {
			return errors.Join(err, e)
		}
	}
	if err != nil {
		return err
	}
	return c.result(s.out, result, result.write)
}

// trainResult is what a run ends with.
type trainResult struct {
	Checkpoint string          `json:"checkpoint"`
	Report     string          `json:"report"`
	Iterations int             `json:"iterations"`
	Loss       float64         `json:"loss"`
	Evaluation *metric.Summary `json:"evaluation,omitempty"`
	Best       *train.Best     `json:"best,omitempty"`
}

func (r *trainResult) write(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d iterations, last loss %.4f\n", r.Checkpoint, r.Iterations, r.Loss)
	if e := r.Evaluation; e != nil {
		fmt.Fprintf(w, "validation: mIoU %.2f %%, pixel accuracy %.2f %%\n", 100*e.MeanIoU, 100*e.Accuracy)
	}
	if b := r.Best; b != nil {
		fmt.Fprintf(w, "best: %s, mIoU %.2f %% after %d iterations\n", b.File, 100*b.MeanIoU, b.Iteration)
	}
	_, err := fmt.Fprintf(w, "report: %s\n", r.Report)
	return err
}

func runTraining(ctx context.Context, s streams, cfg *config.Config, d deviceFlags, m *mpi.Member, resume string, line commandLine, profiler *graph.Profiler) (*trainResult, error) {
	var group graph.Group // nil without a member
	if m != nil {
		group = m
		if d.Threads == 0 {
			d.Threads = m.Threads()
		}
	}
	devices, err := d.or(cfg).openAll(s.err, cfg.Train.Devices)
	if err != nil {
		return nil, err
	}
	defer closeAll(devices)
	fmt.Fprintf(s.err, "training on %s\n", train.Describe(devices, group))
	if m != nil && m.Spare() > 0 {
		fmt.Fprintf(s.err, "mpirun has bound the ranks to processors and leaves %d of this machine idle; mpirun --bind-to none shares all of them\n", m.Spare())
	}
	r, err := train.Run(ctx, train.Options{
		Config: cfg, Devices: devices, Group: group, Resume: resume, Command: line, Version: version(), Output: s.err,
		Profiler: profiler,
	})
	if err != nil {
		return nil, err
	}
	return &trainResult{r.Checkpoint, filepath.Join(cfg.Dir, train.ReportFile), r.Iterations, r.Loss, r.Evaluation, r.Best}, nil
}
