package main

import (
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// A classifier trains as a segmentation network of one cell: every parameter
// gets a gradient, and the fully connected layer's weights decay.
func TestClassifierTrains(t *testing.T) {
	m, err := classifier("resnet18", 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
	dev, err := device.Open("native")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	network, err := graph.NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := network.Plan(graph.Spec{
		Inputs: map[string][]int{models.InputName: {2, 3, 64, 64}}, Mode: graph.Train,
		Loss: &graph.Loss{Outputs: []graph.LossOutput{{Name: models.OutputName, Weight: 1}}, Ignore: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := plan.InputShape(graph.LabelInput(models.OutputName)); !ok || len(got) != 3 || got[0] != 2 || got[1] != 1 || got[2] != 1 {
		t.Errorf("labels of shape %v, want [2 1 1]", got)
	}
	for _, p := range network.Parameters() {
		if p.Trainable && p.Grad == nil {
			t.Errorf("%s gets no gradient", p.Name)
		}
	}
	if w := network.Parameter("decoder.fc.weight"); w == nil || !w.Decay {
		t.Errorf("decoder.fc.weight does not decay: %+v", w)
	}
	if b := network.Parameter("decoder.fc.bias"); b == nil || b.Decay {
		t.Errorf("decoder.fc.bias decays: %+v", b)
	}
}
