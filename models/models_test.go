package models_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// small returns a narrow spec of every encoder with every decoder.
func small() []models.Spec {
	var specs []models.Spec
	for _, e := range models.Encoders() {
		for _, d := range models.Decoders() {
			specs = append(specs, models.Spec{Encoder: e, Decoder: d, Classes: 7, Seed: 1, Width: 16})
		}
	}
	return specs
}

// covering returns every encoder once, every decoder behind one that is
// dilated and one that is not, and HRNetV2's own taps in every use: for what is
// too slow to do with all pairs.
func covering() []models.Spec {
	var specs []models.Spec
	for i, spec := range small() {
		n := len(models.Decoders())
		turn := i%n == i/n%n
		if turn || spec.Encoder == "resnet18" || spec.Encoder == "mobilenetv2dilated" ||
			spec.Encoder == "hrnetv2" && (spec.Decoder == "c1_deepsup" || spec.Decoder == "upernet") {
			specs = append(specs, spec)
		}
	}
	return specs
}

func TestEveryCombinationIsValid(t *testing.T) {
	for _, spec := range small() {
		m := build(t, spec)
		if err := onnx.Check(m); err != nil {
			t.Errorf("%s with %s: %v", spec.Encoder, spec.Decoder, err)
		}
		if m.GetIrVersion() != 8 || m.Opset("") != 15 {
			t.Errorf("%s with %s: IR version %d, opset %d; want 8 and 15", spec.Encoder, spec.Decoder, m.GetIrVersion(), m.Opset(""))
		}
		for _, p := range m.Graph.Initializer {
			if name := p.GetName(); !strings.HasPrefix(name, "encoder.") && !strings.HasPrefix(name, "decoder.") {
				t.Errorf("%s with %s: parameter %q is neither encoder's nor decoder's", spec.Encoder, spec.Decoder, name)
			}
		}
		read := map[string]bool{models.OutputName: true, models.DeepSupOutputName: true}
		for _, n := range m.Graph.Node {
			for _, name := range n.GetInput() {
				read[name] = true
			}
		}
		for _, n := range m.Graph.Node {
			if !read[n.GetOutput()[0]] {
				t.Errorf("%s with %s: nothing reads %s", spec.Encoder, spec.Decoder, n.GetOutput()[0])
			}
		}
	}
}

// Statistics move as the reference's do: a thousandth a step, in HRNetV2's
// encoder a tenth.
func TestMomentum(t *testing.T) {
	for _, spec := range covering() {
		for _, n := range build(t, spec).Graph.Node {
			if n.GetOpType() != "BatchNormalization" {
				continue
			}
			want := float32(0.999)
			if spec.Encoder == "hrnetv2" && strings.HasPrefix(n.GetInput()[1], "encoder.") {
				want = 0.9
			}
			if got := onnx.AttrFloat(n, "momentum", 0); got != want {
				t.Errorf("%s with %s: %s has momentum %g, want %g", spec.Encoder, spec.Decoder, n.GetName(), got, want)
			}
		}
	}
}

// halvings says how often an encoder halves the picture's sides, each time
// rounding up, up to its second last and its last tap.
func halvings(encoder string) (before, last int) {
	switch {
	case encoder == "hrnetv2":
		return 2, 2
	case strings.HasSuffix(encoder, "dilated"):
		return 3, 3
	}
	return 4, 5
}

// outputSize is the size of a network's output logprob; UPerNet's is that of
// the first tap.
func outputSize(spec models.Spec, h, w int) (int, int) {
	_, n := halvings(spec.Encoder)
	if strings.HasPrefix(spec.Decoder, "upernet") {
		n = 2
	}
	return halve(h, n), halve(w, n)
}

func halve(x, times int) int {
	for range times {
		x = (x + 1) / 2
	}
	return x
}

