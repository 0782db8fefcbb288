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
	Dir   string `help:"Folder for everything the demo makes." default:"graft-demo" predictor:"folder"`
	Force bool   `help:"Replace what an earlier demo left."`
	Seed  uint64 `help:"Seed of data, weights and order." default:"1"`
	Quick bool   `help:"Smaller pictures and a shorter training: a look at the steps, not at the result."`
}

// Help is shown by --help.
func (demoCommand) Help() string {
	return `Examples:
  graft demo
  graft demo --quick --dir /tmp/demo --force

Draws a small data set of shapes, builds MobileNetV2dilated + C1_deepsup at half its
width, trains it, evaluates, predicts, exports and verifies it: the same steps as the
other commands, printed as they are run.`
}

// Names inside the demo's folder. demoMark tells it from any other folder.
const (
	demoMark        = ".graft-demo"
	demoData        = "data"
	demoConfig      = "config.yaml"
	demoRun         = "run"
	demoDeploy      = "deploy.onnx"
	demoPredictions = "predictions"
	demoEvaluation  = "evaluation"
)

func (c *demoCommand) Run(ctx context.Context, s streams, line commandLine) error {
	if err := c.clear(); err != nil {
		return err
	}
	cfg, err := c.prepare(ctx, s)
	if err != nil {
		return err
	}
	at := func(name ...string) string { return filepath.Join(append([]string{c.Dir}, name...)...) }
	say := func(format string, args ...any) { fmt.Fprintf(s.err, "\n$ graft "+format+"\n", args...) }

	say("train --cfg %s", at(demoConfig))
	run, err := runTraining(ctx, s, cfg, c.deviceFlags, nil, "", line, nil)
	if err != nil {
		return err
	}
	say("eval --cfg %s --visualize %s", at(demoConfig), at(demoEvaluation))
	eval := evalCommand{configFlags: configFlags{Cfg: at(demoConfig)}, devicesFlags: devicesFlags{deviceFlags: c.deviceFlags}, Visualize: at(demoEvaluation)}
	if err := eval.Run(ctx, s); err != nil {
		return err
	}
	pictures, side := at(demoData, "images", "val"), cfg.Dataset.ImgSizes[0]
	say("predict %s %s -o %s --sizes %d", run.Checkpoint, pictures, at(demoPredictions), side)
	predict := predictCommand{
		devicesFlags: devicesFlags{deviceFlags: c.deviceFlags}, Model: run.Checkpoint, Images: []string{pictures}, Out: at(demoPredictions),
		Sizes: []int{side}, MaxSize: 1000, Stride: 8, Opacity: 0.5, Overlap: 0.25,
	}
	if err := predict.Run(ctx, streams{io.Discard, s.err}); err != nil { // the shares of 24 pictures are no news here
		return err
	}
	say("export %s -o %s", run.Checkpoint, at(demoDeploy))
	export := exportCommand{Model: run.Checkpoint, Out: at(demoDeploy), Head: "softmax", Upsample: true, FoldBN: true}
	if err := export.Run(ctx, s); err != nil {
		return err
	}
	if err := c.verify(ctx, s, at(demoDeploy), run.Checkpoint, say); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "\nreport      %s\npictures    %s, %s\nmodel       %s\nto go on    graft train --cfg %s DIR %s TRAIN.num_epoch %d\n",
		run.Report, at(demoPredictions), at(demoEvaluation), at(demoDeploy), at(demoConfig), at("longer"), 2*cfg.Train.NumEpoch)
	return err
}

// clear makes room for the demo's folder.
func (c *demoCommand) clear() error {
	if _, err := os.Stat(c.Dir); err != nil {
		return nil // absent, or making it will tell
	}
	if !c.Force {
		return fmt.Errorf("%s exists; --force replaces it, --dir names another folder", c.Dir)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, demoMark)); err != nil {
		return fmt.Errorf("%s was not made by the demo; name another folder with --dir", c.Dir)
	}
	return os.RemoveAll(c.Dir)
}

// prepare makes the data set and the configuration.
func (c *demoCommand) prepare(ctx context.Context, s streams) (*config.Config, error) {
	synth := data.SynthOptions{Train: 200, Val: 24, Width: 160, Height: 128, Seed: c.Seed}
	width, epochs := 2, 16
	if c.Quick {
		synth.Train, synth.Val, synth.Width, synth.Height = 40, 8, 96, 72
		width, epochs = 4, 2
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(c.Dir, demoMark), nil, 0o644); err != nil {
		return nil, err
	}
	root := filepath.Join(c.Dir, demoData)
	fmt.Fprintf(s.err, "drawing %d pictures into %s\n", synth.Train+synth.Val, root)
	files, err := data.Synthesize(ctx, root, synth)
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	d := &cfg.Dataset
	d.RootDataset, d.ListTrain, d.ListVal, d.Classes = files.Root, files.ListTrain, files.ListVal, files.Classes
	d.NumClass, d.ImgSizes, d.ImgMaxSize = len(data.SynthClasses()), []int{synth.Height}, synth.Width
	d.CacheMB = 64
	cfg.Model = config.Model{ArchEncoder: "mobilenetv2dilated", ArchDecoder: "c1_deepsup", FcDim: 320, Width: width}
	t := &cfg.Train
	t.BatchSizePerGPU, t.NumEpoch, t.EpochIters, t.Workers = 8, epochs, 25, 2
	t.LrEncoder, t.LrDecoder, t.BNMomentum, t.Seed = 0.1, 0.1, 0.1, int(c.Seed)
	t.EvalEpochs, t.DispIter = 4, 50
	cfg.Dir = filepath.Join(c.Dir, demoRun)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return cfg, cfg.Save(filepath.Join(c.Dir, demoConfig))
}

// verify compares in ONNX Runtime where it is installed, else on graft's own
// kernels.
func (c *demoCommand) verify(ctx context.Context, s streams, deploy, checkpoint string, say func(string, ...any)) error {
	v := verifyCommand{deviceFlags: c.deviceFlags, Model: deploy, Against: checkpoint, Engine: "onnxruntime",
		Sizes: []string{"96x128", "97x131"}, Tolerance: 1e-4, Agreement: 0.9999}
	extra := ""
	if st := runtimeStatus(); !st.Available {
		fmt.Fprintf(s.err, "\nONNX Runtime is not here, so graft runs the exported file itself; to have both, %s\n", st.Hint)
		v.Engine, extra = "graft", " --engine graft"
	}
	say("verify %s --against %s --sizes 96x128,97x131%s", deploy, checkpoint, extra)
	return v.Run(ctx, s)
}
