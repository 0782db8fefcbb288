package export_test

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

var traces = []string{"mbv2-c1ds", "r18d-ppmds", "r50-uper", "rx101-uperlite"}

// TestReferenceSoftmax exports the networks of the reference project and
// compares what ONNX Runtime computes from the file with the log-probabilities
// that PyTorch recorded. Softmax of upsampled scores equals softmax of upsampled
// log-probabilities: they differ by the same number in every class of a pixel.
func TestReferenceSoftmax(t *testing.T) {
	for _, name := range traces {
		t.Run(name, func(t *testing.T) {
			m, err := export.Inference(load(t, "reference", name, "model.onnx"), export.DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			image := tensorFile(t, "reference", name, "image_0.pb")
			got := runModel(t, m, image, "probability")
			logprob := tensorFile(t, "reference", name, "eval_logprob.pb")
			// These untrained networks reach log-probabilities of -261, whose
			// last bit is worth 3e-5: two float32 roundings of the largest.
			tolerance := 1e-5
			for _, v := range logprob.Data.([]float32) {
				tolerance = max(tolerance, 2*math.Abs(float64(v))*0x1p-23)
			}
			want := softmaxAt(logprob, image.Shape[2], image.Shape[3])
			if diff, _ := difference(t, got.Data.([]float32), want); diff > tolerance {
				t.Errorf("probabilities differ by %.2e, more than %.1e", diff, tolerance)
			}
		})
	}
}

// TestFoldingIsExact compares scores with and without folding in ONNX Runtime,
// which runs both graphs as they stand.
func TestFoldingIsExact(t *testing.T) {
	tests := []struct {
		path   []string
		sizes  [][2]int
		folded int // of the file's BatchNormalizations
	}{
		{[]string{"reference", "mbv2-c1ds", "model.onnx"}, [][2]int{{96, 96}, {97, 131}}, 52},
		{[]string{"reference", "r18d-ppmds", "model.onnx"}, [][2]int{{96, 96}}, 28},
		{[]string{"torchvision", "deeplabv3_mobilenet_v3_large", "train_dyn_op13.onnx"}, [][2]int{{96, 96}, {97, 131}}, 53},
		{[]string{"torchvision", "lraspp_mobilenet_v3_large", "train_op16.onnx"}, [][2]int{{96, 96}}, 47},
	}
	for _, tt := range tests {
		m := load(t, tt.path...)
		t.Run(tt.path[1], func(t *testing.T) {
			opts := export.DefaultOptions()
			opts.Head, opts.Upsample = export.Logits, false
			folded, err := export.Inference(m, opts)
			if err != nil {
				t.Fatal(err)
			}
			opts.FoldBN = false
			plain, err := export.Inference(m, opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := count(plain, "BatchNormalization") - count(folded, "BatchNormalization"); got != tt.folded {
				t.Errorf("%d folded, want %d of %d", got, tt.folded, count(plain, "BatchNormalization"))
			}
			for _, size := range tt.sizes {
				image := noise(7, 2, 3, size[0], size[1])
				want := runModel(t, plain, image)
				got := runModel(t, folded, image)
				diff, largest := difference(t, got.Data.([]float32), float64s(want.Data.([]float32)))
				if diff > 1e-5*largest {
					t.Errorf("%v: scores differ by %.2e of the largest, %.2f; more than 1e-5", size, diff/largest, largest)
				}
			}
		})
	}
}

// TestTorchvisionTrainingFile exports files that were written in training mode
// (batch statistics, dropout) and expects PyTorch's evaluation. Their running
// statistics moved while they were written; those of the evaluation file, which
// PyTorch's output belongs to, take their place.
func TestTorchvisionTrainingFile(t *testing.T) {
	for _, name := range []string{"deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"} {
		for _, file := range []string{"train_op13.onnx", "train_op16.onnx", "train_dyn_op13.onnx"} {
			t.Run(name+"/"+file, func(t *testing.T) {
				opts := export.DefaultOptions()
				opts.Head = export.Logits
				training, evaluation := load(t, "torchvision", name, file), load(t, "torchvision", name, "evalkeep_op13.onnx")
				for i, init := range training.GetGraph().GetInitializer() {
					if kept := evaluation.Initializer(init.GetName()); kept != nil {
						training.Graph.Initializer[i] = kept
					}
				}
				m, err := export.Inference(training, opts)
				if err != nil {
					t.Fatal(err)
				}
				got := runModel(t, m, tensorFile(t, "torchvision", name, "test_data_set_0", "input_0.pb"))
				want := tensorFile(t, "torchvision", name, "test_data_set_0", "output_0.pb")
				diff, largest := difference(t, got.Data.([]float32), float64s(want.Data.([]float32)))
				if diff > 5e-5*largest {
					t.Errorf("scores differ by %.2e of the largest; more than 5e-5", diff/largest)
				}
				if n := count(m, "Dropout"); n > 0 {
					t.Errorf("%d Dropout nodes are left", n)
				}
			})
		}
	}
}

func TestTrainingIsStripped(t *testing.T) {
	m := load(t, "reference", "mbv2-c1ds", "model.onnx")
	m.TrainingInfo = []*pb.TrainingInfoProto{{Initialization: &pb.GraphProto{Name: "state"}}}
	m.SetMetadata("graft.history", "long")
	m.SetMetadata("author", "someone")
	road := models.Classes{{Name: "road", Label: 4, Colour: color.RGBA{R: 0x80, G: 0x40, B: 0x80, A: 0xFF}}}
	if err := models.SetClasses(m, road); err != nil {
		t.Fatal(err)
	}
	before := marshal(t, m)
	out, err := export.Inference(m, export.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, marshal(t, m)) {
		t.Error("the training model was changed")
	}
	if len(out.GetTrainingInfo()) > 0 {
		t.Error("training_info is left")
	}
	if _, ok := out.Metadata("graft.history"); ok {
		t.Error("graft.history is left")
	}
	if v, _ := out.Metadata("author"); v != "someone" {
		t.Error("another tool's metadata is gone")
	}
	if classes, err := models.ClassesOf(out); err != nil || !slices.Equal(classes, road) {
		t.Errorf("classes are %v, %v", classes, err)
	}
	for _, init := range out.GetGraph().GetInitializer() {
		if strings.Contains(init.GetName(), "deepsup") || strings.Contains(init.GetName(), "running_") {
			t.Errorf("initializer %q is left", init.GetName())
		}
	}
	if n := count(out, "BatchNormalization"); n != 0 {
		t.Errorf("%d BatchNormalizations are left", n)
	}
	if out.GetIrVersion() != m.GetIrVersion() || out.Opset("") != m.Opset("") {
		t.Errorf("IR %d and operator set %d became %d and %d", m.GetIrVersion(), m.Opset(""), out.GetIrVersion(), out.Opset(""))
	}
	d, ok, err := export.ReadDeployment(out)
	if err != nil || !ok || d.Source != "logprob" || d.Head != export.Softmax || !d.Upsample || d.FoldedBN != 52 {
		t.Errorf("recorded deployment is %+v, %v, %v", d, ok, err)
	}
}

// TestHeads checks every head against the scores of the same network.
func TestHeads(t *testing.T) {
	m := load(t, "reference", "mbv2-c1ds", "model.onnx")
	image := noise(3, 2, 3, 97, 131)
	run := func(change func(*export.Options)) (ort.Tensor, *onnx.Model) {
		t.Helper()
		opts := export.DefaultOptions()
		change(&opts)
		out, err := export.Inference(m, opts)
		if err != nil {
			t.Fatal(err)
		}
		return runModel(t, out, image), out
	}
	small, _ := run(func(o *export.Options) { o.Head, o.Upsample = export.Logits, false })
	if want := []int{2, 5, 13, 17}; !slices.Equal(small.Shape, want) {
		t.Fatalf("scores have shape %v, want %v", small.Shape, want)
	}
	want := softmaxAt(small, 97, 131)

	probability, out := run(func(o *export.Options) {})
	if got := symbols(out.GetGraph().GetOutput()[0]); got != "N 5 H W" {
		t.Errorf("output is declared %s", got)
	}
	if diff, _ := difference(t, probability.Data.([]float32), want); diff > 1e-5 {
		t.Errorf("softmax differs by %.2e", diff)
	}
	logs, _ := run(func(o *export.Options) { o.Head = export.LogProb })
	exp := make([]float32, len(want))
	for i, v := range logs.Data.([]float32) {
		exp[i] = float32(math.Exp(float64(v)))
	}
	if diff, _ := difference(t, exp, want); diff > 1e-5 {
		t.Errorf("exp of logprob differs by %.2e", diff)
	}
	for _, labels := range []export.LabelType{export.LabelAuto, export.LabelUint8, export.LabelInt64} {
		got, out := run(func(o *export.Options) { o.Head, o.Labels = export.ArgMax, labels })
		if got := symbols(out.GetGraph().GetOutput()[0]); got != "N H W" {
			t.Errorf("labels are declared %s", got)
		}
		if wantShape := []int{2, 97, 131}; !slices.Equal(got.Shape, wantShape) {
			t.Fatalf("labels have shape %v, want %v", got.Shape, wantShape)
		}
		label := func(i int) int { return int(got.Data.([]uint8)[i]) }
		if labels == export.LabelInt64 {
			label = func(i int) int { return int(got.Data.([]int64)[i]) }
		}
		checkLabels(t, label, want, 2, 5, 97*131)
	}
}

// checkLabels expects the class of the largest probability (N,C,P) at every
// pixel, unless another is as large to 1e-5.
func checkLabels(t *testing.T, label func(int) int, probability []float64, n, classes, pixels int) {
	t.Helper()
	for b := range n {
		for p := range pixels {
			best := 0.0
			for k := range classes {
				best = max(best, probability[(b*classes+k)*pixels+p])
			}
			if got := label(b*pixels + p); got < 0 || got >= classes || best-probability[(b*classes+got)*pixels+p] > 1e-5 {
				t.Fatalf("picture %d pixel %d: label %d is not the likeliest class", b, p, got)
			}
		}
	}
}

func symbols(v *pb.ValueInfoProto) string {
	var out []string
	for _, d := range v.GetType().GetTensorType().GetShape().GetDim() {
		if s := d.GetDimParam(); s != "" {
			out = append(out, s)
		} else {
			out = append(out, fmt.Sprint(d.GetDimValue()))
		}
	}
	return strings.Join(out, " ")
}

// TestPreprocess feeds the same picture as pixels and as normalised floats.
func TestPreprocess(t *testing.T) {
	m := load(t, "reference", "mbv2-c1ds", "model.onnx")
	mean, std := []float32{0.4, 0.5, 0.6}, []float32{0.2, 0.25, 0.3}
	const n, h, w = 2, 33, 40
	planar, packed, floats := make([]uint8, n*3*h*w), make([]uint8, n*3*h*w), make([]float32, n*3*h*w)
	for i := range planar {
		planar[i] = uint8(i * 2654435761 >> 13)
		b, c, p := i/(3*h*w), i/(h*w)%3, i%(h*w)
		packed[(b*h*w+p)*3+c] = planar[i]
		floats[i] = (float32(planar[i])/255 - mean[c]) / std[c]
	}
	opts := export.DefaultOptions()
	opts.Mean, opts.Std = mean, std
	run := func(layout export.Layout, in ort.Tensor, name string) []float32 {
		opts.Preprocess = layout
		out, err := export.Inference(m, opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.GetGraph().GetInput()[0].GetName(); got != name {
			t.Errorf("input is called %q, want %q", got, name)
		}
		gotMean, gotStd, err := onnx.Normalisation(out)
		if err != nil || !slices.Equal(gotMean, mean) || !slices.Equal(gotStd, std) {
			t.Errorf("recorded normalisation is %v %v, %v", gotMean, gotStd, err)
		}
		return runModel(t, out, in).Data.([]float32)
	}
	want := float64s(run(export.Normalised, ort.New(floats, n, 3, h, w), "image"))
	for _, tt := range []struct {
		layout export.Layout
		in     ort.Tensor
	}{
		{export.PixelsNCHW, ort.New(planar, n, 3, h, w)},
		{export.PixelsNHWC, ort.New(packed, n, h, w, 3)},
	} {
		if diff, _ := difference(t, run(tt.layout, tt.in, "pixels"), want); diff > 1e-5 {
			t.Errorf("%s: probabilities differ by %.2e", tt.layout, diff)
		}
	}
}

// TestSizeBuiltIn exports traces of one size: those whose graph works at any
// size become symbolic, those with fixed targets in their resizing do not.
func TestSizeBuiltIn(t *testing.T) {
	for name, want := range map[string]string{"mbv2-c1ds": "N 3 H W", "r18d-ppmds": "2 3 96 96", "r50-uper": "2 3 192 192"} {
		out, err := export.Inference(load(t, "reference", name, "model.onnx"), export.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		if got := symbols(out.GetGraph().GetInput()[0]); got != want {
			t.Errorf("%s: input is %s, want %s", name, got, want)
		}
	}
}

// TestOldOperatorSet exports from operator set 11, in which LogSoftmax over
// axis 1 takes all of a picture together.
func TestOldOperatorSet(t *testing.T) {
	b := onnx.NewBuilder("g", 11)
	x := b.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	w := b.Initializer(onnx.NewFloats("w", []int{4, 3, 1, 1}, []float32{1, 2, 3, -1, 0, 1, 2, -2, 1, 0, 0, 1}))
	y := b.Op("Relu", "y", []string{b.Op("Conv", "c", []string{x, w})})
	b.Output(y, pb.TensorProto_FLOAT, "N", 4, "H", "W")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	out, err := export.Inference(m, export.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	image := noise(4, 2, 3, 5, 6)
	want := softmaxAt(runModel(t, m, image), 5, 6)
	if diff, _ := difference(t, runModel(t, out, image).Data.([]float32), want); diff > 1e-6 {
		t.Errorf("probabilities differ by %.2e", diff)
	}
}

func TestInferenceRefuses(t *testing.T) {
	valid := func() *onnx.Model {
		b := onnx.NewBuilder("g", 15)
		x := b.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
		w := b.Initializer(onnx.NewFloats("w", []int{4, 3, 1, 1}, make([]float32, 12)))
		b.Op("LogSoftmax", "logprob", []string{b.Op("Conv", "y", []string{x, w})}, onnx.IntAttr("axis", 1))
		b.Output("logprob", pb.TensorProto_FLOAT, "N", 4, "H", "W")
		m, err := b.Model()
		if err != nil {
			t.Fatal(err)
		}
		m.Path = "net.onnx"
		return m
	}
	tests := []struct {
		name   string
		change func(*onnx.Model, *export.Options)
		want   string
	}{
		{"head", func(m *onnx.Model, o *export.Options) { o.Head = "sigmoid" }, "head"},
		{"layout", func(m *onnx.Model, o *export.Options) { o.Preprocess = "chwn" }, "layout"},
		{"labels", func(m *onnx.Model, o *export.Options) { o.Labels = "int4" }, "label type"},
		{"mean", func(m *onnx.Model, o *export.Options) { o.Mean = []float32{1} }, "mean has 1 values"},
		{"std", func(m *onnx.Model, o *export.Options) { o.Std = []float32{1, 0, 1} }, "std holds 0"},
		{"shape", func(m *onnx.Model, o *export.Options) { o.Shape = []int{1, 0, 3} }, "shape [1 0 3]"},
		{"nan", func(m *onnx.Model, o *export.Options) { o.Std = []float32{1, float32(math.NaN()), 1} }, "std holds NaN"},
		{"output", func(m *onnx.Model, o *export.Options) { o.Output = "nothing" }, `no output "nothing"`},
		{"axis", func(m *onnx.Model, o *export.Options) {
			onnx.SetAttr(m.GetGraph().GetNode()[1], onnx.IntAttr("axis", 2))
		}, "axis 2"},
		{"rank", func(m *onnx.Model, o *export.Options) {
			s := m.GetGraph().GetOutput()[0].GetType().GetTensorType().GetShape()
			s.Dim = s.Dim[:2]
		}, "2 dimensions"},
		{"picture", func(m *onnx.Model, o *export.Options) {
			m.GetGraph().GetInput()[0].GetType().GetTensorType().ElemType = int32(pb.TensorProto_DOUBLE)
		}, "not a float32 picture"},
		{"metadata", func(m *onnx.Model, o *export.Options) { m.SetMetadata(onnx.ClassesKey, "{") }, onnx.ClassesKey},
		{"normalisation", func(m *onnx.Model, o *export.Options) { m.SetMetadata(onnx.StdKey, "[1]") }, "1 values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, opts := valid(), export.DefaultOptions()
			tt.change(m, &opts)
			_, err := export.Inference(m, opts)
			var e *onnx.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) || e.File != "net.onnx" {
				t.Errorf("error %v does not tell %q and the file", err, tt.want)
			}
		})
	}
	if _, err := export.Inference(nil, export.DefaultOptions()); err == nil {
		t.Error("no model was exported")
	}
	if _, err := export.Inference(valid(), export.DefaultOptions()); err != nil {
		t.Errorf("the unchanged model: %v", err)
	}
}

// A shape that no target can hold is refused by the value that is too large.
func TestShapesBeyondEveryTargetAreRefused(t *testing.T) {
	m, err := models.New(models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1", Classes: 4, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		shape []int
		value string // "" where the shape is fine
	}{
		{[]int{1, 48, 64}, ""},
		{[]int{1, 1_000_000, 1_000_000}, `"image"`},
		{[]int{math.MaxInt, math.MaxInt, math.MaxInt}, `"image"`},
		{[]int{1, 26_000, 26_000}, "value"}, // the picture fits, the probabilities do not
	} {
		opts := export.DefaultOptions()
		opts.Shape = c.shape
		_, err := export.Inference(m, opts)
		if c.value == "" {
			if err != nil {
				t.Errorf("%v: %v", c.shape, err)
			}
			continue
		}
		if !errors.Is(err, onnx.ErrTooLarge) || !strings.Contains(err.Error(), c.value) || !strings.Contains(err.Error(), "2147483647") {
			t.Errorf("%v: %v", c.shape, err)
		}
	}
}
