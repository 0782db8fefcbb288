package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
)

// trainCommand is `graft train`.
type trainCommand struct {
	configFlags
	deviceFlags
	Resume     bool   `help:"Continue the run in DIR from its last checkpoint, bit for bit."`
	Checkpoint string `help:"Checkpoint to continue from, instead of DIR's." placeholder:"FILE" type:"existingfile"`
}

// Help is shown by --help.
func (trainCommand) Help() string {
	return `Examples:
  graft train --cfg camvid.yaml
  graft train --cfg camvid.yaml TRAIN.num_epoch 10 DATASET.imgSizes "(240,)" DIR runs/short
  graft train --cfg camvid.yaml --resume

The run folder (DIR) gets config.yaml, environment.json, history.csv, history.json,
checkpoint.onnx and report.html. Ctrl-C saves a checkpoint and stops.`
}

func (c *trainCommand) Run(ctx context.Context, s streams, line commandLine) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	resume := c.Checkpoint
	if c.Resume && resume == "" {
		resume = filepath.Join(cfg.Dir, train.CheckpointFile)
	}
	return runTraining(ctx, s, cfg, c.deviceFlags, resume, line)
}

func runTraining(ctx context.Context, s streams, cfg *config.Config, d deviceFlags, resume string, line commandLine) error {
	if d.Device == "" {
		d.Device = cfg.Train.Device
	}
	dev, err := d.open(s.err)
	if err != nil {
		return err
	}
	defer dev.Close()
	fmt.Fprintf(s.err, "training on %v\n", dev)
	result, err := train.Run(ctx, train.Options{
		Config: cfg, Device: dev, Resume: resume, Command: line, Version: version(), Output: s.err,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %d iterations, last loss %.4f\n", result.Checkpoint, result.Iterations, result.Loss)
	if e := result.Evaluation; e != nil {
		fmt.Fprintf(s.out, "validation: mIoU %.4f, pixel accuracy %.2f %%\n", e.MeanIoU, 100*e.Accuracy)
	}
	return nil
}
