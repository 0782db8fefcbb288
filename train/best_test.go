package train

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/train/history"
)

func TestBestEvaluation(t *testing.T) {
	for _, c := range []struct {
		miou        []float64
		best, since int
	}{
		{[]float64{0.5}, 0, 0}, {[]float64{0.5, 0.5, 0.4}, 0, 2}, {[]float64{0.3, 0.6, 0.5}, 1, 1}, {[]float64{0, 0, 0.1}, 2, 0},
	} {
		h := &history.History{}
		for i, v := range c.miou {
			h.Evaluations = append(h.Evaluations, history.Evaluation{Iteration: i, MeanIoU: v})
		}
		if best, since, ok := h.Best(); !ok || best.Iteration != c.best || since != c.since {
			t.Errorf("%v: evaluation %d, %d since", c.miou, best.Iteration, since)
		}
	}
	if _, _, ok := (&history.History{}).Best(); ok {
		t.Error("a best evaluation of none")
	}
}

// A network that does not learn is evaluated patience times in vain.
func TestEarlyStopping(t *testing.T) {
	c := smallRun(t, t.TempDir())
	if err := c.Set("TRAIN.lr_encoder", "0", "TRAIN.lr_decoder", "0", "TRAIN.fix_bn", "True", "TRAIN.num_epoch", "9",
		"TRAIN.epoch_iters", "3", "TRAIN.eval_epochs", "1", "TRAIN.patience", "2"); err != nil {
		t.Fatal(err)
	}
	told := &bytes.Buffer{}
	result, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}, Output: told})
	if err != nil {
		t.Fatal(err)
	}
	if result.Iterations != 9 || !strings.Contains(told.String(), "stopped early after 9 iterations") {
		t.Errorf("%d iterations: %s", result.Iterations, told)
	}
	if b := result.Best; b == nil || b.Iteration != 3 || b.MeanIoU != result.Evaluation.MeanIoU || b.File != filepath.Join(c.Dir, BestFile) {
		t.Errorf("best %+v, evaluation %+v", b, result.Evaluation)
	}
	for file, iteration := range map[string]int{BestFile: 3, CheckpointFile: 9} {
		if saved, err := LoadCheckpoint(filepath.Join(c.Dir, file)); err != nil || saved.Progress.Iteration != iteration {
			t.Errorf("%s: iteration %+v, %v, want %d", file, saved, err, iteration)
		}
	}
	told.Reset()
	again, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}, Output: told, Resume: result.Checkpoint})
	if err != nil {
		t.Fatal(err)
	}
	if again.Iterations != 9 || !strings.Contains(told.String(), "stopped early") || *again.Best != *result.Best {
		t.Errorf("resumed: %d iterations, best %+v: %s", again.Iterations, again.Best, told)
	}
	c.Dataset.ListVal, c.Dir = "", c.Dir+"-other"
	if _, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}}); err == nil || !strings.Contains(err.Error(), "TRAIN.patience 2") {
		t.Errorf("without a validation set: %v", err)
	}
}
