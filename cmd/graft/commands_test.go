package main

import (
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/metric"
)

var commands = []string{"new", "import", "inspect", "preset", "train", "eval", "report", "predict", "test", "data", "export", "verify", "demo", "doctor", "install-completions"}

func TestHelp(t *testing.T) {
	for _, name := range commands {
		out := ok(t, name, "--help").out
		if !strings.Contains(out, "Examples:") || !strings.Contains(out, "graft "+name+" ") {
			t.Errorf("graft %s --help shows no example of itself:\n%s", name, out)
		}
	}
	all := ok(t).out // no arguments
	if other := ok(t, "--help").out; other != all {
		t.Errorf("graft and graft --help differ:\n%s\n%s", all, other)
	}
	for _, name := range commands {
		if !strings.Contains(all, "  "+name+" ") {
			t.Errorf("graft --help does not list %s", name)
		}
	}
	if v := ok(t, "--version").out; strings.TrimSpace(v) == "" {
		t.Error("no version")
	}
}

func TestNew(t *testing.T) {
	f := fixtures(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "m.onnx")
	got := asJSON[newResult](t, "new", "--encoder", "mobilenetv2dilated", "--decoder", "ppm_deepsup", "--width", "8", "--classes", f.data.Classes, "-o", file)
	if got.File != file || got.Classes != 5 || got.Parameters < 1000 {
		t.Errorf("%+v", got)
	}
	m, err := loadModel(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := parameterCount(m); n != got.Parameters {
		t.Errorf("%d parameters reported, %d in the file", got.Parameters, n)
	}
	// The same seed gives the same file, another another.
	again, other := filepath.Join(dir, "again.onnx"), filepath.Join(dir, "other.onnx")
	ok(t, "new", "--encoder", "mobilenetv2dilated", "--decoder", "ppm_deepsup", "--width", "8", "--classes", f.data.Classes, "-o", again)
	ok(t, "new", "--encoder", "mobilenetv2dilated", "--decoder", "ppm_deepsup", "--width", "8", "--classes", f.data.Classes, "-o", other, "--seed", "9")
	if read(t, again) != read(t, file) || read(t, other) == read(t, file) {
		t.Error("the file does not follow from the seed")
	}
}

// A model of `graft new` trains by its file.
func TestNewThenTrain(t *testing.T) {
	f := fixtures(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "m.onnx")
	ok(t, "new", "--encoder", "mobilenetv2dilated", "--decoder", "c1", "--width", "8", "--classes", f.data.Classes, "-o", file)
	got := asJSON[trainResult](t, "train", "--cfg", f.config, "MODEL.file", file, "DIR", filepath.Join(dir, "run"), "TRAIN.num_epoch", "1")
	if got.Iterations != 3 || got.Evaluation == nil || got.Loss <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestImport(t *testing.T) {
	backbone := testutil.SharedDir(t, "torchvision", "resnet18", "train_dyn_op13.onnx")
	f := fixtures(t)
	dir := t.TempDir()
	encoder, model := filepath.Join(dir, "encoder.onnx"), filepath.Join(dir, "model.onnx")
	got := asJSON[importResult](t, "import", backbone, "--output-stride", "16", "-o", encoder)
	var strides, channels []int
	for _, tap := range got.Features {
		strides, channels = append(strides, tap.Stride), append(channels, tap.Channels)
	}
	if !slices.Equal(strides, []int{4, 8, 16, 16}) || !slices.Equal(channels, []int{8, 16, 32, 64}) {
		t.Errorf("strides %v, channels %v", strides, channels)
	}
	ok(t, "new", "--encoder", encoder, "--decoder", "c1_deepsup", "--classes", f.data.Classes, "-o", model)
	if _, err := loadModel(model); err != nil {
		t.Error(err)
	}
	refused(t, exitUsage, []string{"--width"}, "new", "--encoder", encoder, "--decoder", "c1", "--classes", "3", "--width", "2", "-o", filepath.Join(dir, "x.onnx"))
	// An encoder alone is no model to train.
	refused(t, exitFailure, []string{encoder, "logprob", "graft new"}, "train", "--cfg", f.config, "MODEL.file", encoder, "DIR", filepath.Join(dir, "run"))
	if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
		t.Error("a run folder is left of a training that could not begin")
	}
}

func TestTrain(t *testing.T) {
	f := fixtures(t)
	for _, word := range []string{f.checkpoint, "6 iterations", "mIoU", filepath.Join(f.run, "report.html")} {
		if !strings.Contains(f.trained, word) {
			t.Errorf("the result does not say %q:\n%s", word, f.trained)
		}
	}
	for _, name := range []string{"config.yaml", "environment.json", "history.csv", "history.json", "checkpoint.onnx", "report.html"} {
		if info, err := os.Stat(filepath.Join(f.run, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := leftovers(t, f.run); len(list) > 0 {
		t.Errorf("left over: %v", list)
	}
	// The resolved configuration gives the same run.
	again := asJSON[trainResult](t, "train", "--cfg", filepath.Join(f.run, "config.yaml"), "DIR", filepath.Join(t.TempDir(), "run"))
	if again.Iterations != 6 || !strings.Contains(f.trained, "last loss "+strings.TrimSuffix(formatLoss(again.Loss), "\n")) {
		t.Errorf("loss %v, the first run ended with\n%s", again.Loss, f.trained)
	}
}

func formatLoss(v float64) string {
	var b strings.Builder
	if err := (&trainResult{Loss: v}).write(&b); err != nil {
		panic(err)
	}
	_, after, _ := strings.Cut(b.String(), "last loss ")
	loss, _, _ := strings.Cut(after, "\n")
	return loss
}

func TestEval(t *testing.T) {
	f := fixtures(t)
	pictures := filepath.Join(t.TempDir(), "pictures")
	table := ok(t, "eval", "--cfg", f.config, "--visualize", pictures).out
	for _, word := range []string{"IoU", "triangle", "mean IoU", "pixel accuracy"} {
		if !strings.Contains(table, word) {
			t.Errorf("the table lacks %q:\n%s", word, table)
		}
	}
	made, err := filepath.Glob(filepath.Join(pictures, "*.png"))
	if err != nil || len(made) != 3 {
		t.Errorf("pictures %v, %v", made, err)
	}
	got := asJSON[metric.Summary](t, "eval", "--cfg", f.config, "--model", f.checkpoint)
	if len(got.PerClass) != 5 || got.Pixels != 3*64*48 || !(got.Accuracy > 0 && got.Accuracy < 1) {
		t.Errorf("%+v", got)
	}
	// Several sizes are averaged; a value may begin with a hyphen.
	ok(t, "eval", "--cfg", f.config, "DATASET.imgSizes", "(40, 48)", "DATASET.ignore_index", "-1", "--threads", "1")
	refused(t, exitFailure, []string{".png exists", "--force"}, "eval", "--cfg", f.config, "--visualize", pictures)
	ok(t, "eval", "--cfg", f.config, "--visualize", pictures, "--force")
}

func TestEvalTables(t *testing.T) {
	f := fixtures(t)
	dir := filepath.Join(t.TempDir(), "tables")
	args := []string{"eval", "--cfg", f.config, "--tables", dir, "VAL.flip", "True", "VAL.window", "(32, 40)"}
	got := asJSON[metric.Summary](t, args...)
	matrix, classes := read(t, filepath.Join(dir, "confusion.csv")), read(t, filepath.Join(dir, "classes.csv"))
	if rows := strings.Split(strings.TrimSpace(matrix), "\n"); len(rows) != 6 || !strings.HasPrefix(rows[1], "background,") {
		t.Errorf("confusion matrix:\n%s", matrix)
	}
	total := 0
	for _, row := range strings.Split(strings.TrimSpace(matrix), "\n")[1:] {
		for _, cell := range strings.Split(row, ",")[1:] {
			n, err := strconv.Atoi(cell)
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
	}
	if int64(total) != got.Pixels || strings.Count(classes, "\n") != 6 || !strings.Contains(read(t, filepath.Join(dir, "confusion.svg")), "<svg") {
		t.Errorf("%d pixels of %d; classes:\n%s", total, got.Pixels, classes)
	}
	refused(t, exitFailure, []string{"confusion.csv exists", "--force"}, args...)
	plain := asJSON[metric.Summary](t, "eval", "--cfg", f.config)
	if plain.Pixels != got.Pixels || plain.Correct == got.Correct {
		t.Errorf("flip and windows change nothing: %d of %d pixels right with either", got.Correct, got.Pixels)
	}
}

func TestPredict(t *testing.T) {
	f := fixtures(t)
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"predict", f.checkpoint, f.picture, filepath.Join(f.images, "00001.png"), "-o", out, "--sizes", "48"}
	got := asJSON[[]predicted](t, args...)
	if len(got) != 2 || got[0].Picture != f.picture {
		t.Fatalf("%+v", got)
	}
	sum := 0.0
	for _, s := range got[0].Shares {
		sum += s.Share
	}
	if sum < 0.999999 || sum > 1.000001 {
		t.Errorf("shares sum up to %v", sum)
	}
	for _, file := range []string{got[0].Labels, got[0].Colours, got[1].Overlay} {
		r, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(r)
		r.Close()
		if err != nil || img.Bounds().Dx() != 64 || img.Bounds().Dy() != 48 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if list := leftovers(t, out); len(list) > 0 {
		t.Errorf("left over: %v", list)
	}
	refused(t, exitFailure, []string{got[0].Labels + " exists", "--force"}, args...)
	// A list of one picture a line, in parts and mirrored.
	list := write(t, filepath.Join(t.TempDir(), "list.txt"), f.picture+"\n\n")
	parts := asJSON[[]predicted](t, "predict", f.checkpoint, list, "-o", t.TempDir(), "--sizes", "96", "--window", "48,64", "--flip")
	if len(parts) != 1 || parts[0].Picture != f.picture || len(parts[0].Shares) == 0 {
		t.Errorf("%+v", parts)
	}
	refused(t, exitUsage, []string{"--window"}, append(args, "--window", "0")...)
	refused(t, exitUsage, []string{"--overlap"}, append(args, "--overlap", "1")...)
	refused(t, exitFailure, []string{"list.txt:1", "picture"}, "predict", f.checkpoint, write(t, list, "what\n"), "-o", out)
	text := ok(t, append(args, "--force")...).out
	if !strings.Contains(text, f.picture) || !strings.Contains(text, " %  ") {
		t.Errorf("no shares in\n%s", text)
	}
}

func TestExportAndVerify(t *testing.T) {
	f := fixtures(t)
	dir := t.TempDir()
	deploy := filepath.Join(dir, "deploy.onnx")
	got := asJSON[exportResult](t, "export", f.checkpoint, "-o", deploy)
	if got.File != deploy || got.Output != "probability" || got.Parameters < 1000 {
		t.Errorf("%+v", got)
	}
	m, err := loadModel(deploy)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range m.GetGraph().GetNode() {
		if n.GetOpType() == "BatchNormalization" {
			t.Fatalf("%s is not folded", onnx.NodeName(n))
		}
	}
	before := read(t, deploy)
	refused(t, exitFailure, []string{deploy + " exists", "--force", "-o"}, "export", f.checkpoint, "-o", deploy)
	if read(t, deploy) != before {
		t.Error("a refused export changed the file")
	}
	ok(t, "export", f.checkpoint, "-o", deploy, "--force")
	if read(t, deploy) != before {
		t.Error("the same export gives other bytes")
	}
	refused(t, exitFailure, []string{deploy, "exported file already"}, "export", deploy, "-o", filepath.Join(dir, "twice.onnx"))

	verify := []string{"verify", deploy, "--against", f.checkpoint, "--sizes", "48x64,51x70"}
	own := asJSON[export.Report](t, append(verify, "--engine", "graft")...)
	if !own.Passed || len(own.Cases) != 4 || own.MaxAbs > 1e-4 || own.MaxAbs == 0 {
		t.Errorf("%+v", own)
	}
	// A damaged file does not pass: one weight of the last layer is another.
	for _, w := range m.GetGraph().GetInitializer() {
		if dims := onnx.Dims(w); len(dims) == 4 && dims[0] == 5 {
			values, err := onnx.Floats(w)
			if err != nil {
				t.Fatal(err)
			}
			values[0] += 5
			w.RawData = onnx.NewFloats("", dims, values).GetRawData()
		}
	}
	bad := filepath.Join(dir, "bad.onnx")
	if err := m.Save(bad); err != nil {
		t.Fatal(err)
	}
	r := graft(t, "verify", bad, "--against", f.checkpoint, "--sizes", "48x64", "--engine", "graft")
	if r.code != exitFailure || !strings.Contains(r.out, "FAILED") || !strings.Contains(r.err, bad) {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}

	t.Run("onnxruntime", func(t *testing.T) {
		verify := append(verify, "--runtime", testutil.OnnxRuntime(t))
		if got := asJSON[export.Report](t, verify...); !got.Passed || !strings.HasPrefix(got.Runtime, "ONNX Runtime") {
			t.Errorf("%+v", got)
		}
		labels := filepath.Join(dir, "labels.onnx")
		ok(t, "export", f.checkpoint, "-o", labels, "--head", "argmax", "--preprocess", "nhwc", "--shape", "1,48,64")
		if out := ok(t, "verify", labels, "--against", f.checkpoint, "--runtime", testutil.OnnxRuntime(t)).out; !strings.Contains(out, "passed") {
			t.Errorf("no verdict in\n%s", out)
		}
	})
}

func TestInspect(t *testing.T) {
	f := fixtures(t)
	got := asJSON[export.Inspection](t, "inspect", f.checkpoint, "--size", "48x64")
	if !got.TrainingState || len(got.Inputs) != 1 || got.Cost == nil || len(got.Unsupported) != 0 || len(got.Notes) != 0 {
		t.Errorf("%+v", got)
	}
	if out := ok(t, "inspect", f.checkpoint).out; !strings.Contains(out, "Conv") {
		t.Errorf("no operators in\n%s", out)
	}
}

func TestDoctor(t *testing.T) {
	f := fixtures(t)
	got := asJSON[diagnosis](t, "doctor", "--cfg", f.config)
	if got.Chosen == "" || len(got.Devices) < 2 || got.Data["train"] == nil || got.Data["val"].Records != 3 {
		t.Errorf("%+v", got)
	}
	text := ok(t, "doctor").out
	for _, word := range []string{"native", "onednn", "onnxruntime", "mpi", "* " + got.Chosen} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in\n%s", word, text)
		}
	}
}

func TestData(t *testing.T) {
	f := fixtures(t)
	out := filepath.Join(t.TempDir(), "samples")
	args := []string{"data", "--cfg", f.config, "--samples", "5", "-o", out, "DATASET.augment", "[{name: crop, size: 32}, {name: rotate, degrees: 20}]"}
	got := asJSON[dataResult](t, args...)
	if len(got.Samples) != 5 || got.Report.Records < 4 || !got.Report.OK() {
		t.Fatalf("%+v", got)
	}
	for _, file := range got.Samples {
		r, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(r)
		r.Close()
		// Three pictures of 32 pixels, gaps of 4 between them.
		if err != nil || img.Bounds().Dx() != 3*32+2*4 || img.Bounds().Dy() != 32 {
			t.Errorf("%s: %v", file, err)
		}
	}
	first := read(t, got.Samples[0])
	refused(t, exitFailure, []string{"exists", "--force"}, args...)
	text := ok(t, append(args, "--force")...).out
	for _, word := range []string{"background", "share of labelled pixels", "5 samples in " + out} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in\n%s", word, text)
		}
	}
	if read(t, got.Samples[0]) != first {
		t.Error("the same seed gives another sample")
	}
	refused(t, exitUsage, []string{"--samples"}, "data", "--cfg", f.config, "--samples", "-1")
	refused(t, exitUsage, []string{"--samples", "--split"}, "data", "--cfg", f.config, "--samples", "1", "--split", "val")
	refused(t, exitFailure, []string{"DATASET.augment", "step 1", "degrees"}, "data", "--cfg", write(t, filepath.Join(t.TempDir(), "c.yaml"), "DATASET:\n  augment: [{name: rotate}]\n"))
}

func TestDemo(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("GRAFT_ONNXRUNTIME", "") // as on a fresh machine
	r := ok(t, "demo", "--quick")
	for _, word := range []string{"mean IoU", "passed", "graft-demo/run/report.html", "graft-demo/deploy.onnx"} {
		if !strings.Contains(filepath.ToSlash(r.out), word) {
			t.Errorf("the demo does not show %q:\n%s", word, r.out)
		}
	}
	// The commands that it prints work as printed.
	for _, line := range strings.Split(r.err, "\n") {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "$" {
			continue
		}
		switch words[2] {
		case "train":
			words = append(words, "DIR", "again", "TRAIN.num_epoch", "1", "TRAIN.epoch_iters", "1")
		case "verify":
		default:
			words = append(words, "--force")
		}
		ok(t, words[2:]...)
	}
	refused(t, exitFailure, []string{"graft-demo exists", "--force"}, "demo", "--quick")
	if err := os.Mkdir("mine", 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailure, []string{"mine", "not made by the demo"}, "demo", "--quick", "--dir", "mine", "--force")
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"graft e":                {"eval", "export"},
		"graft new --decoder ":   {"c1", "c1_deepsup", "ppm", "ppm_deepsup"},
		"graft predict --de":     {"--device"},
		"graft train --device n": {"native"},
		"graft export --head ":   {"softmax", "argmax", "logits", "logprob"},
	} {
		t.Setenv("COMP_LINE", line)
		t.Setenv("COMP_POINT", strconv.Itoa(len(line)))
		r := graft(t)
		got := strings.Fields(r.out)
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%q completes to %q, without %s", line, got, w)
			}
		}
		if r.code != 0 {
			t.Errorf("%q: exit code %d\n%s", line, r.code, r.err)
		}
	}
}

