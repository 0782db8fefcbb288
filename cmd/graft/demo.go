package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// demoCommand is `graft demo`.
type demoCommand struct {
	deviceFlags
	Dir   string `help:"Folder for everything the demo makes." default:"graft-demo" type:"path"`
	Force bool   `help:"Replace what an earlier demo left."`
	Seed  uint64 `help:"Seed of data, weights and order." default:"1"`
}

// Help is shown by --help.
func (demoCommand) Help() string {
	return `Makes a small data set of drawn shapes, builds MobileNetV2dilated + C1_deepsup at a
quarter of its width, trains it, evaluates, predicts, exports and verifies it: the same
steps as the other commands, printed as they are run. Takes about two minutes on two
processors.`
}

func (c *demoCommand) Run(ctx context.Context, s streams, line commandLine) error {
	if _, err := os.Stat(c.Dir); err == nil {
		if !c.Force {
			return fmt.Errorf("%s exists; --force replaces it, --dir names another folder", c.Dir)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, demoMark)); err != nil {
			return fmt.Errorf("%s was not made by the demo; name another folder with --dir", c.Dir)
		}
		if err := os.RemoveAll(c.Dir); err != nil {
			return err
		}
	}
	cfg, err := c.prepare(ctx, s)
	if err != nil {
		return err
	}
	checkpoint := filepath.Join(cfg.Dir, "checkpoint.onnx")
	deploy := filepath.Join(c.Dir, "deploy.onnx")
	file := filepath.Join(c.Dir, "config.yaml")
	pictures := filepath.Join(c.Dir, "predictions")

	fmt.Fprintf(s.err, "\n$ graft train --cfg %s\n", file)
	if err := runTraining(ctx, s, cfg, c.deviceFlags, "", line); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "\n$ graft eval --cfg %s\n", file)
	eval := evalCommand{configFlags: configFlags{Cfg: file}, deviceFlags: c.deviceFlags, Visualize: filepath.Join(c.Dir, "evaluation")}
	if err := eval.Run(ctx, s); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "\n$ graft predict %s %s -o %s\n", checkpoint, filepath.Join(c.Dir, "data", "images", "val"), pictures)
	predict := predictCommand{
		deviceFlags: c.deviceFlags, Model: checkpoint, Images: filepath.Join(c.Dir, "data", "images", "val"), Out: pictures,
		Sizes: cfg.Dataset.ImgSizes, MaxSize: cfg.Dataset.ImgMaxSize, Stride: cfg.Dataset.PaddingConstant, Opacity: 0.5,
	}
	if err := predict.Run(ctx, streams{io.Discard, s.err}); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "\n$ graft export %s -o %s\n", checkpoint, deploy)
	export := exportCommand{Model: checkpoint, Out: deploy, Head: "softmax", Upsample: true, FoldBN: true}
	if err := export.Run(s); err != nil {
		return err
	}
	if err := c.verify(s, deploy, checkpoint); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nmodel     %s\nreport    %s\npictures  %s\n",
		deploy, filepath.Join(cfg.Dir, "report.html"), pictures)
	return nil
}

// demoMark tells a folder of the demo from any other.
const demoMark = ".graft-demo"

// prepare makes the data set and the configuration.
func (c *demoCommand) prepare(ctx context.Context, s streams) (*config.Config, error) {
	fmt.Fprintf(s.err, "generating pictures in %s\n", filepath.Join(c.Dir, "data"))
	files, err := data.Synthesize(ctx, filepath.Join(c.Dir, "data"), data.SynthOptions{Train: 160, Val: 24, Width: 128, Height: 96, Seed: c.Seed})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(c.Dir, demoMark), nil, 0o644); err != nil {
		return nil, err
	}
	cfg := config.Default()
	d := &cfg.Dataset
	d.RootDataset, d.ListTrain, d.ListVal, d.Classes = files.Root, files.ListTrain, files.ListVal, files.Classes
	d.NumClass, d.ImgSizes, d.ImgMaxSize = len(data.SynthClasses().Names), []int{96}, 128
	d.CacheMB = 64
	cfg.Model = config.Model{ArchEncoder: "mobilenetv2dilated", ArchDecoder: "c1_deepsup", FcDim: 320, Width: 4}
	t := &cfg.Train
	t.BatchSizePerGPU, t.NumEpoch, t.EpochIters = 8, 10, 20
	t.LrEncoder, t.LrDecoder, t.BNMomentum, t.Seed = 0.05, 0.05, 0.1, int(c.Seed)
	t.EvalEpochs, t.DispIter = 5, 20
	cfg.Dir = filepath.Join(c.Dir, "run")
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return cfg, cfg.Save(filepath.Join(c.Dir, "config.yaml"))
}

// verify compares with ONNX Runtime where it is installed.
func (c *demoCommand) verify(s streams, deploy, checkpoint string) error {
	if st := runtimeStatus(); !st.Available {
		fmt.Fprintf(s.err, "\nnot verified against ONNX Runtime: %s\n%s\n", st.Reason, st.Hint)
		return nil
	}
	fmt.Fprintf(s.err, "\n$ graft verify %s --against %s\n", deploy, checkpoint)
	v := verifyCommand{deviceFlags: c.deviceFlags, Model: deploy, Against: checkpoint, Sizes: []string{"96x128", "97x131"}, Tolerance: 1e-4, Agreement: 0.9999}
	return v.Run(s)
}
