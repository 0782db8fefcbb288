package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/internal/folderlock"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// A finished run goes on where the configuration makes it longer, at the rates
// of the new length; it cannot become shorter, or another one.
func TestResumeExtendsAFinishedRun(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters = 1, 3
	first, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}})
	if err != nil {
		t.Fatal(err)
	}
	told, longer := &bytes.Buffer{}, *c
	longer.Train.NumEpoch = 2
	second, err := Run(context.Background(), Options{Config: &longer, Devices: []kernel.Device{nativeDevice(t)}, Resume: first.Checkpoint, Output: told})
	if err != nil {
		t.Fatal(err)
	}
	if want := "3 of 3 iterations are done and 6 are wanted now"; !strings.Contains(told.String(), want) {
		t.Errorf("told %q, want %q in it", told, want)
	}
	records := second.History.Records
	if second.Iterations != 6 || len(records) != 6 {
		t.Fatalf("%d iterations, %d records, want 6 of both", second.Iterations, len(records))
	}
	for i, r := range records {
		n := 3
		if i >= 3 {
			n = 6
		}
		if want := Poly(c.Train.LrEncoder, i, n, c.Train.LrPow); r.Iteration != i || r.LREncoder != want {
			t.Errorf("record %d: iteration %d, rate %g, want %g", i, r.Iteration, r.LREncoder, want)
		}
	}
	if _, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}, Resume: second.Checkpoint}); err == nil || !strings.Contains(err.Error(), "not shorter") {
		t.Errorf("shorter: %v", err)
	}
	other := longer
	other.Train.Seed++
	if _, err := Run(context.Background(), Options{Config: &other, Devices: []kernel.Device{nativeDevice(t)}, Resume: second.Checkpoint}); err == nil || !strings.Contains(err.Error(), "seed") {
		t.Errorf("another seed: %v", err)
	}
}

