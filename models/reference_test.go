package models_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
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
	build  func(models.Spec) (*onnx.Model, error)
	spec   models.Spec
}{
	{"mbv2-c1ds", models.New, models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1_deepsup", Classes: 5, Width: 4}},
	{"r18d-ppmds", models.New, models.Spec{Encoder: "resnet18dilated", Decoder: "ppm_deepsup", Classes: 5, Width: 8}},
	{"r50-uper", models.New, models.Spec{Encoder: "resnet50", Decoder: "upernet", Classes: 5, Width: 16}},
	{"rx101-uperlite", models.NewShortResNeXt, models.Spec{Decoder: "upernet_lite", Classes: 5, Width: 16}},
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
			m, err := trace.build(trace.spec)
			if err != nil {
				t.Fatal(err)
			}
			compareShapes(t, shapes(m), shapes(want))
		})
	}
}

// With the reference's weights the built network gives the reference's
// evaluation outputs, in ONNX Runtime and on graft's kernels.
func TestOutputsAreTheReferences(t *testing.T) {
	for _, trace := range traces {
		t.Run(trace.folder, func(t *testing.T) {
			dir := testutil.SharedDir(t, "reference", trace.folder)
			m, err := trace.build(trace.spec)
			if err != nil {
				t.Fatal(err)
			}
			takeWeights(t, m, load(t, dir+"/model.onnx"))
			image := tensor(t, dir+"/image_0.pb")
			for where, got := range map[string]map[string]ort.Tensor{"ONNX Runtime": run(t, m, image), "graft": evaluate(t, m, image)} {
				for _, o := range m.Graph.Output {
					name := o.GetName()
					want := tensor(t, dir+"/eval_"+name+".pb")
					if fmt.Sprint(got[name].Shape) != fmt.Sprint(want.Shape) {
						t.Fatalf("%s in %s has shape %v, the reference %v", name, where, got[name].Shape, want.Shape)
					}
					// Log-probabilities of the untrained ResNet reach -113: the
					// tolerance is relative to the largest.
					if d, limit := largestDifference(got[name], want), 1e-5*math.Max(1, largest(want)); !(d <= limit) {
						t.Errorf("%s in %s differs from the reference by up to %g, more than %g", name, where, d, limit)
					}
				}
			}
		})
	}
}

// takeWeights gives m the parameters of another model.
func takeWeights(t *testing.T, m, from *onnx.Model) {
	t.Helper()
	weights := map[string]*pb.TensorProto{}
	for _, p := range from.Graph.Initializer {
		weights[p.GetName()] = p
	}
	for i, p := range m.Graph.Initializer {
		if m.Graph.Initializer[i] = weights[p.GetName()]; m.Graph.Initializer[i] == nil {
			t.Fatalf("there is no parameter %s", p.GetName())
		}
	}
}

// With the reference's weights the first step of training has the reference's
// loss within 1e-5, on batch statistics. The trace of PPM was made without its
// dropout and cannot be compared.
func TestFirstLossIsTheReferences(t *testing.T) {
	for _, trace := range traces {
		if strings.HasPrefix(trace.spec.Decoder, "ppm") {
			continue
		}
		t.Run(trace.folder, func(t *testing.T) {
			dir := testutil.SharedDir(t, "reference", trace.folder)
			var record struct{ Trace []struct{ Loss float64 } }
			data, err := os.ReadFile(dir + "/trace.json")
			if err == nil {
				err = json.Unmarshal(data, &record)
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := trace.build(trace.spec)
			if err != nil {
				t.Fatal(err)
			}
			takeWeights(t, m, load(t, dir+"/model.onnx"))
			image := tensor(t, dir+"/image_0.pb")
			_, plan, err := trainingPlan(m, image.Shape[2], image.Shape[3])
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.SetInput(models.InputName, image.Data.([]float32)); err != nil {
				t.Fatal(err)
			}
			values, err := onnx.Ints(testutil.TensorProto(t, dir+"/label_0.pb"))
			if err != nil {
				t.Fatal(err)
			}
			labels := make([]int32, len(values))
			for i, v := range values {
				labels[i] = int32(v)
			}
			for _, o := range m.Graph.Output {
				if err := plan.SetLabels(o.GetName(), labels); err != nil {
					t.Fatal(err)
				}
			}
			if err := plan.RunAll(); err != nil {
				t.Fatal(err)
			}
			loss, err := plan.Loss()
			if err != nil {
				t.Fatal(err)
			}
			if want := record.Trace[0].Loss; !(math.Abs(loss.Total-want) <= 1e-5*want) {
				t.Errorf("the loss is %.7f, the reference's %.7f", loss.Total, want)
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
