package train

import (
	"bytes"
	"context"
	"github.com/graft-onnx/graft/graph/kernel"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The history has the parts of the loss, and the IoU of every class.
func TestRunRecordsPartsAndClasses(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters, c.Train.Accumulate = 1, 2, 2
	result, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range result.History.Records {
		if want := r.LossMain + c.Train.DeepSupScale*r.LossDeepSup; r.LossDeepSup <= 0 || math.Abs(r.Loss-want) > 1e-6*want {
			t.Errorf("loss %g of %g and %g times %g", r.Loss, r.LossMain, c.Train.DeepSupScale, r.LossDeepSup)
		}
	}
	if len(result.History.Evaluations) != 1 || len(result.History.Evaluations[0].IoU) != c.Dataset.NumClass {
		t.Fatalf("%+v", result.History.Evaluations)
	}
	for i, v := range result.History.Evaluations[0].IoU {
		if want := result.Evaluation.PerClass[i].IoU; v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
			t.Errorf("class %d: IoU %g, want %g", i, v, want)
		}
	}
}

// TensorBoard's files hold every iteration and evaluation once, of a resumed
// run too.
func TestRunWritesEvents(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters = 1, 3
	resume := ""
	for epochs := 1; epochs <= 2; epochs++ {
		c.Train.NumEpoch = epochs
		result, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}, Resume: resume})
		if err != nil {
			t.Fatal(err)
		}
		resume = result.Checkpoint
		files, err := filepath.Glob(filepath.Join(c.Dir, EventsFolder, "events.out.tfevents.*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("files %v, %v; want one", files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		// The byte after a tag begins its number.
		for word, want := range map[string]int{"train/loss_main": 3 * epochs, "validation/mean_iou\x15": epochs, "samples/": 2 * epochs, "\x89PNG": 2 * epochs} {
			if n := bytes.Count(b, []byte(word)); n != want {
				t.Errorf("after %d epochs %q is there %d times, want %d", epochs, word, n, want)
			}
		}
	}
}

// A report that is written anew is the one that the training wrote; without a
// device it shows what the folder tells.
func TestReportIsRenewed(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters = 1, 2
	if _, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}, Command: []string{"graft", "train", "a b"}, Version: "v1"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.Dir, ReportFile)
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"graft train &#39;a b&#39;", "Confusion matrix", "Time of an iteration", "Data set", "bn_momentum: 0.1", ">v1<", "data:image/png"} {
		if !bytes.Contains(want, []byte(part)) {
			t.Errorf("%q is missing", part)
		}
	}
	other := filepath.Join(c.Dir, "other.html")
	for _, out := range []string{"", other} {
		at, err := Report(context.Background(), ReportOptions{Dir: c.Dir, Output: out, Device: nativeDevice(t)})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(at); err != nil || !bytes.Equal(got, want) || out != "" && at != out || out == "" && at != file {
			t.Errorf("%s has %d bytes, want the %d of the training's; %v", at, len(got), len(want), err)
		}
	}
	// Without the data set.
	if err := os.RemoveAll(c.Dataset.RootDataset); err != nil {
		t.Fatal(err)
	}
	if _, err := Report(context.Background(), ReportOptions{Dir: c.Dir, Device: nativeDevice(t)}); err == nil || !strings.Contains(err.Error(), "--no-data") {
		t.Errorf("without the data set: %v", err)
	}
	if _, err := Report(context.Background(), ReportOptions{Dir: c.Dir}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Contains(got, []byte("Training loss")) || bytes.Contains(got, []byte("Data set")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := Report(context.Background(), ReportOptions{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "no run folder") {
		t.Errorf("no run folder: %v", err)
	}
}
