package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// trainerOn makes a trainer of a small model with overrides, and two batches of
// equal size in which every pixel has a label.
func trainerOn(t *testing.T, cfg *config.Config, model *onnx.Model, overrides ...string) *Trainer {
	t.Helper()
	c := *cfg
	if err := c.Set(overrides...); err != nil {
		t.Fatal(err)
	}
	trainer, err := NewTrainer(&c, model, nativeDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// halves returns a batch of four pictures and its two halves.
func halves(t *testing.T, cfg *config.Config) (whole Batch, parts [2]Batch) {
	t.Helper()
	c := *cfg
	c.Dataset.ImgSizes, c.Train.BatchSizePerGPU = []int{56}, 4
	_, b := firstBatch(t, &c)
	for i, l := range b.Labels {
		b.Labels[i] = max(l, 0) // the loss is a mean over labelled pixels
	}
	whole = Batch{b.Images, []int{4, 3, b.H, b.W}, b.Labels}
	for i := range parts {
		n, m := len(b.Images)/2, len(b.Labels)/2
		parts[i] = Batch{b.Images[i*n : (i+1)*n], []int{2, 3, b.H, b.W}, b.Labels[i*m : (i+1)*m]}
	}
	return whole, parts
}

// difference is the norm of the difference of all parameters over that of what
// changed from before to want.
func difference(got, want, before map[string][]float32) float64 {
	var d, n float64
	for name := range want {
		for i, w := range want[name] {
			d += math.Pow(float64(got[name][i]-w), 2)
			n += math.Pow(float64(before[name][i]-w), 2)
		}
	}
	return math.Sqrt(d / n)
}

// Two batches accumulated are one of their pictures, where statistics are fixed
// and all have equally many labels. The network has no dropout: it would draw
// other numbers.
func TestAccumulatedBatchesAreOne(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	cfg.Model.ArchDecoder = "c1_deepsup"
	model, err := InitialModel(cfg)
	if err != nil {
		t.Fatal(err)
	}
	whole, parts := halves(t, cfg)
	for _, optim := range []string{"SGD", "AdamW"} {
		one := trainerOn(t, cfg, model, "TRAIN.fix_bn", "True", "TRAIN.optim", optim)
		two := trainerOn(t, cfg, model, "TRAIN.fix_bn", "True", "TRAIN.optim", optim, "TRAIN.accumulate", "2")
		before := valuesOf(t, one.Net)
		for range 2 {
			a, err := one.StepOn(whole)
			if err != nil {
				t.Fatal(err)
			}
			b, err := two.StepOn(parts[0], parts[1])
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(a.Loss-b.Loss) > 1e-6*a.Loss || a.Accuracy != b.Accuracy || b.Iteration != a.Iteration {
				t.Errorf("%s: %+v, want %+v", optim, b, a)
			}
		}
		const tolerance = 1e-5
		d := difference(valuesOf(t, two.Net), valuesOf(t, one.Net), before)
		if !(d <= tolerance) {
			t.Errorf("%s: the updates differ by %.2g", optim, d)
		}
	}
}

// A limit that is never reached changes no bit: updates after a run are those
// inside of it.
func TestUpdatesAfterARunAreThoseInside(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	model, batch := firstBatch(t, cfg)
	for _, optim := range [][]string{{"TRAIN.optim", "SGD"}, {"TRAIN.nesterov", "True"}, {"TRAIN.optim", "AdamW"}} {
		inside := trainerOn(t, cfg, model, optim...)
		after := trainerOn(t, cfg, model, append(optim, "TRAIN.clip_norm", "1e6")...)
		for range 3 {
			for _, trainer := range []*Trainer{inside, after} {
				if _, err := trainer.Step(batch.Images, []int{batch.N, 3, batch.H, batch.W}, batch.Labels); err != nil {
					t.Fatal(err)
				}
			}
		}
		want, got := valuesOf(t, inside.Net), valuesOf(t, after.Net)
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("%v: %s differs", optim, name)
			}
		}
	}
}

