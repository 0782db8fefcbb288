package train

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
)

// Every encoder trains with every decoder; stopped and resumed it writes the
// bytes of a run that was not, and exported it gives in ONNX Runtime what graft
// computes, at sizes that no stride divides. The networks are narrow. A short
// test takes every encoder once and every decoder.
func TestEveryCombinationTrains(t *testing.T) {
	base := smallRun(t, t.TempDir())
	base.Dataset.ImgSizes = []int{48}
	base.Train.NumEpoch, base.Train.EpochIters = 1, 2
	for i, encoder := range models.Encoders() {
		for j, decoder := range models.Decoders() {
			t.Run(encoder+"-"+decoder, func(t *testing.T) {
				if testing.Short() && j != i%len(models.Decoders()) {
					t.Skip("skipped: short test")
				}
				c := *base
				c.Model.File = gentleModel(t, models.Spec{Encoder: encoder, Decoder: decoder, Classes: c.Dataset.NumClass, Seed: 1, Width: 16})
				c.Dataset.SegmDownsamplingRate = outputStride(encoder, decoder)
				c.Dataset.PaddingConstant = max(8, c.Dataset.SegmDownsamplingRate)
				c.Dir = filepath.Join(t.TempDir(), "run")
				if err := c.Validate(); err != nil {
					t.Fatal(err)
				}
				dev := nativeDevice(t)
				checkpoint := resumedAndWhole(t, dev, &c)
				t.Run("export", func(t *testing.T) { verifyExport(t, dev, checkpoint) })
			})
		}
	}
}

// gentleModel writes a network whose bottlenecks add little to their input, as
// trained ones do: where every block adds as much as it gets, rounding grows by
// a third a block, and after a hundred layers no two programs agree.
func gentleModel(t *testing.T, spec models.Spec) string {
	t.Helper()
	m, err := models.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.GetGraph().GetInitializer() {
		if name := p.GetName(); strings.Contains(name, ".layer") && strings.HasSuffix(name, ".bn3.weight") {
			values, err := onnx.Floats(p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range values {
				values[i] /= 8
			}
			if err := onnx.SetFloats(p, values); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// outputStride is how many pixels of the picture a network's output has for
// each of its cells.
func outputStride(encoder, decoder string) int {
	switch {
	case encoder == "hrnetv2" || strings.HasPrefix(decoder, "upernet"):
		return 4
	case strings.HasSuffix(encoder, "dilated"):
		return 8
	}
	return 32
}

// resumedAndWhole runs the configuration in one go, and again with a stop on
// the way, compares the checkpoints and returns one.
func resumedAndWhole(t *testing.T, dev kernel.Device, c *config.Config) string {
	t.Helper()
	whole, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{dev}})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(whole.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.Dir); err != nil { // the same folder, since it is part of the configuration
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err = Run(ctx, Options{Config: c, Devices: []kernel.Device{dev}, Output: stopAt{"train 1/2", cancel}}); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "after 1 of 2 iterations") {
		t.Fatalf("stopped run: %v", err)
	}
	resumed, err := Run(context.Background(), Options{Config: c, Devices: []kernel.Device{dev}, Resume: filepath.Join(c.Dir, CheckpointFile)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(resumed.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("checkpoints of %d and %d bytes differ", len(got), len(want))
	}
	return resumed.Checkpoint
}

// stopAt calls stop when a text is written to it.
type stopAt struct {
	text string
	stop func()
}

func (w stopAt) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.text)) {
		w.stop()
	}
	return len(p), nil
}

// verifyExport compares what is exported of a checkpoint with the checkpoint.
func verifyExport(t *testing.T, dev kernel.Device, checkpoint string) {
	t.Helper()
	m, err := onnx.Load(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	out, err := export.Inference(m, export.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	deploy := filepath.Join(t.TempDir(), "deploy.onnx")
	if err := out.Save(deploy); err != nil {
		t.Fatal(err)
	}
	net, err := graph.NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	report, err := export.Verify(deploy, export.NewNetworkEvaluator(net, models.InputName), export.VerifyOptions{
		Runtime: testutil.OnnxRuntime(t), Threads: 2, Sizes: [][2]int{{97, 131}}, Batches: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Error(err)
	}
}
