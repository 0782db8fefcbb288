package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
)

// hyper are the settings of a trace.
type hyper struct {
	LrEncoder    float64 `json:"lr_encoder"`
	LrDecoder    float64 `json:"lr_decoder"`
	LrPow        float64 `json:"lr_pow"`
	Momentum     float64
	WeightDecay  float64 `json:"weight_decay"`
	DeepSupScale float64 `json:"deep_sup_scale"`
	MaxIters     int     `json:"max_iters"`
}

// trace is a training run of PyTorch, see the README of the reference folder.
type trace struct {
	Batch, Height, Width int
	Config               hyper
	Trace                []struct {
		LrEncoder float64 `json:"lr_encoder"`
		LrDecoder float64 `json:"lr_decoder"`
		Loss, Acc float64
	}
}

// variant is the same run with different rounding.
type variant struct {
	Name               string
	Losses, Accuracies []float64
	GradientToStored   float64 `json:"gradient_to_stored"`
}

// record is what bench/trace.py wrote about a trace: how far PyTorch lies from
// itself, and what it takes to compare beyond that.
type record struct {
	Vanishing []string // parameters whose gradient is zero but for rounding
	Variants  []variant
	Spread    map[string]float64 // of the gradients of iteration 0, see compareGradients
	Corners   map[string]corner
	Calm      struct {
		Config   hyper
		Variants []variant
		// Updates holds, by tensor: the norm of the total update, its
		// alternating sum over the square root of its length, and how far
		// variants lie from it (norm of the difference over norm).
		Updates map[string][3]float64
	}
}

// reference is one folder of the reference traces.
type reference struct {
	dir string
	trace
	record
}

// Agreement with PyTorch, as the reference folder states it.
const (
	evalTolerance      = 1e-5 // outputs, norm of the difference over norm
	firstLossTolerance = 1e-5 // relative
	gradientTolerance  = 1e-3 // norm of the difference over norm, each tensor
	lossTolerance      = 1e-3 // relative, every later loss
	accuracyPixels     = 4
)

// Where PyTorch's own variants, which differ in nothing but rounding, lie
// further apart than the tolerance, the largest distance between them times a
// factor takes its place: what another order of summation may make. The stored
// losses soon depend on rounding altogether, and six variants show only part of
// where that leads; see TestCalmTraces for the sharp comparison.
const (
	spreadFactor = 2
	chaosFactor  = 3
)

// vanishingTolerance bounds gradients that are zero in exact arithmetic, in
// the norm of all gradients.
const vanishingTolerance = 1e-7

// traceThreads is of a device that is compared with recorded numbers. The order of
// sums depends on it, and now and then puts a value on the other side of a ReLU's
// corner, which some iterations later is more than rounding: docs/parity.md.
const traceThreads = 2

// devices opens the kernel sets that are on this machine.
func devices(t *testing.T, run func(t *testing.T, dev kernel.Device)) {
	for _, name := range []string{"native", "onednn"} {
		t.Run(name, func(t *testing.T) {
			dev, err := device.OpenThreads(name, traceThreads)
			if err != nil {
				t.Skipf("skipped: %v", err)
			}
			t.Cleanup(func() { dev.Close() })
			run(t, dev)
		})
	}
}

// references runs a test on every trace and kernel set.
func references(t *testing.T, run func(t *testing.T, ref *reference, dev kernel.Device)) {
	for _, name := range []string{"mbv2-c1ds", "r18d-ppmds", "r50-uper", "rx101-uperlite"} {
		t.Run(name, func(t *testing.T) {
			ref := &reference{dir: testutil.SharedDir(t, "reference", name)}
			readJSON(t, filepath.Join(ref.dir, "trace.json"), &ref.trace)
			readJSON(t, filepath.Join("testdata", "traces", name+".json"), &ref.record)
			devices(t, func(t *testing.T, dev kernel.Device) { run(t, ref, dev) })
		})
	}
}

func TestReferenceEvaluation(t *testing.T) {
	references(t, func(t *testing.T, ref *reference, dev kernel.Device) {
		model := ref.model(t)
		net, err := graph.NewNetwork(model, dev)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := net.Plan(graph.Spec{Inputs: ref.inputs()})
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.SetInput("image", floats(t, ref.dir, "image", 0)); err != nil {
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
			want, err := onnx.Floats(testutil.TensorProto(t, filepath.Join(ref.dir, "eval_"+name+".pb")))
			if err != nil {
				t.Fatal(err)
			}
			if d := testutil.RelativeNorm(got, want); !(d <= evalTolerance) {
				t.Errorf("evaluation output %s: relative difference %.2g > %.0g", name, d, evalTolerance)
			}
		}
	})
}

