// Command step times training steps of a model file on one device and prints a
// bench.Result.
//
//	go run ./bench/step --model model.onnx --image image.pb --label label.pb --device native
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/graft-onnx/graft/bench"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "step:", err)
		os.Exit(1)
	}
}

func run(args []string, out, diagnostics io.Writer) (err error) {
	flags := flag.NewFlagSet("step", flag.ContinueOnError)
	file := flags.String("model", "", "model `file`, as graft new writes it")
	image := flags.String("image", "", "`file` with an ONNX tensor float32 (N,3,H,W)")
	label := flags.String("label", "", "`file` with an ONNX tensor of integers (N,H/r,W/r), -1 for ignored")
	name := flags.String("device", "auto", "auto, native or onednn")
	threads := flags.Int("threads", 2, "threads of the device")
	precision := flags.String("precision", "fp32", "fp32 or bf16; one that cannot be had makes a result that says so")
	recompute := flags.String("recompute", "auto", "auto, none, cheap or full: what is computed twice to need less memory")
	warmup := flags.Int("warmup", 2, "steps that are not reported")
	steps := flags.Int("steps", 5, "steps that are reported")
	resume := flags.Bool("resume", false, "the model is a checkpoint to go on from")
	checkpoint := flags.String("checkpoint", "", "`file` to write a checkpoint to after the steps, twice")
	profile := flags.Bool("profile", false, "write the reported steps' time by kind of operator to the error stream")
	if err := flags.Parse(args); err != nil {
		return err
	}

	pixels, shape, err := bench.ReadTensor(*image, onnx.Floats)
	if err != nil {
		return err
	}
	wide, _, err := bench.ReadTensor(*label, onnx.Ints)
	if err != nil {
		return err
	}
	labels := make([]int32, len(wide))
	for i, v := range wide {
		labels[i] = int32(v)
	}
	if *precision != "fp32" && *precision != "bf16" {
		return fmt.Errorf("--precision %q, want fp32 or bf16", *precision)
	}
	if !slices.Contains([]string{"auto", "none", "cheap", "full"}, *recompute) {
		return fmt.Errorf("--recompute %q, want auto, none, cheap or full", *recompute)
	}
	trainer, err := newTrainer(*file, *name, *precision, *recompute, *threads, *resume)
	if err != nil {
		var missing *device.UnavailableError // its library
		if errors.As(err, &missing) {
			return json.NewEncoder(out).Encode(bench.Result{Refused: err.Error()})
		}
		return err
	}
	defer func() { err = errors.Join(err, trainer.Net.Device().Close()) }()
	if reason := trainer.Fallback(); reason != "" {
		return json.NewEncoder(out).Encode(bench.Result{Refused: reason})
	}
	result := bench.Result{Program: trainer.Net.Device().String()}
	for i := range *warmup + *steps {
		if i == *warmup && *profile {
			trainer.Net.SetProfiler(graph.NewProfiler())
		}
		begin := time.Now()
		record, err := trainer.Step(pixels, shape, labels)
		if err != nil {
			return err
		}
		if i >= *warmup {
			result.Seconds = append(result.Seconds, time.Since(begin).Seconds())
		}
		result.Losses = append(result.Losses, record.Loss)
	}
	if p := trainer.Net.Profiler(); p != nil {
		if err := p.Profile().WriteKinds(diagnostics); err != nil {
			return err
		}
	}
	result.PeakBytes = bench.PeakBytes()
	if *checkpoint != "" {
		for range 2 {
			begin := time.Now()
			if err := trainer.Save(*checkpoint, nil); err != nil {
				return err
			}
			result.Saving = append(result.Saving, bench.Saving{Seconds: time.Since(begin).Seconds(), PeakBytes: bench.PeakBytes()})
		}
	}
	return json.NewEncoder(out).Encode(result)
}

// newTrainer makes what `graft train` would train with: the reference's
// optimizer, at a learning rate that hardly decays.
func newTrainer(file, name, precision, recompute string, threads int, resume bool) (*train.Trainer, error) {
	dev, err := device.OpenThreads(name, threads)
	if err != nil {
		return nil, err
	}
	trainer, err := trainerOn(dev, file, precision, recompute, resume)
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return trainer, nil
}

func trainerOn(dev kernel.Device, file, precision, recompute string, resume bool) (*train.Trainer, error) {
	if resume {
		c, err := train.LoadCheckpoint(file)
		if err != nil {
			return nil, err
		}
		return train.ResumeTrainer(configured(c.Model, precision, recompute), c, dev)
	}
	m, err := onnx.Load(file)
	if err != nil {
		return nil, err
	}
	return train.NewTrainer(configured(m, precision, recompute), m, dev)
}

// configured is the default configuration for a model.
func configured(m *onnx.Model, precision, recompute string) *config.Config {
	cfg := config.Default()
	cfg.Train.Precision, cfg.Train.Recompute = precision, recompute
	for _, o := range m.GetGraph().GetOutput() {
		if dims := o.GetType().GetTensorType().GetShape().GetDim(); o.GetName() == onnx.OutputName && len(dims) > 1 {
			cfg.Dataset.NumClass = int(dims[1].GetDimValue())
		}
	}
	return cfg
}
