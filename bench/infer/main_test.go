package main

import (
	"bytes"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/bench"
	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// files writes a small network, its exported form and two pictures.
func files(t *testing.T) (model, deploy, image string) {
	t.Helper()
	dir := t.TempDir()
	m, err := models.New(models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1", Classes: 3, Seed: 1, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	model, deploy, image = filepath.Join(dir, "model.onnx"), filepath.Join(dir, "deploy.onnx"), filepath.Join(dir, "image.pb")
	if err := m.Save(model); err != nil {
		t.Fatal(err)
	}
	out, err := export.Inference(m, export.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Save(deploy); err != nil {
		t.Fatal(err)
	}
	pixels := make([]float32, 2*3*32*48)
	for i := range pixels {
		pixels[i] = float32(i%7) - 3
	}
	if err := bench.WriteTensor(image, onnx.NewFloats("image", []int{2, 3, 32, 48}, pixels)); err != nil {
		t.Fatal(err)
	}
	return model, deploy, image
}

func result(t *testing.T, args ...string) bench.Result {
	t.Helper()
	var out bytes.Buffer
	if err := run(args, &out); err != nil {
		t.Fatal(err)
	}
	var r bench.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestProbabilities(t *testing.T) {
	model, deploy, image := files(t)
	output := filepath.Join(t.TempDir(), "probability.pb")
	var first []float32
	for _, c := range []struct {
		device, model string
		batch         string
	}{{"native", model, "0"}, {"onnxruntime", deploy, "0"}, {"native", model, "1"}} {
		r := result(t, "--device", c.device, "--model", c.model, "--image", image, "--batch", c.batch, "--warmup", "1", "--steps", "2", "--output", output)
		if r.Refused != "" {
			t.Logf("%s: %s", c.device, r.Refused)
			continue
		}
		if len(r.Seconds) != 2 || r.Program == "" {
			t.Errorf("%s: %+v", c.device, r)
		}
		got, shape, err := bench.ReadTensor(output, onnx.Floats)
		if err != nil {
			t.Fatal(err)
		}
		batch := 2
		if c.batch == "1" {
			batch = 1
		}
		if want := []int{batch, 3, 32, 48}; !slices.Equal(shape, want) {
			t.Fatalf("%s: shape %v, want %v", c.device, shape, want)
		}
		if first == nil {
			first = got
			for i := range 32 * 48 {
				if sum := got[i] + got[32*48+i] + got[2*32*48+i]; math.Abs(float64(sum)-1) > 1e-5 {
					t.Fatalf("pixel %d: probabilities sum to %g", i, sum)
				}
			}
		}
		for i := range got {
			if math.Abs(float64(got[i]-first[i])) > 1e-5 {
				t.Fatalf("%s, batch %s: element %d is %g, before %g", c.device, c.batch, i, got[i], first[i])
			}
		}
	}
}

func TestMistakesAndMissingEngines(t *testing.T) {
	model, deploy, image := files(t)
	for name, args := range map[string][]string{
		"no such model":     {"--model", "none.onnx", "--image", image},
		"no such device":    {"--model", model, "--image", image, "--device", "abacus"},
		"too many pictures": {"--model", model, "--image", image, "--batch", "3"},
	} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	t.Setenv("GRAFT_ONNXRUNTIME", filepath.Join(t.TempDir(), "none.so"))
	if r := result(t, "--model", deploy, "--image", image, "--device", "onnxruntime"); !strings.Contains(r.Refused, "none.so") || len(r.Seconds) > 0 {
		t.Errorf("without ONNX Runtime: %+v", r)
	}
}
