package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// classifier writes a small image classifier, with its normalisation or with
// that folded.
func classifier(t *testing.T, path string, normalised bool) string {
	t.Helper()
	b := onnx.NewBuilder("classifier", 15)
	x, in := b.Input("picture", pb.TensorProto_FLOAT, 1, 3, 64, 64), 3
	for i, out := range []int{8, 8, 16, 24} {
		weights, bias := make([]float32, out*in*9), make([]float32, out)
		for k := range weights {
			weights[k] = float32(k%7-3) / 8
		}
		for k := range bias {
			bias[k] = float32(k%3) - 1
		}
		name := "layer" + strconv.Itoa(i)
		x = b.Op("Conv", name, []string{x, b.Initializer(onnx.NewFloats(name+".weight", []int{out, in, 3, 3}, weights)), b.Initializer(onnx.NewFloats(name+".bias", []int{out}, bias))},
			onnx.IntsAttr("pads", 1, 1, 1, 1), onnx.IntsAttr("strides", 2, 2))
		if normalised {
			norm := []string{x}
			for k := range 4 {
				norm = append(norm, b.Initializer(onnx.NewFloats(name+".norm."+strconv.Itoa(k), []int{out}, slices.Repeat([]float32{1}, out))))
			}
			x = b.Op("BatchNormalization", name+".norm", norm)
		}
		x, in = b.Op("Relu", name+".relu", []string{x}), out
	}
	b.Output(b.Op("GlobalAveragePool", "pooled", []string{x}), pb.TensorProto_FLOAT, 1, 24, 1, 1)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImportBatchNorm(t *testing.T) {
	f := fixtures(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	backbone, encoder, empty, text := classifier(t, at("classifier.onnx"), false), at("encoder.onnx"), at("empty"), write(t, at("text.jpg"), "no picture")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	with := func(pictures string, more ...string) []string {
		return append([]string{"import", backbone, "--batchnorm", pictures, "-o", encoder}, more...)
	}
	for _, test := range []struct {
		code  int
		words []string
		args  []string
	}{
		{exitFailure, []string{empty, "no pictures"}, with(empty)},
		{exitFailure, []string{text}, with(text)},
		{exitFailure, []string{at("none.png"), "no such file"}, with(at("none.png"))},
		{exitUsage, []string{"--pictures", "0"}, with(f.picture, "--pictures", "0")},
		{exitUsage, []string{"--size", "-8"}, with(f.picture, "--size=-8")},
		{exitUsage, []string{"--mean", "three"}, with(f.picture, "--mean", "0.5")},
		{exitUsage, []string{"--std", "0"}, with(f.picture, "--std", "1,0,1")},
		{exitUsage, []string{"--mean", "NaN"}, with(f.picture, "--mean", "NaN,0,0")},
		{exitUsage, []string{"tpu", "native"}, with(f.picture, "--device", "tpu")},
	} {
		refused(t, test.code, test.words, test.args...)
		if isFile(encoder) {
			t.Fatalf("%v left a file", test.args)
		}
	}

	got := asJSON[importResult](t, with(f.data.ListTrain, "--batchnorm", f.picture, "--pictures", "3", "--size", "48")...)
	if got.BatchNorm == nil || got.BatchNorm.Convolutions != 4 || got.BatchNorm.Pictures != 3 || len(got.BatchNorm.Left) != 0 {
		t.Errorf("%+v", got.BatchNorm)
	}
	// The same pictures give the same bytes.
	again := at("again.onnx")
	ok(t, with(f.data.ListTrain, "--batchnorm", f.picture, "--pictures", "3", "--size", "48", "-o", again)...)
	if read(t, again) != read(t, encoder) {
		t.Error("two imports differ")
	}
	whole := classifier(t, at("normalised.onnx"), true)
	refused(t, exitFailure, []string{whole, "no convolution lacks", "--batchnorm"}, "import", whole, "--batchnorm", f.picture, "-o", at("third.onnx"))

	model := at("model.onnx")
	ok(t, "new", "--encoder", encoder, "--decoder", "c1", "--classes", f.data.Classes, "-o", model)
	trained := asJSON[trainResult](t, "train", "--cfg", f.config, "MODEL.file", model, "DIR", at("run"), "TRAIN.num_epoch", "1")
	if trained.Iterations != 3 || trained.Loss <= 0 {
		t.Errorf("%+v", trained)
	}
}
