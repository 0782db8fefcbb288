package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph"
)

// verifyCommand is `graft verify`.
type verifyCommand struct {
	deviceFlags
	Model     string   `arg:"" help:"Exported model." predictor:"onnx"`
	Against   string   `help:"Checkpoint or model it was exported from." required:"" placeholder:"FILE" predictor:"onnx"`
	Engine    string   `help:"What runs the exported model: onnxruntime, or graft where that is not installed." enum:"onnxruntime,graft" default:"onnxruntime"`
	Runtime   string   `help:"ONNX Runtime's library. Without it: GRAFT_ONNXRUNTIME, then the system's." placeholder:"FILE" predictor:"file"`
	Sizes     []string `help:"Heights and widths to compare at." default:"96x96,97x131,240x320"`
	Tolerance float64  `help:"Largest difference of a probability that passes." default:"1e-4"`
	Agreement float64  `help:"Least share of pixels of the same label." default:"0.9999"`
	jsonFlag
}

// Help is shown by --help.
func (verifyCommand) Help() string {
	return `Examples:
  graft verify deploy.onnx --against runs/camvid/checkpoint.onnx
  graft verify deploy.onnx --against runs/camvid/checkpoint.onnx --engine graft --json

Fails when a probability differs by more than the tolerance or too few labels agree.`
}

func (c *verifyCommand) Run(ctx context.Context, s streams) error {
	if !(c.Tolerance > 0 && c.Tolerance <= 1) {
		return usage("--tolerance is %v; give more than 0, and 1 at most", c.Tolerance)
	}
	if !(c.Agreement > 0 && c.Agreement <= 1) {
		return usage("--agreement is %v; give more than 0, and 1 at most", c.Agreement)
	}
	opts := export.VerifyOptions{Runtime: c.Runtime, Tolerance: c.Tolerance, Agreement: c.Agreement, Threads: c.Threads}
	for _, text := range c.Sizes {
		size, err := parseSize(text)
		if err != nil {
			return err
		}
		opts.Sizes = append(opts.Sizes, size)
	}
	m, err := loadModel(c.Against)
	if err != nil {
		return err
	}
	dev, err := c.open(s.err)
	if err != nil {
		return err
	}
	if c.Engine == "graft" {
		opts.Device = dev
	}
	report, err := untilStopped(ctx, func() (*export.Report, error) {
		net, err := graph.NewNetwork(m, dev)
		if err != nil {
			return nil, err
		}
		return export.Verify(c.Model, export.NewNetworkEvaluator(net, ""), opts)
	})
	if ctx.Err() != nil {
		return err // the device may still be at work: it ends with the process
	}
	defer dev.Close()
	if err != nil {
		return err
	}
	if err := c.result(s.out, report, report.WriteText); err != nil {
		return err
	}
	return report.Err()
}

// parseSize reads "240x320" as height and width.
func parseSize(text string) ([2]int, error) {
	h, w, ok := strings.Cut(text, "x")
	var size [2]int
	var err error
	if ok {
		if size[0], err = strconv.Atoi(h); err == nil {
			size[1], err = strconv.Atoi(w)
		}
	}
	if !ok || err != nil || size[0] < 1 || size[1] < 1 || size[0] > 1<<14 || size[1] > 1<<14 {
		return size, usage("size %q; give height and width, such as 240x320", text)
	}
	return size, nil
}