func TestClippedGradients(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	model, batch := firstBatch(t, cfg)
	step := func(most string) (norm float64, change map[string][]float32) {
		trainer := trainerOn(t, cfg, model, "TRAIN.clip_norm", most, "TRAIN.weight_decay", "0", "TRAIN.lr_encoder", "1", "TRAIN.lr_decoder", "1", "TRAIN.fix_bn", "True")
		before := valuesOf(t, trainer.Net)
		r, err := trainer.Step(batch.Images, []int{batch.N, 3, batch.H, batch.W}, batch.Labels)
		if err != nil {
			t.Fatal(err)
		}
		change = valuesOf(t, trainer.Net)
		for name, v := range change {
			for i := range v {
				v[i] -= before[name][i]
			}
		}
		return r.GradientNorm, change
	}
	length := func(v map[string][]float32) float64 { return tensors(v).norm() }
	norm, change := step("1e6")
	if norm == 0 || math.Abs(length(change)-norm) > 1e-4*norm { // the change is a difference of rounded weights
		t.Errorf("norm %v, the step is %v long", norm, length(change))
	}
	most := norm / 4
	clipped, short := step(fmt.Sprint(most))
	if clipped != norm || math.Abs(length(short)-most) > 1e-4*most {
		t.Errorf("clipped to %v: norm %v, want %v, the step is %v long", most, clipped, norm, length(short))
	}
	for name := range change {
		for i := range change[name] {
			change[name][i] /= 4
		}
	}
	if d := relativeDistance(short, change); d > 1e-4 {
		t.Errorf("the clipped step points elsewhere: %v", d)
	}
}

// The average after n steps is decay^n of the initial value and, of each later
// one, (1-decay)*decay^(steps since).
func TestAverages(t *testing.T) {
	const decay = 0.75
	cfg := smallRun(t, t.TempDir())
	model, batch := firstBatch(t, cfg)
	trainer := trainerOn(t, cfg, model, "TRAIN.ema_decay", fmt.Sprint(decay))
	want := map[string][]float64{}
	for name, v := range valuesOf(t, trainer.Net) {
		for _, x := range v {
			want[name] = append(want[name], float64(x))
		}
	}
	image := batch.Images[:3*batch.H*batch.W]
	item := &data.EvalItem{Picture: &data.Picture{Width: batch.W, Height: batch.H}, Inputs: []data.Scaled{{H: batch.H, W: batch.W, Image: image}}}
	for range 4 {
		// An evaluation between steps must leave nothing of its own behind.
		if _, err := trainer.Predictor().Probabilities(item); err != nil {
			t.Fatal(err)
		}
		if _, err := trainer.Step(batch.Images, []int{batch.N, 3, batch.H, batch.W}, batch.Labels); err != nil {
			t.Fatal(err)
		}
		for name, v := range valuesOf(t, trainer.Net) {
			for i, x := range v {
				want[name][i] = decay*want[name][i] + (1-decay)*float64(x)
			}
		}
	}
	path := filepath.Join(t.TempDir(), CheckpointFile)
	if err := trainer.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	saved, err := LoadCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	statistics := 0
	for _, init := range saved.Model.GetGraph().GetInitializer() {
		name := init.GetName()
		got, err := onnx.Floats(init)
		if err != nil || want[name] == nil {
			continue // shapes and the like
		}
		trained, err := onnx.Floats(saved.Trained[name])
		if err != nil {
			t.Fatal(err)
		}
		moved := false
		for i, v := range got {
			if d := math.Abs(float64(v) - want[name][i]); d > 1e-6*math.Abs(want[name][i])+1e-7 {
				t.Fatalf("%s: element %d is %v, want %v", name, i, v, want[name][i])
			}
			moved = moved || v != trained[i]
		}
		if p := trainer.Net.Parameter(name); moved && !p.Trainable {
			statistics++
		} else if !moved && p.Trainable {
			t.Errorf("%s: the average is the trained value", name)
		}
	}
	if statistics == 0 {
		t.Error("no running statistic is averaged")
	}
	// The averages are what is evaluated.
	got, err := trainer.Predictor().Probabilities(item)
	if err != nil {
		t.Fatal(err)
	}
	from, err := NewPredictor(saved.Model, nativeDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := from.Probabilities(item)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, wanted) {
		t.Error("the trainer does not evaluate the averages that it saves")
	}
}

// A run that has diverged does not replace its last checkpoint.
func TestNoCheckpointOfLostWeights(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	model, _ := firstBatch(t, cfg)
	trainer := trainerOn(t, cfg, model)
	path := filepath.Join(t.TempDir(), CheckpointFile)
	last := trainer.Optimizer.params[len(trainer.Optimizer.params)-1]
	velocity := last.as(last.states[0])
	v := make([]float32, last.Len())
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		v[len(v)-1] = float32(bad)
		if err := trainer.Net.SetValue(velocity, v); err != nil {
			t.Fatal(err)
		}
		if err := trainer.Save(path, nil); err == nil || !strings.Contains(err.Error(), last.Name) {
			t.Errorf("%v in the velocity of %s: %v", bad, last.Name, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%v is written", bad)
		}
	}
}