// TestReferenceTraces trains as the stored traces were and compares every
// iteration.
func TestReferenceTraces(t *testing.T) {
	references(t, func(t *testing.T, ref *reference, dev kernel.Device) {
		s := ref.start(t, ref.model(t), dev, ref.Config)
		stored := variant{Name: "stored"}
		for _, step := range ref.Trace {
			stored.Losses = append(stored.Losses, step.Loss)
			stored.Accuracies = append(stored.Accuracies, step.Acc)
		}
		lossSpread := spread(ref.record.Variants, func(v variant, i int) float64 {
			return math.Abs(v.Losses[i]-stored.Losses[i]) / stored.Losses[i]
		})
		accuracySpread := spread(ref.record.Variants, func(v variant, i int) float64 {
			return math.Abs(v.Accuracies[i] - stored.Accuracies[i])
		})
		used := 0.0
		for i, want := range ref.Trace {
			got := s.run(i)
			tolerance := firstLossTolerance
			if i > 0 {
				tolerance = max(lossTolerance, chaosFactor*lossSpread[i])
			}
			d := math.Abs(got.Total-want.Loss) / want.Loss
			used = max(used, d/tolerance)
			if !(d <= tolerance) {
				t.Errorf("iteration %d: loss %.7f, want %.7f: relative difference %.2g > %.2g", i, got.Total, want.Loss, d, tolerance)
			}
			pixels := max(accuracyPixels, chaosFactor*accuracySpread[i]*float64(got.Labelled))
			if d := math.Abs(got.Accuracy()-want.Acc) * float64(got.Labelled); !(d <= pixels) {
				t.Errorf("iteration %d: accuracy %.6f, want %.6f: %.0f > %.0f pixels apart", i, got.Accuracy(), want.Acc, d, pixels)
			}
			if i == 0 {
				want, got := ref.gradients(t), s.gradients()
				d := relativeDistance(got, want)
				limit := gradientTolerance
				for _, v := range ref.record.Variants {
					limit = max(limit, spreadFactor*v.GradientToStored)
				}
				if !(d <= limit) {
					t.Errorf("gradients, taken together: relative difference %.2g > %.2g", d, limit)
				}
			}
			lrEncoder, lrDecoder := s.step(i)
			if math.Abs(lrEncoder-want.LrEncoder) > 1e-12 || math.Abs(lrDecoder-want.LrDecoder) > 1e-12 {
				t.Errorf("iteration %d: learning rates %g %g, want %g %g", i, lrEncoder, lrDecoder, want.LrEncoder, want.LrDecoder)
			}
		}
		t.Logf("losses: at most %.0f %% of the tolerance", 100*used)
	})
}

// spread returns, for every iteration, the largest distance of any variant up
// to and including it.
func spread(variants []variant, distance func(v variant, i int) float64) []float64 {
	out := make([]float64, len(variants[0].Losses))
	largest := 0.0
	for i := range out {
		for _, v := range variants {
			largest = max(largest, distance(v, i))
		}
		out[i] = largest
	}
	return out
}

// session is a network in training on given batches.
type session struct {
	t      *testing.T
	config hyper
	batch  func(iteration int) (image []float32, labels []int32)
	loss   *graph.Loss
	net    *graph.Network
	plan   *graph.Plan
	opt    *Optimizer
}

// start prepares training on the trace's batches. inputs are further inputs of
// the model.
func (r *reference) start(t *testing.T, model *onnx.Model, dev kernel.Device, config hyper, inputs ...input) *session {
	t.Helper()
	s := startSession(t, model, dev, config, r.inputs(), inputs...)
	s.batch = func(iteration int) ([]float32, []int32) {
		const batches = 3
		return floats(t, r.dir, "image", iteration%batches), labels(t, r.dir, iteration%batches)
	}
	return s
}