// One file runs at any size, and gives log-probabilities at the size of the
// feature map that the decoder works on.
func TestAnyInputSize(t *testing.T) {
	covered := map[models.Spec]bool{}
	for _, spec := range covering() {
		covered[spec] = true
	}
	for _, spec := range small() {
		sizes := [][3]int{{1, 35, 53}}
		if covered[spec] {
			sizes = [][3]int{{1, 97, 131}, {3, 64, 48}, {2, 33, 32}, {1, 8, 8}}
		}
		t.Run(spec.Encoder+"-"+spec.Decoder, func(t *testing.T) {
			s := testutil.ORTSessionBytes(t, marshal(t, build(t, spec)), "built.onnx")
			for _, size := range sizes {
				n, h, w := size[0], size[1], size[2]
				got, err := s.Run(map[string]ort.Tensor{"image": noise(n, 3, h, w)})
				if err != nil {
					t.Fatalf("%v: %v", size, err)
				}
				outH, outW := outputSize(spec, h, w)
				checkLogProbabilities(t, got[models.OutputName], n, spec.Classes, outH, outW)
				deep, ok := got[models.DeepSupOutputName]
				if ok != strings.HasSuffix(spec.Decoder, "_deepsup") {
					t.Fatalf("deep supervision: %v", ok)
				}
				if ok {
					before, _ := halvings(spec.Encoder)
					checkLogProbabilities(t, deep, n, spec.Classes, halve(h, before), halve(w, before))
				}
			}
		})
	}
}

// checkLogProbabilities checks shape, and that the classes' probabilities sum
// to 1 at every cell within 1e-5.
func checkLogProbabilities(t *testing.T, x ort.Tensor, n, classes, h, w int) {
	t.Helper()
	if want := fmt.Sprint([]int{n, classes, h, w}); fmt.Sprint(x.Shape) != want {
		t.Fatalf("shape %v, want %s", x.Shape, want)
	}
	v, area := x.Data.([]float32), h*w
	for cell := range n * area {
		sum := 0.0
		for c := range classes {
			sum += math.Exp(float64(v[(cell/area*classes+c)*area+cell%area]))
		}
		if !(math.Abs(sum-1) <= 1e-5) {
			t.Fatalf("probabilities of cell %d sum to %g", cell, sum)
		}
	}
}

// graft's own reading of the file agrees with ONNX Runtime's on shapes, and
// specialising it to a size keeps every parameter and function.
func TestSpecializes(t *testing.T) {
	for _, spec := range small() {
		m := build(t, spec)
		out, shapes, err := onnx.Specialize(m, map[string][]int{models.InputName: {2, 3, 97, 131}})
		if err != nil {
			t.Errorf("%s with %s: %v", spec.Encoder, spec.Decoder, err)
			continue
		}
		h, w := outputSize(spec, 97, 131)
		if got, want := fmt.Sprint(shapes[models.OutputName]), fmt.Sprint([]int{2, spec.Classes, h, w}); got != want {
			t.Errorf("%s with %s: shape %s, want %s", spec.Encoder, spec.Decoder, got, want)
		}
		for _, p := range m.Graph.Initializer {
			if out.Initializer(p.GetName()) == nil {
				t.Errorf("%s with %s: parameter %s is lost", spec.Encoder, spec.Decoder, p.GetName())
			}
		}
		if got, want := count(out, "graft"), count(m, "graft"); got != want {
			t.Errorf("%s with %s: %d calls of graft's functions, want %d", spec.Encoder, spec.Decoder, got, want)
		}
		for _, n := range out.Graph.Node {
			if op := n.GetOpType(); op == "Shape" || op == "Slice" {
				t.Errorf("%s with %s: %s is left, a %s", spec.Encoder, spec.Decoder, n.GetName(), op)
			}
		}
	}
}

// count is the number of nodes of the domain.
func count(m *onnx.Model, domain string) int {
	n := 0
	for _, node := range m.Graph.Node {
		if node.GetDomain() == domain {
			n++
		}
	}
	return n
}

func noise(shape ...int) ort.Tensor {
	size := 1
	for _, d := range shape {
		size *= d
	}
	r, v := rand.New(rand.NewPCG(1, 2)), make([]float32, size)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return ort.New(v, shape...)
}

func TestSeedDecidesTheFile(t *testing.T) {
	spec := models.Spec{Encoder: "resnet18dilated", Decoder: "ppm_deepsup", Classes: 4, Seed: 3, Width: 8}
	first, again := marshal(t, build(t, spec)), marshal(t, build(t, spec))
	if !bytes.Equal(first, again) {
		t.Error("the same Spec gave two different files")
	}
	spec.Seed = 4
	other := build(t, spec)
	spec.Seed, spec.Decoder = 3, "c1"
	m, c1 := build(t, models.Spec{Encoder: "resnet18dilated", Decoder: "ppm_deepsup", Classes: 4, Seed: 3, Width: 8}), build(t, spec)
	for _, p := range m.Graph.Initializer {
		name := p.GetName()
		if strings.HasPrefix(name, "encoder.") && !bytes.Equal(p.GetRawData(), c1.Initializer(name).GetRawData()) {
			t.Errorf("%s depends on the decoder", name)
		}
		if len(p.GetDims()) == 4 && bytes.Equal(p.GetRawData(), other.Initializer(name).GetRawData()) {
			t.Errorf("%s does not depend on the seed", name)
		}
	}
}

