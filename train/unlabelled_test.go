package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/history"
	"github.com/graft-onnx/graft/train/report"
)

// Where every pixel is ignored, a training says so at once and stops after an
// epoch, without a checkpoint.
func TestTrainingOnIgnoredLabels(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Dataset.IgnoreLabels = []int{0, 1, 2, 3, 4, 5}
	c.Train.NumEpoch, c.Train.EpochIters, c.Train.CheckpointIters = 2, 3, 0
	for _, devices := range []int{1, 2} {
		var out bytes.Buffer
		_, err := Run(context.Background(), Options{Config: c, Devices: threadEach(t, devices), Output: &out})
		for _, word := range []string{"iteration 2: ", "epoch", ".png", "DATASET.label_shift", "DATASET.ignore_labels"} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Fatalf("%d devices: %v does not say %q", devices, err, word)
			}
		}
		if n := strings.Count(out.String(), "is labelled"); n != 1 || !strings.Contains(out.String(), "iteration 0: no pixel") || !strings.Contains(out.String(), ".png") {
			t.Errorf("%d devices: %d warnings in\n%s", devices, n, &out)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, CheckpointFile)); err == nil {
			t.Error("a checkpoint is written")
		}
	}
	if err := c.Set("TRAIN.losses", "[{name: cross_entropy, class_weights: balanced}]"); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}}); err == nil || !strings.Contains(err.Error(), "no labelled pixel to balance") {
		t.Errorf("balanced weights: %v", err)
	}
}

// A validation set without labels has no figures, but leaves the training as it
// is.
func TestUnlabelledValidation(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters = 1, 1
	masks, err := filepath.Glob(filepath.Join(c.Dataset.RootDataset, "masks", "val", "*.png"))
	if err != nil || len(masks) != 2 {
		t.Fatal(masks, err)
	}
	for _, mask := range masks {
		if err := report.SavePNG(mask, image.NewGray(image.Rect(0, 0, 72, 56))); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	result, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}, Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	if result.Evaluation != nil || result.Best != nil {
		t.Errorf("evaluation %+v, best %+v of nothing", result.Evaluation, result.Best)
	}
	if want := "evaluation after 1 iterations: " + c.Dataset.ListVal + ": no pixel of its 2 pictures is labelled"; !strings.Contains(out.String(), want) || strings.Contains(out.String(), "mIoU") {
		t.Errorf("%q is not in\n%s", want, &out)
	}
}

// One labelled pixel in an epoch is enough to go on; the first batch without any
// is told of, once in a run.
func TestLabelWatch(t *testing.T) {
	with := &data.Batch{Labels: []int32{-1, 0}, Names: []string{"with"}}
	without := &data.Batch{Labels: []int32{-1, -1}, Names: []string{"without"}}
	for name, test := range map[string]struct {
		from    int
		batches []*data.Batch // two an iteration, three iterations an epoch
		loss    float64
		told    int // iteration, -1 for none
		fails   int
	}{
		"all":           {0, []*data.Batch{with, with, with, with, with, with}, 1, -1, -1},
		"one":           {0, []*data.Batch{without, without, without, without, without, with}, 0, 0, -1},
		"none":          {0, []*data.Batch{without, without, without, without, without, without}, 0, 0, 2},
		"other process": {0, []*data.Batch{without, without, without, without, without, without}, 0.5, 0, -1},
		"later":         {0, []*data.Batch{with, with, with, without, with, with, without, without, without, without, without, without}, 0, 1, 5},
		"rest":          {1, []*data.Batch{without, without, without, without}, 0, 1, -1},
	} {
		w := labelWatch{epoch: 3, seen: test.from%3 != 0}
		told, fails := -1, -1
		for i := 0; i < len(test.batches); i += 2 {
			at := test.from + i/2
			line, err := w.after(test.batches[i:i+2], history.Record{Iteration: at, Loss: test.loss})
			if line != "" {
				if told >= 0 || !strings.Contains(line, fmt.Sprintf("iteration %d:", at)) || !strings.Contains(line, `"without"`) || strings.Contains(line, `"with"`) {
					t.Errorf("%s: %s", name, line)
				}
				told = at
			}
			if err != nil {
				fails = at
				break
			}
		}
		if told != test.told || fails != test.fails {
			t.Errorf("%s: told at %d, failed at %d, want %d and %d", name, told, fails, test.told, test.fails)
		}
	}
}

// A NaN ends a training on hard pixels too, before a weight has changed.
func TestNaNIsHard(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	model, batch := firstBatch(t, cfg)
	trainer := trainerOn(t, cfg, model, "TRAIN.losses", "[{name: ohem, threshold: 0.7, min_kept: 0}]")
	before := valuesOf(t, trainer.Net)
	batch.Images[7] = float32(math.NaN())
	var lost *LossError
	if _, err := trainer.Step(batch.Images, []int{batch.N, 3, batch.H, batch.W}, batch.Labels); !errors.As(err, &lost) || lost.Iteration != 0 {
		t.Errorf("%v", err)
	}
	for name, v := range valuesOf(t, trainer.Net) {
		for i := range v {
			if trainer.Net.Parameter(name).Trainable && v[i] != before[name][i] {
				t.Fatalf("%s has changed", name)
			}
		}
	}
}
