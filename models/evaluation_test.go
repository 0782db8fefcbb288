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
	for _, spec := range covering() {
		t.Run(spec.Encoder+"-"+spec.Decoder, func(t *testing.T) {
			compareWithONNXRuntime(t, build(t, spec), image, 1e-5)
		})
	}
}

// compareWithONNXRuntime evaluates the network on graft's own kernels and in
// ONNX Runtime; the tolerance is relative to the largest log-probability.
func compareWithONNXRuntime(t *testing.T, m *onnx.Model, image ort.Tensor, tolerance float64) {
	t.Helper()
	want, got := run(t, m, image), evaluate(t, m, image)
	for name, w := range want {
		if fmt.Sprint(got[name].Shape) != fmt.Sprint(w.Shape) {
			t.Fatalf("%s has shape %v, in ONNX Runtime %v", name, got[name].Shape, w.Shape)
		}
		if d, limit := largestDifference(got[name], w), tolerance*math.Max(1, largest(w)); !(d <= limit) {
			t.Errorf("%s differs from ONNX Runtime by up to %g, more than %g", name, d, limit)
		}
	}
}

// evaluate runs the network on graft's own kernels.
func evaluate(t *testing.T, m *onnx.Model, image ort.Tensor) map[string]ort.Tensor {
	t.Helper()
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
	outputs := map[string]ort.Tensor{}
	for _, name := range plan.Outputs() {
		data, shape, err := plan.Output(name)
		if err != nil {
			t.Fatal(err)
		}
		outputs[name] = ort.New(data, shape...)
	}
	return outputs
}

// Every network can be differentiated as a whole.
func TestEveryNetworkCanBeTrained(t *testing.T) {
	for _, spec := range covering() {
		if _, _, err := trainingPlan(build(t, spec), 64, 96); err != nil {
			t.Errorf("%s with %s: %v", spec.Encoder, spec.Decoder, err)
		}
	}
}

// trainingPlan is for two pictures; the loss is that of logprob and 0.4 that of
// deep supervision.
func trainingPlan(m *onnx.Model, h, w int) (*graph.Network, *graph.Plan, error) {
	net, err := graph.NewNetwork(m, native.New(0))
	if err != nil {
		return nil, nil, err
	}
	loss := &graph.Loss{Ignore: -1}
	for _, o := range m.Graph.Output {
		weight := float32(1)
		if o.GetName() == models.DeepSupOutputName {
			weight = 0.4
		}
		loss.Outputs = append(loss.Outputs, graph.LossOutput{Name: o.GetName(), Weight: weight})
	}
	plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{models.InputName: {2, 3, h, w}}, Mode: graph.Train, Loss: loss})
	return net, plan, err
}

// One step of training reaches every parameter: none has a gradient that is
// zero throughout or not a number.
func TestEveryParameterLearns(t *testing.T) {
	for _, spec := range []models.Spec{
		{Encoder: "hrnetv2", Decoder: "c1", Classes: 3, Seed: 5, Width: 8},
		{Encoder: "hrnetv2", Decoder: "upernet", Classes: 3, Seed: 5, Width: 16},
		{Encoder: "resnext101", Decoder: "upernet_lite", Classes: 3, Seed: 5, Width: 16},
		{Encoder: "mobilenetv2dilated", Decoder: "upernet", Classes: 3, Seed: 5, Width: 8},
	} {
		t.Run(spec.Encoder+"-"+spec.Decoder, func(t *testing.T) {
			const h, w = 64, 96
			m := build(t, spec)
			net, plan, err := trainingPlan(m, h, w)
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.SetInput(models.InputName, noise(2, 3, h, w).Data.([]float32)); err != nil {
				t.Fatal(err)
			}
			outH, outW := outputSize(spec, h, w)
			labels := make([]int32, 2*outH*outW)
			for i := range labels {
				labels[i] = int32(i*i%7%(spec.Classes+1)) - 1
			}
			if err := plan.SetLabels(models.OutputName, labels); err != nil {
				t.Fatal(err)
			}
			if err := plan.RunAll(); err != nil {
				t.Fatal(err)
			}
			trained := 0
			for _, p := range net.Parameters() {
				if !p.Trainable {
					continue
				}
				trained++
				g, err := net.Gradient(p)
				if err != nil {
					t.Fatal(err)
				}
				sum := 0.0
				for _, v := range g {
					sum += float64(v) * float64(v)
				}
				if !(sum > 0) || math.IsInf(sum, 0) {
					t.Errorf("%s: the gradient's square sum is %g", p.Name, sum)
				}
			}
			stored := 0
			for name := range shapes(m) {
				if strings.Contains(name, ".running_") {
					stored++
				}
			}
			if trained+stored != len(m.Graph.Initializer) {
				t.Errorf("%d parameters are trained and %d are statistics, of %d", trained, stored, len(m.Graph.Initializer))
			}
		})
	}
}