// startSession prepares training on batches that the caller sets.
func startSession(t *testing.T, model *onnx.Model, dev kernel.Device, config hyper, shapes map[string][]int, inputs ...input) *session {
	t.Helper()
	s := &session{t: t, config: config, loss: &graph.Loss{Ignore: -1}}
	for _, o := range model.GetGraph().GetOutput() {
		switch o.GetName() {
		case "logprob":
			s.loss.Outputs = append(s.loss.Outputs, graph.LossOutput{Name: o.GetName(), Weight: 1})
		case "logprob_deepsup":
			s.loss.Outputs = append(s.loss.Outputs, graph.LossOutput{Name: o.GetName(), Weight: float32(config.DeepSupScale)})
		}
	}
	var err error
	if s.net, err = graph.NewNetwork(model, dev); err != nil {
		t.Fatal(err)
	}
	for _, in := range inputs {
		shapes[in.name] = in.shape
	}
	if s.plan, err = s.net.Plan(graph.Spec{Inputs: shapes, Mode: graph.Train, Loss: s.loss}); err != nil {
		t.Fatal(err)
	}
	for _, in := range inputs {
		if err := s.plan.SetInput(in.name, in.data); err != nil {
			t.Fatal(err)
		}
	}
	if s.opt, err = NewOptimizer(s.net, SGD{Momentum: config.Momentum, Decay: config.WeightDecay}); err != nil {
		t.Fatal(err)
	}
	return s
}

// run computes loss and gradients of an iteration.
func (s *session) run(iteration int) graph.LossValue {
	s.t.Helper()
	image, labels := s.batch(iteration)
	if err := s.plan.SetInput("image", image); err != nil {
		s.t.Fatal(err)
	}
	for _, o := range s.loss.Outputs {
		if err := s.plan.SetLabels(o.Name, labels); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.plan.RunAll(); err != nil {
		s.t.Fatal(err)
	}
	loss, err := s.plan.Loss()
	if err != nil {
		s.t.Fatal(err)
	}
	return loss
}

// step updates the parameters and returns the two learning rates.
func (s *session) step(iteration int) (encoder, decoder float64) {
	s.t.Helper()
	encoder = Poly(s.config.LrEncoder, iteration, s.config.MaxIters, s.config.LrPow)
	decoder = Poly(s.config.LrDecoder, iteration, s.config.MaxIters, s.config.LrPow)
	if err := s.opt.Step(iteration, encoder, decoder); err != nil {
		s.t.Fatal(err)
	}
	return encoder, decoder
}

// gradients downloads the gradient of every trained parameter.
func (s *session) gradients() tensors {
	s.t.Helper()
	out := tensors{}
	for _, p := range s.net.Parameters() {
		if p.Trainable {
			g, err := s.net.Gradient(p)
			if err != nil {
				s.t.Fatal(err)
			}
			out[p.Name] = g
		}
	}
	return out
}

// values downloads every parameter and running statistic.
func (s *session) values() tensors {
	s.t.Helper()
	out := tensors{}
	for _, p := range s.net.Parameters() {
		v, err := s.net.Value(p)
		if err != nil {
			s.t.Fatal(err)
		}
		out[p.Name] = v
	}
	return out
}

// tensors are values by the name of their parameter.
type tensors map[string][]float32

// norm is that of all tensors as one vector.
func (v tensors) norm() float64 {
	sum := 0.0
	for _, t := range v {
		sum += math.Pow(norm(t), 2)
	}
	return math.Sqrt(sum)
}

// minus returns the element-wise difference of the tensors in v.
func (v tensors) minus(w tensors) tensors {
	out := tensors{}
	for name, a := range v {
		b := w[name]
		d := make([]float32, len(a))
		for i := range a {
			d[i] = float32(float64(a[i]) - float64(b[i]))
		}
		out[name] = d
	}
	return out
}

func norm(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

func relativeDistance(got, want tensors) float64 { return want.minus(got).norm() / want.norm() }

func (r *reference) model(t *testing.T) *onnx.Model {
	t.Helper()
	m, err := onnx.Load(filepath.Join(r.dir, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (r *reference) inputs() map[string][]int {
	return map[string][]int{"image": {r.Batch, 3, r.Height, r.Width}}
}

// gradients reads PyTorch's gradients of iteration 0.
func (r *reference) gradients(t *testing.T) tensors {
	return readTensors(t, filepath.Join(r.dir, "gradients_0.onnx"), "")
}

// readTensors reads the initializers of a file whose names start with prefix,
// and cuts it off.
func readTensors(t *testing.T, path, prefix string) tensors {
	t.Helper()
	file, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	out := tensors{}
	for _, init := range file.GetGraph().GetInitializer() {
		if name, ok := strings.CutPrefix(init.GetName(), prefix); ok {
			if out[name], err = onnx.Floats(init); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func floats(t *testing.T, dir, name string, k int) []float32 {
	t.Helper()
	v, err := onnx.Floats(testutil.TensorProto(t, filepath.Join(dir, name+"_"+string(rune('0'+k))+".pb")))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func labels(t *testing.T, dir string, k int) []int32 {
	t.Helper()
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
