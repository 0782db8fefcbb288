package main

import (
	"context"
	"fmt"
	"io"

	"github.com/graft-onnx/graft/onnx"
)

// importCommand is `graft import`.
type importCommand struct {
	deviceFlags
	normFlags
	Backbone     string `arg:"" help:"Classification network in ONNX." predictor:"onnx"`
	OutputStride int    `help:"Pixels of the input per element of the last feature map: 8, 16 or 32. Strides past it become dilation." default:"8"`
	Out          string `short:"o" help:"File to write." default:"encoder.onnx" predictor:"onnx"`
	Force        bool   `help:"Replace an existing file."`
	jsonFlag
}

// Help is shown by --help.
func (importCommand) Help() string {
	return `Examples:
  graft import resnet18.onnx --output-stride 8 -o encoder.onnx
  graft import mobilenetv2.onnx --batchnorm data/train.odgt -o encoder.onnx
  graft new --encoder encoder.onnx --decoder c1_deepsup --classes classes.csv

The classifier head is dropped, feature maps at strides 4 to 32 become outputs, and
batch, height and width become free. Weights stay as they are.

Most published files have their batch normalisation folded into the convolutions, and
train without any. --batchnorm puts one behind every convolution that has none: mean
and variance are measured on pictures of yours (--pictures of them, at even distances),
scale and shift such that the encoder computes what it did.`
}

// importResult is what `graft import` made.
type importResult struct {
	File       string      `json:"file"`
	Parameters int         `json:"parameters"`
	Features   []importTap `json:"features"`
	BatchNorm  *normResult `json:"batchnorm,omitempty"`
}

// importTap is a feature map that an encoder offers.
type importTap struct {
	Name     string `json:"name"`
	Channels int    `json:"channels"`
	Stride   int    `json:"stride"`
}

func (c *importCommand) Run(ctx context.Context, s streams) error {
	switch c.OutputStride {
	case 8, 16, 32:
	default:
		return usage("--output-stride is %d; give 8, 16 or 32", c.OutputStride)
	}
	if err := c.normFlags.check(); err != nil {
		return err
	}
	if err := refuseExisting(c.Out, c.Force); err != nil {
		return err
	}
	r := importResult{File: c.Out}
	encoder, err := untilStopped(ctx, func() (*onnx.Model, error) {
		m, err := onnx.Load(c.Backbone)
		if err != nil {
			return nil, err
		}
		if m, err = onnx.Sort(m); err != nil {
			return nil, err
		}
		if err := onnx.Check(m); err != nil {
			return nil, err
		}
		encoder, taps, err := onnx.Import(m, c.OutputStride)
		for _, t := range taps {
			r.Features = append(r.Features, importTap{t.Name, t.Channels, t.Stride})
		}
		return encoder, err
	})
	if err != nil {
		return err
	}
	if len(c.BatchNorm) > 0 {
		if encoder, r.BatchNorm, err = c.unfold(ctx, encoder, c.deviceFlags, s.err); err != nil {
			return err
		}
	}
	if err := encoder.Save(c.Out); err != nil {
		return err
	}
	r.Parameters = parameterCount(encoder)
	return c.result(s.out, r, func(w io.Writer) error {
		fmt.Fprintf(w, "%s: %d parameters\n", r.File, r.Parameters)
		for _, t := range r.Features {
			fmt.Fprintf(w, "  %s: %d channels, stride %d\n", t.Name, t.Channels, t.Stride)
		}
		r.BatchNorm.write(w)
		_, err := fmt.Fprintf(w, "next: graft new --encoder %s --decoder c1_deepsup --classes classes.csv\n", r.File)
		return err
	})
}
