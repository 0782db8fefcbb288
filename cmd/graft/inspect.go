package main

import (
	"os"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// inspectCommand is `graft inspect`.
type inspectCommand struct {
	File string `arg:"" help:"ONNX file." type:"existingfile"`
	Size string `help:"Height and width to count multiplications at." default:"224x224" placeholder:"HxW"`
	JSON bool   `name:"json" help:"Write the description as JSON."`
}

// Help is shown by --help.
func (inspectCommand) Help() string {
	return `Examples:
  graft inspect backbone.onnx
  graft inspect checkpoint.onnx --size 240x320 --json`
}

func (c *inspectCommand) Run(s streams) error {
	m, err := onnx.Load(c.File) // a file that fails the check is described as well
	if err != nil {
		return err
	}
	size, err := parseSize(c.Size)
	if err != nil {
		return err
	}
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
	i := export.Inspect(m, opts)
	if err := onnx.Check(m); err != nil {
		i.Notes = append(i.Notes, err.Error())
	}
	if c.JSON {
		return writeJSON(s.out, i)
	}
	return i.WriteText(s.out)
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

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
