package models_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// graft evaluates every network as ONNX Runtime does, at a size that no stride
// divides. Untrained deep networks have scores of some 10^4, so the tolerance
// is relative: 1e-5 of the largest log-probability.
func TestEvaluationAgreesWithONNXRuntime(t *testing.T) {
	testutil.OnnxRuntime(t)
	image := noise(2, 3, 97, 131)
	for _, spec := range small() {
		t.Run(spec.Encoder+"-"+spec.Decoder, func(t *testing.T) {
			compareWithONNXRuntime(t, build(t, spec), image, 1e-5)
		})
	}
}

// compareWithONNXRuntime evaluates the network on graft's own kernels and in
// ONNX Runtime; the tolerance is relative to the largest log-probability.
func compareWithONNXRuntime(t *testing.T, m *onnx.Model, image ort.Tensor, tolerance float64) {
	t.Helper()
	want := run(t, m, image)
	net, err := graph.NewNetwork(m, native.New(0))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{models.InputName: image.Shape}, Mode: graph.Eval})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.SetInput(models.InputName, image.Data.([]float32)); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	for name, w := range want {
		data, shape, err := plan.Output(name)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(shape) != fmt.Sprint(w.Shape) {
			t.Fatalf("%s has shape %v, in ONNX Runtime %v", name, shape, w.Shape)
		}
		if d, limit := largestDifference(ort.New(data, shape...), w), tolerance*math.Max(1, largest(w)); !(d <= limit) {
			t.Errorf("%s differs from ONNX Runtime by up to %g, more than %g", name, d, limit)
		}
	}
}

// Every network can be differentiated as a whole.
func TestEveryNetworkCanBeTrained(t *testing.T) {
	for _, spec := range small() {
		net, err := graph.NewNetwork(build(t, spec), native.New(0))
		if err != nil {
			t.Fatalf("%s with %s: %v", spec.Encoder, spec.Decoder, err)
		}
		outputs := []graph.LossOutput{{Name: models.OutputName, Weight: 1}}
		if strings.HasSuffix(spec.Decoder, "_deepsup") {
			outputs = append(outputs, graph.LossOutput{Name: models.DeepSupOutputName, Weight: 0.4})
		}
		_, err = net.Plan(graph.Spec{
			Inputs: map[string][]int{models.InputName: {2, 3, 64, 96}}, Mode: graph.Train,
			Loss: &graph.Loss{Outputs: outputs, Ignore: -1},
		})
		if err != nil {
			t.Errorf("%s with %s: %v", spec.Encoder, spec.Decoder, err)
		}
	}
}
