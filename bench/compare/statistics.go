package main

import (
	"errors"
	"fmt"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
)

// settleStatistics gives every BatchNormalization of a model the statistics
// of a batch of pictures, as training does. With those that a new network
// begins with, 0 and 1, values grow from layer to layer until rounding alone
// moves the probabilities.
func settleStatistics(m *onnx.Model, pixels []float32, shape []int) (err error) {
	dev, err := device.Open("native")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	own := m.Clone()
	var names []string
	for _, n := range own.GetGraph().GetNode() {
		if n.GetOpType() == "BatchNormalization" && len(n.GetInput()) == 5 {
			onnx.SetAttr(n, onnx.FloatAttr("momentum", 0)) // nothing of the old ones
			names = append(names, n.GetInput()[3:]...)
		}
	}
	network, err := graph.NewNetwork(own, dev)
	if err != nil {
		return err
	}
	plan, err := network.Plan(graph.Spec{
		Inputs: map[string][]int{onnx.ImageName: shape}, Mode: graph.Train,
		Loss: &graph.Loss{Outputs: []graph.LossOutput{{Name: onnx.OutputName, Weight: 1}}, Ignore: -1},
	})
	if err != nil {
		return err
	}
	if err := plan.SetInput(onnx.ImageName, pixels); err != nil {
		return err
	}
	labels, _ := plan.InputShape(graph.LabelInput(onnx.OutputName))
	if err := plan.SetLabels(onnx.OutputName, make([]int32, kernel.Len(labels))); err != nil {
		return err
	}
	if err := plan.RunAll(); err != nil {
		return err
	}
	for _, name := range names {
		p, t := network.Parameter(name), m.Initializer(name)
		if p == nil || t == nil {
			return fmt.Errorf("statistics %q are not stored in the model", name)
		}
		values, err := network.Value(p)
		if err != nil {
			return err
		}
		if err := onnx.SetFloats(t, values); err != nil {
			return err
		}
	}
	return nil
}
