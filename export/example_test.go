package export_test

import (
	"fmt"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/models"
)

// A training graph with deep supervision becomes a file that takes pixels and
// gives labels.
func Example() {
	m, err := models.New(models.Spec{Encoder: "MobileNetV2dilated", Decoder: "C1_deepsup", Classes: 11, Seed: 1, Width: 8})
	if err != nil {
		fmt.Println(err)
		return
	}
	opts := export.DefaultOptions()
	opts.Head, opts.Preprocess = export.ArgMax, export.PixelsNHWC
	deploy, err := export.Inference(m, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	before, after := export.Inspect(m, export.InspectOptions{}), export.Inspect(deploy, export.InspectOptions{})
	for _, port := range [][]export.Port{before.Inputs, before.Outputs, after.Inputs, after.Outputs} {
		for _, p := range port {
			fmt.Println(p.Name, p.Type)
		}
	}
	// Output:
	// image float32(N,3,H,W)
	// logprob float32(N,11,floor((H+7)/8),floor((W+7)/8))
	// logprob_deepsup float32(N,11,floor((H+7)/8),floor((W+7)/8))
	// pixels uint8(N,H,W,3)
	// label uint8(N,H,W)
}
