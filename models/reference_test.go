package models_test

import (
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// traces are the networks of the reference project that this package builds.
var traces = []struct {
	folder string
	spec   models.Spec
}{
	{"mbv2-c1ds", models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1_deepsup", Classes: 5, Width: 4}},
	{"r18d-ppmds", models.Spec{Encoder: "resnet18dilated", Decoder: "ppm_deepsup", Classes: 5, Width: 8}},
}

func build(t testing.TB, spec models.Spec) *onnx.Model {
	t.Helper()
	m, err := models.New(spec)
	if err != nil {
		t.Fatalf("%+v: %v", spec, err)
	}
	return m
}

func load(t testing.TB, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// shapes returns the shape of every initializer of the part ("" for all).
func shapes(m *onnx.Model) map[string]string {
	s := map[string]string{}
	for _, p := range m.Graph.Initializer {
		s[p.GetName()] = fmt.Sprint(onnx.DataTypeName(onnx.DataType(p)), onnx.Dims(p))
	}
	return s
}

func compareShapes(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, shape := range want {
		if got[name] != shape {
			t.Errorf("%s is %q, the reference has %s", name, got[name], shape)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is not in the reference", name)
		}
	}
}

func TestParametersAreTheReferences(t *testing.T) {
	for _, trace := range traces {
		t.Run(trace.folder, func(t *testing.T) {
			want := load(t, testutil.SharedDir(t, "reference", trace.folder, "model.onnx"))
			compareShapes(t, shapes(build(t, trace.spec)), shapes(want))
		})
	}
}

// With the reference's weights the built network gives the reference's
// evaluation outputs.
func TestOutputsAreTheReferences(t *testing.T) {
	for _, trace := range traces {
		t.Run(trace.folder, func(t *testing.T) {
			dir := testutil.SharedDir(t, "reference", trace.folder)
			m, weights := build(t, trace.spec), map[string]*pb.TensorProto{}
			for _, p := range load(t, dir+"/model.onnx").Graph.Initializer {
				weights[p.GetName()] = p
			}
			for i, p := range m.Graph.Initializer {
				m.Graph.Initializer[i] = weights[p.GetName()]
			}
			got := run(t, m, tensor(t, dir+"/image_0.pb"))
			for name, file := range map[string]string{
				models.OutputName: "eval_logprob.pb", models.DeepSupOutputName: "eval_logprob_deepsup.pb",
			} {
				want := tensor(t, dir+"/"+file)
				if fmt.Sprint(got[name].Shape) != fmt.Sprint(want.Shape) {
					t.Fatalf("%s has shape %v, the reference %v", name, got[name].Shape, want.Shape)
				}
				// Log-probabilities of the untrained ResNet reach -113: the
				// tolerance is relative to the largest.
				if d, limit := largestDifference(got[name], want), 1e-5*math.Max(1, largest(want)); !(d <= limit) {
					t.Errorf("%s differs from the reference by up to %g, more than %g", name, d, limit)
				}
			}
		})
	}
}

// tensor reads a TensorProto file.
func tensor(t testing.TB, path string) ort.Tensor {
	t.Helper()
	p := testutil.TensorProto(t, path)
	values, err := onnx.Floats(p)
	if err != nil {
		t.Fatal(err)
	}
	return ort.New(values, onnx.Dims(p)...)
}

func run(t testing.TB, m *onnx.Model, image ort.Tensor) map[string]ort.Tensor {
	t.Helper()
	return testutil.RunORTBytes(t, marshal(t, m), "built.onnx", map[string]ort.Tensor{"image": image})
}

func marshal(t testing.TB, m *onnx.Model) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.ModelProto)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// largestDifference is not a number where either tensor has one.
func largestDifference(a, b ort.Tensor) float64 {
	x, y := a.Data.([]float32), b.Data.([]float32)
	d := 0.0
	for i := range x {
		d = math.Max(d, math.Abs(float64(x[i])-float64(y[i])))
	}
	return d
}

// largest is the largest absolute value.
func largest(a ort.Tensor) float64 {
	m := 0.0
	for _, v := range a.Data.([]float32) {
		m = math.Max(m, math.Abs(float64(v)))
	}
	return m
}
