package graph_test

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

// networkTolerance is the agreement with PyTorch on outputs: the norm of the
// difference over the norm.
const networkTolerance = 1e-4

var torchvision = []string{
	"resnet18", "resnet18_dedup", "mobilenet_v2", "shufflenet_v2_x0_5",
	"deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
}

// devices runs a test on every kernel set that is on this machine.
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

// openNetwork loads a model and returns the shape of its only data input.
func openNetwork(t *testing.T, path string, dev kernel.Device, edit func(*onnx.Model)) *graph.Network {
	t.Helper()
	m, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(m)
	}
	// Exporters merge equal parameters; training needs one each.
	if m, err = onnx.Unshare(m); err != nil {
		t.Fatal(err)
	}
	net, err := graph.NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func dataInput(t *testing.T, path string) string {
	t.Helper()
	m, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	init := map[string]bool{}
	for _, i := range m.GetGraph().GetInitializer() {
		init[i.GetName()] = true
	}
	for _, in := range m.GetGraph().GetInput() {
		if !init[in.GetName()] {
			return in.GetName()
		}
	}
	t.Fatalf("%s: no data input", path)
	return ""
}

func TestTorchvisionEvaluation(t *testing.T) {
	for _, arch := range torchvision {
		dir := testutil.SharedDir(t, "torchvision", arch)
		files, _ := filepath.Glob(filepath.Join(dir, "eval*.onnx"))
		for _, file := range files {
			t.Run(arch+"/"+filepath.Base(file), func(t *testing.T) {
				devices(t, func(t *testing.T, dev kernel.Device) {
					shape, image := testutil.NPY(t, filepath.Join(dir, "input.npy"))
					wantShape, want := testutil.NPY(t, filepath.Join(dir, "output_eval.npy"))
					net := openNetwork(t, file, dev, nil)
					input := dataInput(t, file)
					plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{input: shape}})
					if err != nil {
						t.Fatal(err)
					}
					compareOutput(t, plan, input, image, wantShape, want)
				})
			})
		}
	}
}

// compareOutput runs a plan and compares the output of the wanted shape.
func compareOutput(t *testing.T, plan *graph.Plan, input string, image []float32, wantShape []int, want []float32) {
	t.Helper()
	if err := plan.SetInput(input, image); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	got, shape, err := plan.Output(mainOutput(plan))
	if err != nil {
		t.Fatal(err)
	}
	if kernel.Len(shape) != kernel.Len(wantShape) {
		t.Fatalf("shape %v, want %v", shape, wantShape)
	}
	if d := testutil.RelativeNorm(got, want); !(d <= networkTolerance) {
		t.Errorf("relative difference %.2g > %.0g", d, networkTolerance)
	}
}

// mainOutput is the first output: exporters number values, and the main output
// of the torchvision networks is the only one, or the first ("out").
func mainOutput(p *graph.Plan) string {
	for _, name := range p.Outputs() {
		if name == "out" || name == "output" {
			return name
		}
	}
	return p.Outputs()[0]
}

// summary is PyTorch's word on one tensor.
type summary struct {
	Norm, Sum float64
	Head      []float64
}

// evaluationFile holds a network as it was before the step of the training
// reference. The exporter's own pass has already moved the running statistics
// in the training files.
const evaluationFile = "evalkeep_op13.onnx"

type trainReference struct {
	Loss    float64
	Running map[string]summary `json:"bn_momentum_after_one_step"`
	Grads   map[string]summary
}

func TestTorchvisionTraining(t *testing.T) {
	for _, arch := range torchvision {
		dir := testutil.SharedDir(t, "torchvision", arch)
		files, _ := filepath.Glob(filepath.Join(dir, "train_op*.onnx"))
		if stochastic, _ := filepath.Glob(filepath.Join(dir, "train_sd0_op*.onnx")); len(stochastic) > 0 {
			files = stochastic
		}
		dynamic, _ := filepath.Glob(filepath.Join(dir, "train_dyn_op*.onnx"))
		files = append(files, dynamic...)
		if len(files) == 0 { // a file exported for evaluation trains as well
			files = []string{filepath.Join(dir, evaluationFile)}
		}
		for _, file := range files {
			t.Run(arch+"/"+filepath.Base(file), func(t *testing.T) {
				devices(t, func(t *testing.T, dev kernel.Device) { trainOnce(t, dir, file, dev) })
			})
		}
	}
}

// kink is a pre-activation so close to ReLU's corner that rounding decides its
// sign, and with it a visible part of the gradient. Moving it by a little more
// than rounding, to the side PyTorch was on, compares the same derivative.
type kink struct {
	parameter string
	element   int
	move      float32
}

var kinks = map[string]kink{
	// One BatchNormalization output is 1.6e-6 here, -1.6e-7 in other orders of
	// summation; every other sign in the network agrees.
	"shufflenet_v2_x0_5": {"stage3.6.branch2.6.bias", 14, 5e-6},
}

