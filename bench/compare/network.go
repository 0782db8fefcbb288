package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Files of a network's folder.
const (
	modelFile = "model.onnx"
	imageFile = "image.pb"
	labelFile = "label.pb"
)

const classes = 150 // of the data set that the reference trains on

// network is one row of the comparison.
type network struct {
	name                 string // and its folder
	encoder, decoder     string
	batch, height, width int
}

var cases = []network{
	{"resnet18dilated-ppm_deepsup", "resnet18dilated", "ppm_deepsup", 2, 240, 320},
	{"mobilenetv2dilated-c1_deepsup", "mobilenetv2dilated", "c1_deepsup", 4, 240, 320},
	{"resnet50-upernet", "resnet50", "upernet", 2, 256, 256},
}

// write makes the model and a batch of noise with random labels below dir. It
// returns the floating-point operations of the convolutions of one step, a
// multiplication and an addition being two: the forward pass, and as much
// again for the gradients of the inputs and of the weights.
func (c network) write(dir string) (flops float64, err error) {
	dir = filepath.Join(dir, c.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	m, err := models.New(models.Spec{Encoder: c.encoder, Decoder: c.decoder, Classes: classes, Seed: 304})
	if err != nil {
		return 0, err
	}
	if err := m.Save(filepath.Join(dir, modelFile)); err != nil {
		return 0, err
	}
	image := []int{c.batch, 3, c.height, c.width}
	inputs := map[string][]int{models.InputName: image}
	_, shapes, err := onnx.Specialize(m, inputs)
	if err != nil {
		return 0, err
	}
	out := shapes[models.OutputName]
	if len(out) != 4 {
		return 0, fmt.Errorf("output %s has shape %v", models.OutputName, out)
	}
	random := rand.New(rand.NewPCG(1, 2))
	pixels := make([]float32, c.batch*3*c.height*c.width)
	for i := range pixels {
		pixels[i] = float32(random.NormFloat64())
	}
	labels := make([]int64, out[0]*out[2]*out[3])
	for i := range labels {
		labels[i] = random.Int64N(classes)
	}
	err = writeTensor(filepath.Join(dir, imageFile), onnx.NewFloats("image", image, pixels))
	if err == nil {
		err = writeTensor(filepath.Join(dir, labelFile), onnx.NewInts("label", []int{out[0], out[2], out[3]}, labels))
	}
	if err != nil {
		return 0, err
	}
	cost := export.Inspect(m, export.InspectOptions{Inputs: inputs}).Cost
	if cost == nil {
		return 0, fmt.Errorf("the work cannot be counted")
	}
	for _, o := range cost.Operators {
		if o.Operator == "Conv" {
			flops = 2 * 3 * float64(o.MACs)
		}
	}
	return flops, nil
}

func writeTensor(file string, t *pb.TensorProto) error {
	data, err := proto.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
