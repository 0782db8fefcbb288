package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
)

// trace is a training run of PyTorch, see the README of the reference folder.
type trace struct {
	Decoder              string
	Batch, Height, Width int
	Config               struct {
		LrEncoder    float64 `json:"lr_encoder"`
		LrDecoder    float64 `json:"lr_decoder"`
		LrPow        float64 `json:"lr_pow"`
		Momentum     float64
		WeightDecay  float64 `json:"weight_decay"`
		DeepSupScale float64 `json:"deep_sup_scale"`
		MaxIters     int     `json:"max_iters"`
	}
	Trace []struct {
		Iter      int
		LrEncoder float64 `json:"lr_encoder"`
		LrDecoder float64 `json:"lr_decoder"`
		Loss, Acc float64
	}
}

// Agreement with PyTorch, as the reference folder states it.
const (
	evalTolerance      = 1e-5 // outputs, norm of the difference over norm
	firstLossTolerance = 1e-5 // relative
	gradientTolerance  = 1e-3 // norm of the difference over norm, each tensor
	lossTolerance      = 1e-3 // relative, every later loss
	weightTolerance    = 1e-3 // norm of the difference over norm, each tensor
	accuracyPixels     = 4
)

// devices opens the kernel sets that are on this machine.
func devices(t *testing.T, run func(t *testing.T, dev kernel.Device)) {
	for _, name := range []string{"native", "onednn"} {
		t.Run(name, func(t *testing.T) {
			dev, err := device.Open(name)
			if err != nil {
				t.Skipf("skipped: %v", err)
			}
			t.Cleanup(func() { dev.Close() })
			run(t, dev)
		})
	}
}

func TestReferenceTraces(t *testing.T) {
	for _, name := range []string{"mbv2-c1ds", "r18d-ppmds", "r50-uper", "rx101-uperlite"} {
		t.Run(name, func(t *testing.T) {
			dir := testutil.SharedDir(t, "reference", name)
			devices(t, func(t *testing.T, dev kernel.Device) { replay(t, dir, dev) })
		})
	}
}

func replay(t *testing.T, dir string, dev kernel.Device) {
	var ref trace
	text, err := os.ReadFile(filepath.Join(dir, "trace.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &ref); err != nil {
		t.Fatal(err)
	}
	model, err := onnx.Load(filepath.Join(dir, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	net, err := graph.NewNetwork(model, dev)
	if err != nil {
		t.Fatal(err)
	}
	shape := map[string][]int{"image": {ref.Batch, 3, ref.Height, ref.Width}}

	compareEvaluation(t, dir, net, shape)

	loss := &graph.Loss{Ignore: -1, Outputs: []graph.LossOutput{{Name: "logprob", Weight: 1}}}
	if len(model.GetGraph().GetOutput()) > 1 {
		loss.Outputs = append(loss.Outputs, graph.LossOutput{Name: "logprob_deepsup", Weight: float32(ref.Config.DeepSupScale)})
	}
	plan, err := net.Plan(graph.Spec{Inputs: shape, Mode: graph.Train, Loss: loss})
	if err != nil {
		t.Fatal(err)
	}
	opt, err := NewSGD(net, ref.Config.Momentum, ref.Config.WeightDecay)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range ref.Trace {
		if err := plan.SetInput("image", floats(t, dir, "image", i%3)); err != nil {
			t.Fatal(err)
		}
		for _, o := range loss.Outputs {
			if err := plan.SetLabels(o.Name, labels(t, dir, i%3)); err != nil {
				t.Fatal(err)
			}
		}
		if err := plan.RunAll(); err != nil {
			t.Fatal(err)
		}
		got, err := plan.Loss()
		if err != nil {
			t.Fatal(err)
		}
		tolerance := lossTolerance
		if i == 0 {
			tolerance = firstLossTolerance
		}
		if d := math.Abs(got.Total-step.Loss) / step.Loss; !(d <= tolerance) {
			t.Errorf("iteration %d: loss %.7f, want %.7f: relative difference %.2g > %.0g", i, got.Total, step.Loss, d, tolerance)
		}
		if d := math.Abs(got.Accuracy()-step.Acc) * float64(got.Labelled); d > accuracyPixels {
			t.Errorf("iteration %d: accuracy %.6f, want %.6f: %.0f pixels apart", i, got.Accuracy(), step.Acc, d)
		}
		if i == 0 {
			compareTensors(t, "gradient", filepath.Join(dir, "gradients_0.onnx"), net, net.Gradient, gradientTolerance)
		}
		lrEncoder := Poly(ref.Config.LrEncoder, i, ref.Config.MaxIters, ref.Config.LrPow)
		lrDecoder := Poly(ref.Config.LrDecoder, i, ref.Config.MaxIters, ref.Config.LrPow)
		if math.Abs(lrEncoder-step.LrEncoder) > 1e-12 || math.Abs(lrDecoder-step.LrDecoder) > 1e-12 {
			t.Errorf("iteration %d: learning rates %g %g, want %g %g", i, lrEncoder, lrDecoder, step.LrEncoder, step.LrDecoder)
		}
		if err := opt.Step(lrEncoder, lrDecoder); err != nil {
			t.Fatal(err)
		}
	}
	compareTensors(t, "final value", filepath.Join(dir, "weights_end.onnx"), net, net.Value, weightTolerance)
}

func compareEvaluation(t *testing.T, dir string, net *graph.Network, shape map[string][]int) {
	plan, err := net.Plan(graph.Spec{Inputs: shape})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.SetInput("image", floats(t, dir, "image", 0)); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	for _, name := range plan.Outputs() {
		got, _, err := plan.Output(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := onnx.Floats(testutil.TensorProto(t, filepath.Join(dir, "eval_"+name+".pb")))
		if err != nil {
			t.Fatal(err)
		}
		if d := testutil.RelativeNorm(got, want); !(d <= evalTolerance) {
			t.Errorf("evaluation output %s: relative difference %.2g > %.0g", name, d, evalTolerance)
		}
	}
}

// compareTensors compares every initializer of a file with the network's.
func compareTensors(t *testing.T, what, path string, net *graph.Network, value func(*graph.Parameter) ([]float32, error), tolerance float64) {
	file, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for _, init := range file.GetGraph().GetInitializer() {
		p := net.Parameter(init.GetName())
		if p == nil {
			t.Errorf("%s of %s: the network has no such parameter", what, init.GetName())
			continue
		}
		want, err := onnx.Floats(init)
		if err != nil {
			t.Fatal(err)
		}
		got, err := value(p)
		if err != nil {
			t.Errorf("%s of %s: %v", what, p.Name, err)
			continue
		}
		d := testutil.RelativeNorm(got, want)
		worst = max(worst, d)
		if !(d <= tolerance) {
			t.Errorf("%s of %s: relative difference %.2g > %.0g", what, p.Name, d, tolerance)
		}
	}
	t.Logf("%s: %d tensors, largest relative difference %.2g", what, len(file.GetGraph().GetInitializer()), worst)
}

func floats(t *testing.T, dir, name string, k int) []float32 {
	v, err := onnx.Floats(testutil.TensorProto(t, filepath.Join(dir, name+"_"+string(rune('0'+k))+".pb")))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func labels(t *testing.T, dir string, k int) []int32 {
	v, err := onnx.Ints(testutil.TensorProto(t, filepath.Join(dir, "label_"+string(rune('0'+k))+".pb")))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int32, len(v))
	for i, x := range v {
		out[i] = int32(x)
	}
	return out
}