func trainOnce(t *testing.T, dir, file string, dev kernel.Device) {
	var ref trainReference
	text, err := os.ReadFile(filepath.Join(dir, "train_reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &ref); err != nil {
		t.Fatal(err)
	}
	shape, image := testutil.NPY(t, filepath.Join(dir, "input.npy"))
	wantShape, want := testutil.NPY(t, filepath.Join(dir, "output_train_nodropout.npy"))
	_, weights := testutil.NPY(t, filepath.Join(dir, "loss_R.npy"))
	net := openNetwork(t, file, dev, withoutDropout)
	before := openNetwork(t, filepath.Join(dir, evaluationFile), dev, nil)
	for name := range ref.Running {
		name = strings.TrimPrefix(name, "buf:")
		p, q := net.Parameter(name), before.Parameter(name)
		if p == nil || q == nil {
			t.Fatalf("no running statistic %q", name)
		}
		v, err := before.Value(q)
		if err != nil {
			t.Fatal(err)
		}
		if err := net.SetValue(p, v); err != nil {
			t.Fatal(err)
		}
	}
	if k, ok := kinks[filepath.Base(dir)]; ok {
		p := net.Parameter(k.parameter)
		v, err := net.Value(p)
		if err != nil {
			t.Fatal(err)
		}
		v[k.element] += k.move
		if err := net.SetValue(p, v); err != nil {
			t.Fatal(err)
		}
	}
	input := dataInput(t, file)
	probe, err := net.Plan(graph.Spec{Inputs: map[string][]int{input: shape}})
	if err != nil {
		t.Fatal(err)
	}
	output := mainOutput(probe)
	plan, err := net.Plan(graph.Spec{
		Inputs: map[string][]int{input: shape}, Mode: graph.Train,
		Cotangents: []string{output}, InputGradients: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	cotangent := make([]float32, len(weights))
	for i, r := range weights {
		cotangent[i] = float32(float64(r) / float64(len(weights)))
	}
	if err := plan.SetInput(graph.CotangentInput(output), cotangent); err != nil {
		t.Fatal(err)
	}
	compareOutput(t, plan, input, image, wantShape, want)

	// A bias in front of a BatchNormalization has gradient zero but for the
	// rounding of sums over terms as large as the other gradients'.
	const rounding = 1e-6
	largest := 0.0
	for _, s := range ref.Grads {
		largest = max(largest, s.Norm)
	}
	compared := 0
	for name, s := range ref.Grads {
		var got []float32
		switch p := net.Parameter(name); {
		case name == "input":
			got, _, err = plan.Output(graph.InputGradient(input))
		case p == nil:
			t.Errorf("no parameter %q", name)
			continue
		default:
			got, err = net.Gradient(p)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compareSummary(t, "gradient of "+name, got, s, rounding*largest)
		compared++
	}
	if compared < len(ref.Grads)/2 || compared == 0 {
		t.Errorf("only %d of %d gradients compared", compared, len(ref.Grads))
	}
	for name, s := range ref.Running {
		got, err := net.Value(net.Parameter(strings.TrimPrefix(name, "buf:")))
		if err != nil {
			t.Fatal(err)
		}
		compareSummary(t, name, got, s, 0)
	}
}

// compareSummary holds a tensor against its norm and first values. The
// tolerance is relative to the norm; floor is what rounding alone may leave of
// a value that is zero in exact arithmetic.
func compareSummary(t *testing.T, what string, got []float32, want summary, floor float64) {
	t.Helper()
	const relative = 1e-3
	tolerance := relative*want.Norm + floor
	norm := 0.0
	for _, v := range got {
		norm += float64(v) * float64(v)
	}
	norm = math.Sqrt(norm)
	if !(math.Abs(norm-want.Norm) <= tolerance) {
		t.Errorf("%s: norm %.7g, want %.7g within %.2g", what, norm, want.Norm, tolerance)
	}
	for i, h := range want.Head {
		if i < len(got) && !(math.Abs(float64(got[i])-h) <= tolerance) {
			t.Errorf("%s: element %d is %.7g, want %.7g within %.2g", what, i, got[i], h, tolerance)
		}
	}
}

// withoutDropout sets the ratio of every Dropout to zero, as the reference was
// made.
func withoutDropout(m *onnx.Model) {
	ratios := map[string]bool{}
	for _, n := range m.GetGraph().GetNode() {
		if n.GetOpType() == "Dropout" && len(n.GetInput()) > 1 {
			ratios[n.GetInput()[1]] = true
		}
	}
	for _, n := range m.GetGraph().GetNode() {
		if n.GetOpType() == "Constant" && ratios[n.GetOutput()[0]] {
			onnx.SetFloats(n.GetAttribute()[0].GetT(), []float32{0})
		}
	}
	for _, init := range m.GetGraph().GetInitializer() {
		if ratios[init.GetName()] {
			onnx.SetFloats(init, []float32{0})
		}
	}
}
