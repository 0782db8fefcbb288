package main

import (
	"context"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// inspectCommand is `graft inspect`.
type inspectCommand struct {
	File string `arg:"" help:"ONNX file." predictor:"onnx"`
	Size string `help:"Height and width to count multiplications at." default:"224x224"`
	jsonFlag
}

// Help is shown by --help.
func (inspectCommand) Help() string {
	return `Examples:
  graft inspect backbone.onnx
  graft inspect checkpoint.onnx --size 240x320 --json

A file that breaks the rules of the format is described as far as it can be, with what
is wrong among the notes.`
}

func (c *inspectCommand) Run(ctx context.Context, s streams) error {
	size, err := parseSize(c.Size)
	if err != nil {
		return err
	}
	i, err := untilStopped(ctx, func() (*export.Inspection, error) {
		m, err := onnx.Load(c.File)
		if err != nil {
			return nil, err
		}
		return export.Inspect(m, inspectOptions(m, size)), nil
	})
	if err != nil {
		return err
	}
	return c.result(s.out, i, i.WriteText)
}

// inspectOptions gives a size to picture inputs that have none.
func inspectOptions(m *onnx.Model, size [2]int) export.InspectOptions {
	opts := export.InspectOptions{
		Inputs:    map[string][]int{},
		Supported: func(domain, name string) bool { _, ok := op.Lookup(domain, name); return ok },
	}
	for _, in := range m.GetGraph().GetInput() {
		dims := in.GetType().GetTensorType().GetShape().GetDim()
		if len(dims) == 4 && dims[2].GetDimValue() == 0 && dims[3].GetDimValue() == 0 && dims[1].GetDimValue() > 0 {
			opts.Inputs[in.GetName()] = []int{1, int(dims[1].GetDimValue()), size[0], size[1]}
		}
	}
	return opts
}

// parameterCount counts the elements of a model's float initializers.
func parameterCount(m *onnx.Model) int {
	n := 0
	for _, t := range m.GetGraph().GetInitializer() {
		if onnx.IsFloat(pb.TensorProto_DataType(t.GetDataType())) {
			n += kernel.Len(onnx.Dims(t))
		}
	}
	return n
}
