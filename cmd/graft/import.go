package main

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx"
)

// importCommand is `graft import`.
type importCommand struct {
	Backbone     string `arg:"" help:"Classification network in ONNX." type:"existingfile"`
	OutputStride int    `help:"Pixels of the input per element of the last feature map: 8, 16 or 32. Strides past it become dilation." default:"8" placeholder:"N"`
	Out          string `short:"o" help:"File to write." default:"encoder.onnx" type:"path"`
	Force        bool   `help:"Replace an existing file."`
}

// Help is shown by --help.
func (importCommand) Help() string {
	return `Example:
  graft import resnet18.onnx --output-stride 8 -o encoder.onnx
  graft new --encoder encoder.onnx --decoder c1_deepsup --classes classes.csv

The classifier head is dropped, feature maps at strides 4 to 32 become outputs, and
batch, height and width become free. Weights stay as they are.`
}

func (c *importCommand) Run(s streams) error {
	if err := refuseExisting(c.Out, c.Force); err != nil {
		return err
	}
	m, err := onnx.Load(c.Backbone)
	if err != nil {
		return err
	}
	if m, err = onnx.Sort(m); err != nil {
		return err
	}
	if err := onnx.Check(m); err != nil {
		return err
	}
	encoder, taps, err := onnx.Import(m, c.OutputStride)
	if err != nil {
		return err
	}
	if err := encoder.Save(c.Out); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %d parameters\n", c.Out, parameterCount(encoder))
	for _, t := range taps {
		fmt.Fprintf(s.out, "  %s: %d channels, stride %d\n", t.Name, t.Channels, t.Stride)
	}
	return nil
}
