package main

import (
	"cmp"
	"context"
	"fmt"
)

// testCommand is `graft test`: predict with the settings of a configuration, as
// the reference project's test script.
type testCommand struct {
	configFlags
	devicesFlags
	Imgs    []string `help:"Pictures, folders of pictures, .odgt lists, or .txt lists of one picture a line; may be given again." required:"" placeholder:"PATH" sep:"none" predictor:"file"`
	Model   string   `help:"Model or checkpoint, instead of TEST.checkpoint in DIR." placeholder:"FILE" predictor:"onnx"`
	Force   bool     `help:"Replace existing results."`
	Opacity float64  `help:"Of the colours in the overlay, 0 to 1." default:"0.5"`
	jsonFlag
}

// Help is shown by --help.
func (testCommand) Help() string {
	return `Examples:
  graft test --cfg camvid.yaml --imgs street.jpg
  graft test --cfg camvid.yaml --imgs pictures TEST.checkpoint best.onnx TEST.result results VAL.flip True

Does what graft predict does, the settings being those of the configuration: DIR and
TEST.checkpoint (the model), TEST.result (folder for the results), DATASET.imgSizes,
DATASET.imgMaxSize and DATASET.padding_constant, VAL.flip, VAL.window and VAL.overlap.`
}

func (c *testCommand) Run(ctx context.Context, s streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	file, err := checkpointOf(cfg, c.Model, "TEST.checkpoint", cfg.Test.Checkpoint, s.err)
	if err != nil {
		return err
	}
	out := cmp.Or(cfg.Test.Result, ".")
	if isFile(out) {
		return fmt.Errorf("TEST.result: %s is a file; name a folder", out)
	}
	d, v := &cfg.Dataset, &cfg.Val
	devices := devicesFlags{deviceFlags: c.or(cfg)}
	if devices.Devices, err = c.names(cfg.Train.Devices); err != nil {
		return err
	}
	p := predictCommand{
		devicesFlags: devices, Model: file, Images: c.Imgs, Out: out, Force: c.Force, jsonFlag: c.jsonFlag,
		Sizes: d.ImgSizes, MaxSize: d.ImgMaxSize, Stride: d.PaddingConstant,
		Flip: v.Flip, Window: v.Window, Overlap: v.Overlap, Opacity: c.Opacity, cfg: cfg,
	}
	return p.Run(ctx, s)
}
