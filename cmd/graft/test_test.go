package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// graft test writes and says what graft predict does with the same settings.
func TestTestIsPredictByConfiguration(t *testing.T) {
	f := fixtures(t)
	t.Chdir(t.TempDir()) // what is printed names the folder
	want := ok(t, "predict", f.checkpoint, f.images, f.picture, "-o", "out", "--sizes", "48,64", "--max-size", "96", "--flip", "--window", "40")
	wrote := contents(t, "out")
	if err := os.RemoveAll("out"); err != nil {
		t.Fatal(err)
	}
	got := ok(t, "test", "--cfg", f.config, "--imgs", f.images, "--imgs", f.picture,
		"TEST.result", "out", "DATASET.imgSizes", "(48, 64)", "DATASET.imgMaxSize", "96", "VAL.flip", "True", "VAL.window", "40")
	if got.out != want.out {
		t.Errorf("printed\n%s\nwant\n%s", got.out, want.out)
	}
	files := contents(t, "out")
	for name, content := range wrote {
		if files[name] != content {
			t.Errorf("%s differs", name)
		}
	}
	if len(files) != len(wrote) || len(files) != 12 {
		t.Errorf("%d files, want the %d of predict, 12", len(files), len(wrote))
	}
	refused(t, 1, []string{"exists", "--force"}, "test", "--cfg", f.config, "--imgs", f.images, "TEST.result", "out")
	refused(t, 1, []string{"TEST.result", "is a file"}, "test", "--cfg", f.config, "--imgs", f.images, "TEST.result", f.config)
	refused(t, 2, []string{"--imgs"}, "test", "--cfg", f.config)
}

// The keys of the reference name the model to look at.
func TestCheckpointKeys(t *testing.T) {
	f := fixtures(t)
	eval := func(args ...string) result {
		t.Helper()
		return ok(t, append([]string{"eval", "--cfg", f.config}, args...)...)
	}
	last := eval()
	if said := eval("VAL.checkpoint", "epoch_20.pth"); said.out != last.out || !strings.Contains(said.err, "VAL.checkpoint epoch_20.pth: ") {
		t.Errorf("the reference's name: %q, want a word and\n%s", said.err, last.out)
	}
	if strings.Contains(last.err, "VAL.checkpoint") {
		t.Errorf("the default: %q", last.err)
	}
	other := filepath.Join(t.TempDir(), "other.onnx")
	ok(t, "new", "--encoder", "resnet18", "--decoder", "c1", "--classes", f.data.Classes, "--width", "8", "-o", other)
	if eval("VAL.checkpoint", other).out == last.out {
		t.Error("VAL.checkpoint is not followed")
	}
	refused(t, 1, []string{"VAL.checkpoint", filepath.Join(f.run, "worst.onnx"), "best.onnx"}, "eval", "--cfg", f.config, "VAL.checkpoint", "worst.onnx")
	refused(t, 1, []string{"TEST.checkpoint", "worst.onnx"}, "test", "--cfg", f.config, "--imgs", f.images, "TEST.checkpoint", "worst.onnx")
	refused(t, 1, []string{"no checkpoint yet", "--model"}, "test", "--cfg", f.config, "--imgs", f.images, "DIR", t.TempDir())
}
