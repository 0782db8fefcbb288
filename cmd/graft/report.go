package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/graft-onnx/graft/train"
)

// reportCommand is `graft report`.
type reportCommand struct {
	deviceFlags
	Folder string `arg:"" name:"run" help:"Run folder (DIR) of a training." predictor:"folder"`
	Model  string `help:"Model or checkpoint to evaluate, instead of the run's checkpoint." placeholder:"FILE" predictor:"onnx"`
	Out    string `short:"o" help:"File to write, instead of the run's report.html." placeholder:"FILE" predictor:"file"`
	NoData bool   `help:"Show what the run folder tells alone; evaluate nothing and read no pictures."`
	Force  bool   `help:"Replace an existing file of -o."`
	jsonFlag
}

// Help is shown by --help.
func (reportCommand) Help() string {
	return `Examples:
  graft report runs/camvid
  graft report runs/camvid --model runs/camvid/best.onnx -o best.html
  graft report runs/camvid --no-data

Writes the page that a training ends with anew: curves, IoU by class, confusion matrix,
pictures beside truth and prediction, the data set, command, configuration and environment.
The run may still be going on, or have been stopped.`
}

// reportResult is what the command writes.
type reportResult struct {
	Report string `json:"report"`
}

func (c *reportCommand) Run(ctx context.Context, s streams) error {
	if c.NoData && c.Model != "" {
		return usage("--model names what to evaluate, and --no-data evaluates nothing; leave one out")
	}
	o := train.ReportOptions{Dir: filepath.Clean(c.Folder), Output: c.Out, Model: c.Model, Progress: s.err}
	if c.Out != "" {
		if err := refuseExisting(c.Out, c.Force); err != nil {
			return err
		}
	}
	if !c.NoData {
		dev, err := c.open(s.err)
		if err != nil {
			return err
		}
		defer dev.Close()
		o.Device = dev
	}
	file, err := train.Report(ctx, o)
	if err != nil {
		return err
	}
	return c.result(s.out, reportResult{file}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "report: %s\n", file)
		return err
	})
}
