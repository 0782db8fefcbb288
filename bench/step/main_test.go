package main

import (
	"bytes"
	"encoding/json"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/bench"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

func writeTensor(t *testing.T, file string, tensor *pb.TensorProto) string {
	t.Helper()
	if err := bench.WriteTensor(file, tensor); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestStepsOfASmallNetwork(t *testing.T) {
	dir := t.TempDir()
	m, err := models.New(models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1", Classes: 3, Seed: 1, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, "model.onnx")
	if err := m.Save(model); err != nil {
		t.Fatal(err)
	}
	pixels := make([]float32, 2*3*32*48)
	for i := range pixels {
		pixels[i] = float32(i%7) - 3
	}
	labels := make([]int64, 2*4*6)
	for i := range labels {
		labels[i] = int64(i%4) - 1
	}
	image := writeTensor(t, filepath.Join(dir, "image.pb"), onnx.NewFloats("image", []int{2, 3, 32, 48}, pixels))
	label := writeTensor(t, filepath.Join(dir, "label.pb"), onnx.NewInts("label", []int{2, 4, 6}, labels))

	var out, diagnostics bytes.Buffer
	args := []string{"--model", model, "--image", image, "--label", label, "--device", "native"}
	if err := run(append(args, "--warmup", "2", "--steps", "3", "--profile"), &out, &diagnostics); err != nil {
		t.Fatal(err)
	}
	var r bench.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Seconds) != 3 || len(r.Losses) != 5 || !strings.Contains(r.Program, "native") {
		t.Errorf("got %+v", r)
	}
	if !strings.Contains(diagnostics.String(), "Conv.dw") {
		t.Errorf("the profile has no gradients of filters:\n%s", &diagnostics)
	}
	for _, s := range r.Seconds {
		if s <= 0 {
			t.Errorf("a step took %v seconds", s)
		}
	}
	if r.Losses[4] >= r.Losses[0] || math.IsNaN(r.Losses[4]) {
		t.Errorf("the loss does not fall: %v", r.Losses)
	}
	if runtime.GOOS == "linux" && r.PeakBytes < 1<<20 {
		t.Errorf("peak memory is %d bytes", r.PeakBytes)
	}

	// A checkpoint goes on where the steps ended.
	out.Reset()
	checkpoint := filepath.Join(dir, "checkpoint.onnx")
	if err := run(append(args, "--warmup", "0", "--steps", "2", "--checkpoint", checkpoint), &out, &diagnostics); err != nil {
		t.Fatal(err)
	}
	saved := bench.Result{}
	if err := json.Unmarshal(out.Bytes(), &saved); err != nil || len(saved.Saving) != 2 || saved.Saving[1].PeakBytes < saved.PeakBytes {
		t.Errorf("%v, %+v", err, saved)
	}
	out.Reset()
	if err := run(append(args, "--model", checkpoint, "--resume", "--warmup", "0", "--steps", "1"), &out, &diagnostics); err != nil {
		t.Fatal(err)
	}
	resumed := bench.Result{}
	if err := json.Unmarshal(out.Bytes(), &resumed); err != nil || resumed.Losses[0] != r.Losses[2] {
		t.Errorf("%v: goes on with a loss of %v, want %v", err, resumed.Losses, r.Losses[2])
	}

	for name, args := range map[string][]string{
		"no checkpoint": append(args, "--resume"),
		"no such model": {"--model", filepath.Join(dir, "none.onnx"), "--image", image, "--label", label},
		"no tensor":     {"--model", model, "--image", filepath.Join(dir, "none.pb"), "--label", label},
		"pixels first":  {"--model", model, "--image", label, "--label", image},
		"no device":     append(args, "--device", "abacus"),
		"no precision":  append(args, "--precision", "fp7"),
		"no recompute":  append(args, "--recompute", "twice"),
	} {
		if err := run(args, &out, &diagnostics); err == nil {
			t.Errorf("%s: no error", name)
		}
	}

	// What cannot be had here is a result too.
	t.Setenv("GRAFT_SIMD", "avx2")
	out.Reset()
	if err := run(append(args, "--precision", "bf16"), &out, &diagnostics); err != nil {
		t.Fatal(err)
	}
	r = bench.Result{}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || !strings.Contains(r.Refused, "AVX512_BF16") || len(r.Seconds) > 0 {
		t.Errorf("bf16 without its instructions: %v, %+v", err, r)
	}
}