// Published sizes: learned parameters (running statistics left out) of the
// networks at full width, as counted by PyTorch for the same layers.
func TestParameterCounts(t *testing.T) {
	for _, tc := range []struct {
		encoder string
		want    int
	}{
		// torchvision's count less its classifier (and for MobileNetV2 less
		// the last 1x1 convolution), the deep stem for the 7x7 one.
		{"mobilenetv2dilated", 3504872 - (1280*1000 + 1000) - (320*1280 + 2*1280)},
		{"resnet18dilated", 11689512 - (512*1000 + 1000) - (64*3*49 + 2*64) +
			(64*3*9 + 64*64*9 + 128*64*9 + 2*(64+64+128)) + // stem
			(64*64*9 + (64*128 + 2*64))}, // first block: wider input, shortcut with a convolution
		{"resnet50", 25557032 - (2048*1000 + 1000) - (64*3*49 + 2*64) +
			(64*3*9 + 64*64*9 + 128*64*9 + 2*(64+64+128)) +
			64*64 + 256*64}, // first block: 1x1 and shortcut read 128 channels
		// The 32x4d network of the paper as a classifier, changed alike.
		{"resnext101", 44177704 - (2048*1000 + 1000) - (64*3*49 + 2*64) +
			(64*3*9 + 64*64*9 + 128*64*9 + 2*(64+64+128)) +
			64*128 + 256*64},
		{"hrnetv2", highResolutionParameters()},
	} {
		got := 0
		for _, p := range build(t, models.Spec{Encoder: tc.encoder, Decoder: "c1", Classes: 2}).Graph.Initializer {
			if name := p.GetName(); strings.HasPrefix(name, "encoder.") && !strings.Contains(name, "running_") {
				n, err := onnx.Len(p)
				if err != nil {
					t.Fatal(err)
				}
				got += n
			}
		}
		if got != tc.want {
			t.Errorf("%s has %d parameters, want %d", tc.encoder, got, tc.want)
		}
	}
}

// highResolutionParameters is the size of HRNetV2-W48: the 77 469 864
// parameters it has as a classifier, less the classifier's head. (It fits the
// 65.8 million that the paper gives for segmentation of 19 classes, whose head
// of 1x1 convolutions from 720 to 720 to 19 channels has 534 259.)
func highResolutionParameters() int {
	count := 77469864
	branches, heads := []int{48, 96, 192, 384}, []int{32, 64, 128, 256}
	for i, p := range heads {
		// A bottleneck widens every branch to 4p channels, ...
		count -= branches[i]*p + 2*p + 9*p*p + 2*p + p*4*p + 2*4*p + branches[i]*4*p + 2*4*p
		if i > 0 { // ... to which the finer ones are brought down.
			count -= 9*4*heads[i-1]*4*p + 4*p + 2*4*p
		}
	}
	return count - (1024*2048 + 2048 + 2*2048 + 2048*1000 + 1000)
}

func TestSpecErrors(t *testing.T) {
	good := models.Spec{Encoder: "resnet18", Decoder: "c1", Classes: 2}
	for _, tc := range []struct {
		setting string
		change  func(*models.Spec)
		says    string
	}{
		{"encoder", func(s *models.Spec) { s.Encoder = "vgg" }, `"vgg" is not one of graft's; known are mobilenetv2dilated, resnet18,`},
		{"decoder", func(s *models.Spec) { s.Decoder = "" }, "known are c1, c1_deepsup"},
		{"classes", func(s *models.Spec) { s.Classes = 0 }, "is 0, not 1 to 65536"},
		{"classes", func(s *models.Spec) { s.Classes = 1 << 30 }, "not 1 to 65536"},
		{"width", func(s *models.Spec) { s.Width = -1 }, "is -1, not 1 to 16"},
		{"width", func(s *models.Spec) { s.Width = 17 }, "is 17"},
	} {
		spec := good
		tc.change(&spec)
		_, err := models.New(spec)
		var e *models.SpecError
		if !errors.As(err, &e) || e.Setting != tc.setting || !strings.Contains(e.Error(), tc.says) {
			t.Errorf("%+v: error %v, want one about %s that says %q", spec, err, tc.setting, tc.says)
		}
	}
}
