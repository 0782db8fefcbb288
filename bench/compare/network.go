package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/graft-onnx/graft/bench"
	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// Files of a network's folder.
const (
	modelFile  = "model.onnx"  // training graph
	deployFile = "deploy.onnx" // what graft export makes of it
	imageFile  = "image.pb"
	labelFile  = "label.pb"
)

// network is one row of the comparison.
type network struct {
	name                 string // and its folder
	build                func() (*onnx.Model, error)
	whole                bool // classifies pictures, not their pixels
	batch, height, width int
}

const seed = 304 // of the initial weights

var networks = []network{
	segmentation("resnet18dilated", "ppm_deepsup", 2, 240, 320),
	segmentation("mobilenetv2dilated", "c1_deepsup", 4, 240, 320),
	segmentation("resnet50", "upernet", 2, 256, 256),
	{name: "resnet18-classifier", build: func() (*onnx.Model, error) { return classifier("resnet18", 1000) }, whole: true, batch: 8, height: 224, width: 224},
}

// segmentation is a network as `graft new` makes it, for the 150 classes of
// the data set that the reference trains on.
func segmentation(encoder, decoder string, batch, height, width int) network {
	return network{name: encoder + "-" + decoder, batch: batch, height: height, width: width, build: func() (*onnx.Model, error) {
		return models.New(models.Spec{Encoder: encoder, Decoder: decoder, Classes: 150, Seed: seed})
	}}
}

// title names a network with a batch.
func (n network) title(batch int) string {
	return fmt.Sprintf("%s, %d x %d x %d", n.name, batch, n.height, n.width)
}

// write makes the model, its exported form, and a batch of noise with random
// labels below dir. It returns the floating-point operations of the
// convolutions of one forward pass, a multiplication and an addition being two.
func (n network) write(dir string) (flops float64, err error) {
	m, err := n.build()
	if err != nil {
		return 0, err
	}
	image := []int{n.batch, 3, n.height, n.width}
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
	pixels := make([]float32, n.batch*3*n.height*n.width)
	for i := range pixels {
		pixels[i] = float32(random.NormFloat64())
	}
	labels := make([]int64, out[0]*out[2]*out[3])
	for i := range labels {
		labels[i] = random.Int64N(int64(out[1]))
	}
	if err := settleStatistics(m, pixels, image); err != nil {
		return 0, err
	}
	opts := export.DefaultOptions()
	opts.Upsample = !n.whole
	deploy, err := export.Inference(m, opts)
	if err != nil {
		return 0, err
	}
	dir = filepath.Join(dir, n.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	if err := errors.Join(
		m.Save(filepath.Join(dir, modelFile)),
		deploy.Save(filepath.Join(dir, deployFile)),
		bench.WriteTensor(filepath.Join(dir, imageFile), onnx.NewFloats("image", image, pixels)),
		bench.WriteTensor(filepath.Join(dir, labelFile), onnx.NewInts("label", []int{out[0], out[2], out[3]}, labels)),
	); err != nil {
		return 0, err
	}
	cost := export.Inspect(m, export.InspectOptions{Inputs: inputs}).Cost
	if cost == nil {
		return 0, fmt.Errorf("the work cannot be counted")
	}
	for _, o := range cost.Operators {
		if o.Operator == "Conv" {
			flops = 2 * float64(o.MACs)
		}
	}
	return flops, nil
}
