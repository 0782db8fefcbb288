package main

import (
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph"
)

// verifyCommand is `graft verify`.
type verifyCommand struct {
	deviceFlags
	Model     string   `arg:"" help:"Exported model." type:"existingfile"`
	Against   string   `help:"Checkpoint or model it was exported from." required:"" type:"existingfile" placeholder:"FILE"`
	Runtime   string   `help:"ONNX Runtime's library. Without it: GRAFT_ONNXRUNTIME, then the system's." placeholder:"FILE" type:"path"`
	Sizes     []string `help:"Heights and widths to compare at." placeholder:"HxW,..." default:"96x96,97x131,240x320"`
	Tolerance float64  `help:"Largest difference of a probability that passes." default:"1e-4"`
	Agreement float64  `help:"Least share of pixels of the same label." default:"0.9999"`
	JSON      bool     `name:"json" help:"Write the comparison as JSON."`
}

// Help is shown by --help.
func (verifyCommand) Help() string {
	return `Example:
  graft verify deploy.onnx --against runs/camvid/checkpoint.onnx

Fails when a probability differs by more than the tolerance or too few labels agree.`
}

func (c *verifyCommand) Run(s streams) error {
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
	defer dev.Close()
	net, err := graph.NewNetwork(m, dev)
	if err != nil {
		return err
	}
	report, err := export.Verify(c.Model, export.NewNetworkEvaluator(net, "image"), opts)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(s.out, report)
	} else {
		err = report.WriteText(s.out)
	}
	if err != nil {
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