func TestReport(t *testing.T) {
	f := fixtures(t)
	out := filepath.Join(t.TempDir(), "page.html")
	got := asJSON[reportResult](t, "report", f.run, "-o", out)
	page := read(t, out)
	for _, part := range []string{"Training loss", "Confusion matrix", "Data set", "graft train"} {
		if got.Report != out || !strings.Contains(page, part) {
			t.Errorf("%q is missing from %s", part, got.Report)
		}
	}
	refused(t, exitFailure, []string{out, "--force"}, "report", f.run, "-o", out)
	refused(t, exitFailure, []string{"config.yaml", "no run folder"}, "report", t.TempDir())
	bare := t.TempDir()
	write(t, filepath.Join(bare, "config.yaml"), read(t, filepath.Join(f.run, "config.yaml")))
	refused(t, exitFailure, []string{"environment.json", "no such file", "graft train --cfg " + filepath.Join(bare, "config.yaml") + " --resume"}, "report", bare, "--no-data")
	refused(t, exitUsage, []string{"--model", "--no-data"}, "report", f.run, "--no-data", "--model", f.checkpoint)
	ok(t, "report", f.run, "--no-data", "-o", out, "--force")
	if strings.Contains(read(t, out), "Data set") {
		t.Error("--no-data tells of the data")
	}
}
