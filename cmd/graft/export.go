package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/onnx"
)

// exportCommand is `graft export`.
type exportCommand struct {
	Model      string  `arg:"" help:"Checkpoint or model." predictor:"onnx"`
	Out        string  `short:"o" help:"File to write." default:"deploy.onnx" predictor:"onnx"`
	Head       string  `help:"Output: softmax (probabilities), argmax (labels), logits or logprob." enum:"softmax,argmax,logits,logprob" default:"softmax"`
	Upsample   bool    `help:"Bring the output to the size of the input." default:"true" negatable:""`
	FoldBN     bool    `name:"fold-bn" help:"Fold batch normalisation into the convolutions." default:"true" negatable:""`
	Preprocess *string `help:"Take uint8 pictures and normalise them inside: nchw or nhwc." enum:"nchw,nhwc" placeholder:"LAYOUT"`
	Labels     *string `help:"Element type of argmax: uint8 or int64." enum:"uint8,int64" placeholder:"TYPE"`
	Shape      string  `help:"Fix batch, height and width, for targets that need it. No value may have 2^31 elements or more then." placeholder:"N,H,W"`
	Force      bool    `help:"Replace an existing file."`
	jsonFlag
}

// Help is shown by --help.
func (exportCommand) Help() string {
	return `Examples:
  graft export runs/camvid/checkpoint.onnx
  graft export runs/camvid/checkpoint.onnx --head argmax --preprocess nhwc -o browser.onnx
  graft verify deploy.onnx --against runs/camvid/checkpoint.onnx`
}

// exportResult is what `graft export` made.
type exportResult struct {
	File       string `json:"file"`
	Parameters int    `json:"parameters"`
	Output     string `json:"output"`
}

func (c *exportCommand) Run(ctx context.Context, s streams) error {
	shape, err := parseShape(c.Shape)
	if err != nil {
		return err
	}
	if c.Labels != nil && c.Head != string(export.ArgMax) {
		return usage("--labels is for --head argmax; the head is %s", c.Head)
	}
	if err := refuseExisting(c.Out, c.Force); err != nil {
		return err
	}
	opts := export.DefaultOptions()
	opts.Head, opts.Upsample, opts.FoldBN = export.Head(c.Head), c.Upsample, c.FoldBN
	opts.Preprocess, opts.Labels, opts.Shape = export.Layout(given(c.Preprocess)), export.LabelType(given(c.Labels)), shape
	deploy, err := untilStopped(ctx, func() (*onnx.Model, error) {
		m, err := loadModel(c.Model)
		if err != nil {
			return nil, err
		}
		if _, done, err := export.ReadDeployment(m); err != nil {
			return nil, err
		} else if done {
			return nil, fmt.Errorf("%s is an exported file already; export the checkpoint it came from", c.Model)
		}
		return export.Inference(m, opts)
	})
	if err != nil {
		return err
	}
	if err := deploy.Save(c.Out); err != nil {
		return err
	}
	r := exportResult{c.Out, parameterCount(deploy), opts.Head.OutputName()}
	return c.result(s.out, r, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %d parameters, output %q\n", r.File, r.Parameters, r.Output)
		return err
	})
}

// parseShape reads "1,360,480" as batch, height and width; "" fixes nothing.
func parseShape(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var shape []int
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return nil, usage("--shape %q; give batch, height and width, such as 1,360,480", text)
		}
		shape = append(shape, n)
	}
	if len(shape) != 3 {
		return nil, usage("--shape %q has %d numbers; give batch, height and width, such as 1,360,480", text, len(shape))
	}
	return shape, nil
}