// smallRun is a configuration of 30 iterations on generated pictures.
func smallRun(t *testing.T, dir string) *config.Config {
	t.Helper()
	files, err := data.Synthesize(context.Background(), filepath.Join(dir, "data"), data.SynthOptions{Train: 10, Val: 2, Width: 72, Height: 56, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Dataset.RootDataset, c.Dataset.ListTrain, c.Dataset.ListVal = files.Root, files.ListTrain, files.ListVal
	c.Dataset.NumClass, c.Dataset.ImgSizes, c.Dataset.ImgMaxSize = 5, []int{48, 56}, 96
	c.Model.ArchEncoder, c.Model.ArchDecoder, c.Model.Width = "mobilenetv2dilated", "c1_deepsup", 8
	c.Train.BatchSizePerGPU, c.Train.NumEpoch, c.Train.EpochIters = 2, 3, 10
	c.Train.CheckpointIters, c.Train.EvalEpochs, c.Train.BNMomentum, c.Train.DispIter = 4, 0, 0.1, 1
	c.Dir = filepath.Join(dir, "run")
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

func nativeDevice(t *testing.T) kernel.Device {
	t.Helper()
	dev, err := device.Open("native")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func TestResumedRunWritesTheSameBytes(t *testing.T) {
	for name, overrides := range map[string][]string{
		"SGD":      nil,
		"Nesterov": {"TRAIN.nesterov", "True", "TRAIN.schedule", "step", "TRAIN.milestones", "(1, 2)", "TRAIN.warmup_iters", "9", "MODEL.frozen", "encoder.features.0"},
		"AdamW": {"TRAIN.optim", "AdamW", "TRAIN.schedule", "cosine", "TRAIN.clip_norm", "1", "TRAIN.accumulate", "2", "TRAIN.ema_decay", "0.9",
			"TRAIN.losses", "[{name: cross_entropy, class_weights: balanced}, {name: lovasz}]"},
		"averages": {"TRAIN.ema_decay", "0.9"},
		"mixed": {"TRAIN.precision", "bf16", "TRAIN.clip_norm", "1",
			"TRAIN.losses", "[{name: dice}, {name: cross_entropy, label_smoothing: 0.1}, {name: ohem}, {name: focal}, {name: lovasz}]"},
	} {
		t.Run(name, func(t *testing.T) { testResumedRun(t, overrides) })
	}
}

func testResumedRun(t *testing.T, overrides []string) {
	dir := t.TempDir()
	whole := smallRun(t, dir)
	if err := whole.Set(overrides...); err != nil {
		t.Fatal(err)
	}
	result, err := Run(context.Background(), Options{Config: whole, Devices: []kernel.Device{nativeDevice(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Iterations != 30 || result.Evaluation == nil {
		t.Fatalf("%+v", result)
	}
	want, err := os.ReadFile(result.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The same run, stopped twice on the way. The run folder is part of the
	// configuration, so it must be the same one.
	if err := os.Rename(whole.Dir, whole.Dir+"-whole"); err != nil {
		t.Fatal(err)
	}
	resume := ""
	for _, lines := range []int{7, 8} {
		ctx, cancel := context.WithCancel(context.Background())
		_, err = Run(ctx, Options{Config: whole, Devices: []kernel.Device{nativeDevice(t)}, Resume: resume, Output: &stopAfter{lines, cancel}})
		if !errors.Is(err, ErrStopped) {
			t.Fatalf("stopped run: %v", err)
		}
		resume = filepath.Join(whole.Dir, CheckpointFile)
	}
	if result, err = Run(context.Background(), Options{Config: whole, Devices: []kernel.Device{nativeDevice(t)}, Resume: resume}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(result.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("checkpoints of %d and %d bytes differ", len(got), len(want))
	}
}

// stopAfter calls stop once so many lines have been written to it.
type stopAfter struct {
	lines int
	stop  func()
}

func (w *stopAfter) Write(p []byte) (int, error) {
	if w.lines--; w.lines == 0 {
		w.stop()
	}
	return len(p), nil
}

// A finished run that is resumed keeps its files and fills in what is missing.
func TestResumeOfAFinishedRun(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters = 1, 3
	first, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{CheckpointFile, "history.csv", "evaluation.csv", "history.json", ReportFile}
	before := map[string][]byte{}
	for _, name := range names {
		if before[name], err = os.ReadFile(filepath.Join(c.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}, Resume: first.Checkpoint})
	if err != nil {
		t.Fatal(err)
	}
	if again.Iterations != 3 || again.Loss != first.Loss || again.Evaluation == nil || again.Evaluation.MeanIoU != first.Evaluation.MeanIoU {
		t.Errorf("got %+v, want %+v", again, first)
	}
	for _, name := range names {
		after, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil || !bytes.Equal(after, before[name]) {
			t.Errorf("%s differs: %d bytes, were %d, %v", name, len(after), len(before[name]), err)
		}
	}
	other := *c
	other.Dir = c.Dir + "-other"
	if _, err := Run(context.Background(), Options{Config: &other, Devices: []kernel.Device{nativeDevice(t)}, Resume: first.Checkpoint}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{CheckpointFile, ReportFile, "evaluation.csv"} {
		if _, err := os.Stat(filepath.Join(other.Dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestOneRunInAFolder(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters = 1, 2
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := folderlock.Acquire(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	// What the other is writing; if it is killed, it leaves that behind.
	half := filepath.Join(c.Dir, "."+CheckpointFile+".0123abcd.tmp")
	if err := os.WriteFile(half, []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}}); !errors.Is(err, folderlock.ErrHeld) {
		t.Errorf("beside another run: %v", err)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("another run's file: %v", err)
	}
	lock.Unlock()
	if _, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}}); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(c.Dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestResumeWithOtherSettings(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters = 1, 2
	first, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{nativeDevice(t)}})
	if err != nil {
		t.Fatal(err)
	}
	told, other := &bytes.Buffer{}, *c
	other.Train.BatchSizePerGPU = 3
	other.Model.FcDim = 320 // describes the model and does not make it
	if _, err := Run(context.Background(), Options{Config: &other, Devices: []kernel.Device{nativeDevice(t)}, Resume: first.Checkpoint, Output: told}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.String(), "TRAIN.batch_size_per_gpu 3, was 2") {
		t.Errorf("told %q", told)
	}
	other = *c
	other.Model.Width = 4
	if _, err := Run(context.Background(), Options{Config: &other, Devices: []kernel.Device{nativeDevice(t)}, Resume: first.Checkpoint}); err == nil || !strings.Contains(err.Error(), "MODEL.width was 8 and is 4") {
		t.Errorf("another model: %v", err)
	}
}

func TestPredictorRefusesNaN(t *testing.T) {
	c := smallRun(t, t.TempDir())
	m, err := InitialModel(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range m.GetGraph().GetInitializer() {
		if strings.HasPrefix(w.GetName(), "decoder.") && len(onnx.Dims(w)) == 4 {
			binary.LittleEndian.PutUint32(w.RawData, math.Float32bits(float32(math.NaN())))
		}
	}
	p, err := NewPredictor(m, nativeDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	val, err := data.Open(c, data.Val)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Predictors{p}).Evaluate(context.Background(), val, data.OptionsFrom(c), nil); err == nil || !strings.Contains(err.Error(), "NaN") || !strings.Contains(err.Error(), "images/val") {
		t.Errorf("got %v", err)
	}
}

func TestShortRunsAreWarnedOfStaleStatistics(t *testing.T) {
	c := config.Default()
	c.Train.NumEpoch, c.Train.EpochIters = 1, 100
	if line := staleStatistics(c); !strings.Contains(line, "90 %") || !strings.Contains(line, "0.023") {
		t.Errorf("momentum 0.001 for 100 iterations: %q", line)
	}
	c.Train.FixBN = true
	if line := staleStatistics(c); line != "" {
		t.Errorf("statistics that are kept: %q", line)
	}
	c.Train.FixBN, c.Train.EpochIters = false, 5000
	if line := staleStatistics(c); line != "" {
		t.Errorf("5000 iterations: %q", line)
	}
}

func TestRandomEncodersAreToldOf(t *testing.T) {
	c := config.Default()
	if line := untrained(c); !strings.Contains(line, "resnet50dilated begins with random weights") {
		t.Errorf("a network of graft's own: %q", line)
	}
	for _, key := range []string{"MODEL.file", "MODEL.weights_encoder"} {
		c := config.Default()
		if err := c.Set(key, "a.onnx"); err != nil {
			t.Fatal(err)
		}
		if line := untrained(c); line != "" {
			t.Errorf("%s: %q", key, line)
		}
	}
}

// Mixed precision trains like float32 and writes weights in float32; without the
// instructions for it a run says so and goes on.
func TestMixedPrecisionRun(t *testing.T) {
	losses := map[string]float64{}
	for _, c := range []struct{ name, precision, simd string }{{"fp32", "fp32", "avx2"}, {"bf16", "bf16", ""}, {"fallback", "bf16", "avx2"}} {
		t.Setenv("GRAFT_SIMD", c.simd)
		dev := nativeDevice(t)
		if c.name == "bf16" && !kernel.FastBFloat16(dev) {
			t.Log("this processor does not multiply bfloat16")
			continue
		}
		cfg := smallRun(t, t.TempDir())
		cfg.Train.Precision = c.precision
		var output bytes.Buffer
		result, err := Run(context.Background(), Options{Config: cfg, Devices: []kernel.Device{dev}, Output: &output})
		if err != nil {
			t.Fatal(err)
		}
		if first, last := result.History.Records[0].Loss, result.Loss; !(last < 0.8*first) {
			t.Errorf("%s: the loss goes from %v to %v", c.name, first, last)
		}
		losses[c.name] = result.Loss
		if told := strings.Contains(output.String(), "TRAIN.precision bf16 needs a processor with AVX512_BF16"); told != (c.name == "fallback") {
			t.Errorf("%s: told of the fallback: %v\n%s", c.name, told, &output)
		}
	}
	if losses["fallback"] != losses["fp32"] {
		t.Errorf("the fallback ends at loss %v, fp32 at %v", losses["fallback"], losses["fp32"])
	}
	if l, ok := losses["bf16"]; ok && (l == losses["fp32"] || math.Abs(l-losses["fp32"]) > 0.1*losses["fp32"]) {
		t.Errorf("bf16 ends at loss %v, fp32 at %v", l, losses["fp32"])
	}
}
