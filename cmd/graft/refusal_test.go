package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/train/data"
)

// What cannot be done is told in one line that names the file and the remedy,
// with a code that tells bad input (1) from a wrong command line (2).
func TestRefusals(t *testing.T) {
	f := fixtures(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	page := write(t, at("page.onnx"), "<!DOCTYPE html><html></html>")
	torn := write(t, at("torn.onnx"), read(t, f.checkpoint)[:20000])
	text := write(t, at("text.jpg"), "no picture")
	empty := at("empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	model := at("model.onnx")
	ok(t, "new", "--encoder", "mobilenetv2dilated", "--decoder", "c1", "--width", "8", "--classes", "3", "-o", model)
	misspelt := write(t, at("misspelt.yaml"), strings.Replace(read(t, f.config), "num_epoch", "num_epohc", 1))
	before := folder(t, dir)

	run := at("run")
	train := func(more ...string) []string {
		return append([]string{"train", "--cfg", f.config, "DIR", run}, more...)
	}
	tests := []struct {
		name  string
		code  int
		words []string
		args  []string
	}{
		{"no such command", 2, []string{"trian", "train", "graft --help"}, []string{"trian"}},
		{"no such flag", 2, []string{"--dvice", "--device", "graft train --help"}, []string{"train", "--cfg", f.config, "--dvice", "native"}},
		{"no configuration", 2, []string{"--cfg", "graft train --help"}, []string{"train"}},
		{"override without value", 2, []string{"TRAIN.num_epoch", "pairs"}, train("TRAIN.num_epoch")},
		{"unknown override", 2, []string{"TRAIN.num_epohc", "TRAIN.num_epoch"}, train("TRAIN.num_epohc", "3")},
		{"override of a wrong kind", 2, []string{"TRAIN.num_epoch", "many"}, train("TRAIN.num_epoch", "many")},
		{"no such device", 2, []string{"tpu", "native", "onednn"}, train("--device", "tpu")},
		{"unknown setting apart from others", 2, []string{"DATASET.root"}, []string{"train", "--cfg", f.config, "TRAIN.num_epoch", "2", "--device", "native", "DATASET.root", "x"}},
		{"too many threads", 2, []string{"--threads", "100000"}, train("--threads=100000")},
		{"negative threads", 2, []string{"--threads", "-1"}, train("--threads=-1")},
		{"a device twice", 2, []string{"--devices", "cpu:0 occurs twice"}, train("--devices", "cpu:0,cpu:0")},
		{"a device that is none", 2, []string{"--devices", `unknown device "cuda:1"`, "cpu:0"}, train("--devices", "cpu:0,cuda:1")},
		{"a device beyond the list", 2, []string{"--devices", "no cpu:4 in a list of 2", "cpu:0 to cpu:1"}, train("--devices", "cpu:0,cpu:4")},
		{"more devices than threads", 2, []string{"3 devices share 2 threads", "--threads"}, train("--devices", "cpu:0,cpu:1,cpu:2", "--threads", "2")},
		{"a device twice in eval", 2, []string{"--devices", "cpu:0 occurs twice"}, []string{"eval", "--cfg", f.config, "--devices", "cpu:0,cpu:0"}},
		{"a device that is none in predict", 2, []string{"--devices", `unknown device "cpu"`, "cpu:0"}, []string{"predict", f.checkpoint, f.picture, "-o", at("out"), "--devices", "cpu"}},
		{"more devices than threads in predict", 2, []string{"3 devices share 2 threads", "--threads"}, []string{"predict", f.checkpoint, f.picture, "-o", at("out"), "--devices", "cpu:0,cpu:1,cpu:2", "--threads", "2"}},
		{"no such configuration", 1, []string{at("none.yaml"), "no such file"}, []string{"eval", "--cfg", at("none.yaml")}},
		{"misspelt key", 1, []string{misspelt, "num_epohc", "num_epoch"}, []string{"train", "--cfg", misspelt}},
		{"folder holds a run", 1, []string{f.run, "--resume", "DIR"}, []string{"train", "--cfg", f.config}},
		{"nothing to resume", 1, []string{run, "checkpoint.onnx", "without --resume"}, train("--resume")},
		{"resumed from no checkpoint", 1, []string{model, "not a checkpoint"}, train("--checkpoint", model)},
		{"nothing to evaluate", 1, []string{run, "checkpoint.onnx", "--model"}, []string{"eval", "--cfg", f.config, "DIR", run}},
		{"no validation set", 1, []string{"no val set", "list_val", "val_images"}, []string{"eval", "--cfg", f.config, "DATASET.list_val", ""}},
		{"no such list", 1, []string{at("none.odgt"), "list_val", "val_images"}, []string{"eval", "--cfg", f.config, "DATASET.list_val", at("none.odgt")}},
		{"no such folder", 1, []string{at("none"), "DATASET.train_images", "DATASET.train_masks"}, train("DATASET.train_images", f.images, "DATASET.train_masks", at("none"))},
		{"pictures predicted beyond bounds", 1, []string{f.picture, "16384 pixels", "--sizes"}, []string{"predict", f.checkpoint, f.picture, "-o", at("out"), "--sizes", "16384", "--max-size", "65536"}},
		{"no labelled pixel", 1, []string{"val.odgt: no pixel of its", "DATASET.label_shift", "DATASET.ignore_index", "DATASET.ignore_labels"}, []string{"eval", "--cfg", f.config, "DATASET.ignore_labels", "(0, 1, 2, 3, 4, 5)"}},
		{"classes differ", 1, []string{model, "3", "num_class", "5"}, []string{"eval", "--cfg", f.config, "--model", model}},
		{"web page as model", 1, []string{page, "web page"}, []string{"export", page, "-o", at("out.onnx")}},
		{"torn model", 1, []string{torn, "damaged"}, []string{"predict", torn, f.picture, "-o", at("out")}},
		{"torn checkpoint", 1, []string{torn, "damaged"}, train("--checkpoint", torn)},
		{"no such model", 1, []string{at("none.onnx"), "no such file"}, []string{"inspect", at("none.onnx")}},
		{"no such encoder file", 1, []string{at("none.onnx"), "no such file"}, []string{"new", "--encoder", at("none.onnx"), "--decoder", "c1", "--classes", "3", "-o", at("out.onnx")}},
		{"no such encoder", 1, []string{"vgg", "resnet18dilated"}, []string{"new", "--encoder", "vgg", "--decoder", "c1", "--classes", "3", "-o", at("out.onnx")}},
		{"no such decoder", 1, []string{"aspp", "ppm_deepsup"}, []string{"new", "--encoder", "resnet18", "--decoder", "aspp", "--classes", "3", "-o", at("out.onnx")}},
		{"no classes", 1, []string{"0"}, []string{"new", "--encoder", "resnet18", "--decoder", "c1", "--classes", "0", "-o", at("out.onnx")}},
		{"no such class list", 1, []string{at("none.csv"), "no such file"}, []string{"new", "--encoder", "resnet18", "--decoder", "c1", "--classes", at("none.csv"), "-o", at("out.onnx")}},
		{"no width", 2, []string{"--width", "0"}, []string{"new", "--encoder", "resnet18", "--decoder", "c1", "--classes", "3", "--width", "0", "-o", at("out.onnx")}},
		{"model exists", 1, []string{model + " exists", "--force"}, []string{"new", "--encoder", "resnet18", "--decoder", "c1", "--classes", "3", "-o", model}},
		{"output is a folder", 1, []string{empty, "folder"}, []string{"export", f.checkpoint, "-o", empty, "--force"}},
		{"output cannot be written", 1, []string{at("none"), "out.onnx"}, []string{"export", f.checkpoint, "-o", filepath.Join(at("none"), "out.onnx")}},
		{"shape beyond every target", 1, []string{"[1 3 1000000 1000000]", "2147483647", "smaller"}, []string{"export", f.checkpoint, "--shape", "1,1000000,1000000", "-o", at("out.onnx")}},
		{"shape of two", 2, []string{"--shape", "1,48"}, []string{"export", f.checkpoint, "--shape", "1,48", "-o", at("out.onnx")}},
		{"no output file", 2, []string{"-o", "empty"}, []string{"export", f.checkpoint, "-o", ""}},
		{"recomputation of something", 2, []string{`--recompute must be one of "auto","none","cheap","full" but got "foo"`}, train("--recompute", "foo")},
		{"no such layout", 2, []string{`--preprocess must be one of "nchw","nhwc" but got "chw"`}, []string{"export", f.checkpoint, "--preprocess", "chw", "-o", at("out.onnx")}},
		{"no such label type", 2, []string{`--labels must be one of "uint8","int64" but got ""`}, []string{"export", f.checkpoint, "--head", "argmax", "--labels=", "-o", at("out.onnx")}},
		{"labels without argmax", 2, []string{"--labels", "argmax", "softmax"}, []string{"export", f.checkpoint, "--labels", "int64", "-o", at("out.onnx")}},
		{"no tolerance", 2, []string{"--tolerance", "0"}, []string{"verify", f.checkpoint, "--against", f.checkpoint, "--tolerance", "0"}},
		{"tolerance that is no number", 2, []string{"--tolerance", "NaN"}, []string{"verify", f.checkpoint, "--against", f.checkpoint, "--tolerance", "NaN"}},
		{"no agreement", 2, []string{"--agreement", "0"}, []string{"verify", f.checkpoint, "--against", f.checkpoint, "--agreement", "0"}},
		{"no such head", 2, []string{"--head", "onehot"}, []string{"export", f.checkpoint, "--head", "onehot", "-o", at("out.onnx")}},
		{"not exported", 1, []string{f.checkpoint, "not exported"}, []string{"verify", f.checkpoint, "--against", f.checkpoint, "--engine", "graft"}},
		{"no such size", 2, []string{"48x", "240x320"}, []string{"verify", f.checkpoint, "--against", f.checkpoint, "--sizes", "48x"}},
		{"size of nothing", 2, []string{"0x64"}, []string{"inspect", f.checkpoint, "--size", "0x64"}},
		{"stride of 12", 2, []string{"--output-stride", "12"}, []string{"import", f.checkpoint, "--output-stride", "12", "-o", at("out.onnx")}},
		{"no backbone", 1, []string{page, "web page"}, []string{"import", page, "-o", at("out.onnx")}},
		{"no picture", 1, []string{text}, []string{"predict", f.checkpoint, text, "-o", at("out")}},
		{"no pictures", 1, []string{empty, "no pictures"}, []string{"predict", f.checkpoint, empty, "-o", at("out")}},
		{"no such picture", 1, []string{at("none.png"), "no such file"}, []string{"predict", f.checkpoint, at("none.png"), "-o", at("out")}},
		{"opacity of 2", 2, []string{"--opacity", "2"}, []string{"predict", f.checkpoint, f.picture, "--opacity", "2"}},
		{"size of 0", 2, []string{"--sizes"}, []string{"predict", f.checkpoint, f.picture, "--sizes", "0"}},
		{"settings without configuration", 2, []string{"--cfg"}, []string{"doctor", "TRAIN.num_epoch", "3"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { refused(t, test.code, test.words, test.args...) })
	}
	// "no picture" is known when the folder for the results is made.
	os.Remove(at("out"))
	if after := folder(t, dir); !slices.Equal(before, after) {
		t.Errorf("files before %v, after %v", before, after)
	}
}

// folder lists everything in a folder.
func folder(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What is wrong with the data stops a training with the file's name, and
// doctor tells of it before.
func TestDamagedData(t *testing.T) {
	mask := func(w, h int, value uint8) string {
		img := image.NewGray(image.Rect(0, 0, w, h))
		for i := range img.Pix {
			img.Pix[i] = 1 + uint8(i%5)
		}
		img.SetGray(w/2, h/2, color.Gray{Y: value})
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	tests := []struct {
		name    string
		file    string // inside the data set
		content string
		words   []string
	}{
		{"label out of range", "masks/train/00001.png", mask(64, 48, 9), []string{"00001.png", "9"}},
		{"sizes differ", "masks/train/00002.png", mask(60, 48, 1), []string{"00002.png", "60 x 48", "64 x 48"}},
		{"unreadable picture", "images/train/00003.png", "no picture", []string{"00003.png"}},
		{"torn mask", "masks/train/00001.png", mask(64, 48, 1)[:100], []string{"00001.png"}},
		{"missing mask", "masks/train/00000.png", "", []string{"00000.png", "no such file"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			files, err := data.Synthesize(t.Context(), filepath.Join(dir, "data"), data.SynthOptions{Train: 4, Val: 1, Width: 64, Height: 48, Seed: 3})
			if err != nil {
				t.Fatal(err)
			}
			run := filepath.Join(dir, "run")
			cfg := write(t, filepath.Join(dir, "c.yaml"), configText(files, run))
			path := filepath.Join(files.Root, filepath.FromSlash(test.file))
			if test.content == "" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, path, test.content)
			}
			refused(t, exitFailure, test.words, "train", "--cfg", cfg)
			if _, err := os.Stat(filepath.Join(run, "checkpoint.onnx")); err == nil {
				t.Error("a checkpoint is written")
			}
			r := graft(t, "doctor", "--cfg", cfg)
			if r.code != exitFailure || !strings.Contains(r.err, "data set has problems") {
				t.Errorf("doctor: exit code %d\n%s%s", r.code, r.out, r.err)
			}
			for _, w := range test.words {
				if !strings.Contains(r.out, w) {
					t.Errorf("doctor does not say %q:\n%s", w, r.out)
				}
			}
		})
	}
}

// Instructions that mean nothing are refused before anything is computed.
func TestUnknownInstructions(t *testing.T) {
	f := fixtures(t)
	t.Setenv("GRAFT_SIMD", "foo")
	words := []string{"GRAFT_SIMD", "foo", "avx512", "avx2", "off"}
	refused(t, exitFailure, words, "eval", "--cfg", f.config)
	r := graft(t, "doctor")
	if r.code != exitFailure {
		t.Errorf("doctor: exit code %d", r.code)
	}
	for _, w := range words {
		if !strings.Contains(r.out, w) {
			t.Errorf("doctor does not say %q:\n%s", w, r.out)
		}
	}
}

// doctor gives no sizes of pictures that it cannot read.
func TestDoctorOfUnreadablePictures(t *testing.T) {
	dir := t.TempDir()
	files, err := data.Synthesize(t.Context(), filepath.Join(dir, "data"), data.SynthOptions{Train: 2, Width: 64, Height: 48, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := filepath.Glob(filepath.Join(files.Root, "*", "train", "*"))
	if err != nil || len(pictures) == 0 {
		t.Fatal(pictures, err)
	}
	for _, p := range pictures {
		write(t, p, "no picture")
	}
	r := graft(t, "doctor", "--cfg", write(t, filepath.Join(dir, "c.yaml"), configText(files, filepath.Join(dir, "run"))), "DATASET.list_val", "")
	if r.code != exitFailure || !strings.Contains(r.out, "2 pictures, none of which can be read") || !strings.Contains(r.out, "unreadable: ") || strings.Contains(r.out, "0x0") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}
}

// A loss that is no number stops the training at its iteration and leaves the
// last good checkpoint.
func TestDivergence(t *testing.T) {
	f := fixtures(t)
	dir := filepath.Join(t.TempDir(), "run")
	args := []string{"train", "--cfg", f.config, "DIR", dir, "TRAIN.lr_encoder", "1000", "TRAIN.lr_decoder", "1000",
		"TRAIN.weight_decay", "1", "TRAIN.epoch_iters", "60", "TRAIN.checkpoint_iters", "1"} // the decay multiplies weights by -999
	refused(t, exitFailure, []string{"iteration ", "loss is NaN", "TRAIN.lr_encoder", ".png"}, args...)
	m, err := loadModel(filepath.Join(dir, "checkpoint.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if parameterCount(m) == 0 {
		t.Error("an empty checkpoint")
	}
}

// The files that others stumbled over are described or refused, one line each.
func TestEdgeFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testutil.SharedDir(t, "onnx", "edge"), "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if r := graft(t, "inspect", file); r.code == 0 {
				if !strings.Contains(r.out, "nodes") {
					t.Errorf("no description:\n%s", r.out)
				}
			} else if r.code != exitFailure || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, file) {
				t.Errorf("exit code %d\n%s", r.code, r.err)
			}
			out := filepath.Join(t.TempDir(), "e.onnx")
			refused(t, exitFailure, []string{file}, "import", file, "-o", out)
			if list := folder(t, filepath.Dir(out)); len(list) != 1 {
				t.Errorf("left over: %v", list)
			}
		})
	}
}
