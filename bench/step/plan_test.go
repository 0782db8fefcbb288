package main

import (
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/models"
)

// BenchmarkPlan times what comes between a model and the first step for a new
// size of picture: graph, gradients, fusion, memory, kernels.
func BenchmarkPlan(b *testing.B) {
	m, err := models.New(models.Spec{Encoder: "resnet50", Decoder: "upernet", Classes: 150, Seed: 304})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"native", "onednn"} {
		b.Run(name, func(b *testing.B) {
			dev, err := device.OpenThreads(name, 2)
			if err != nil {
				b.Skip(err)
			}
			defer dev.Close()
			network, err := graph.NewNetwork(m, dev)
			if err != nil {
				b.Fatal(err)
			}
			for size := 256; b.Loop(); size += 32 { // a new plan every time
				_, err := network.Plan(graph.Spec{
					Inputs: map[string][]int{models.InputName: {2, 3, 256, size}}, Mode: graph.Train,
					Loss: &graph.Loss{Outputs: []graph.LossOutput{{Name: models.OutputName, Weight: 1}}, Ignore: -1},
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
