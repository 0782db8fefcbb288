package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// fullWidths are networks that cover every encoder and every decoder; in short
// tests the first ones alone.
var fullWidths = []string{
	"mobilenetv2dilated-c1_deepsup", "resnet18-upernet_lite", "resnet18dilated-ppm_deepsup",
	"resnet50-upernet", "resnet50dilated-c1_deepsup", "resnet101-ppm", "resnet101dilated-c1", "resnext101-c1", "hrnetv2-c1",
}

const shortFullWidths = 3

// fullVariable names the folder that bench/fullwidth.py --full wrote: over a
// gigabyte, so not part of the repository.
const fullVariable = "GRAFT_FULL"

// fullWidthSeed is the default of `graft new`, which made the files that the
// records come from.
const fullWidthSeed = 304

// fullWidth is what bench/fullwidth.py wrote about a network of full width,
// trained with PyTorch's own modules in double precision.
type fullWidth struct {
	Encoder, Decoder string
	Classes          int
	SHA256           string // of the names and values of all initializers
	// The first batch of the run, and the size of every batch.
	Batch, Pictures, Height, Width int
	// Shifted moves elements of normalisation shifts, by parameter and channel,
	// in units of 1/1024, so that no value lies next to a corner of a ReLU.
	Shifted            map[string]map[int]int
	Config             hyper
	Losses, Accuracies []float64
	// Variants are runs in single precision: how far they lie from this one.
	Variants []struct {
		Evaluation, Gradients float64
		EvaluationEnd         float64 `json:"evaluation_end"`
		Losses                []float64
	}
	Evaluation    []fingerprint // of every output, before the first iteration
	EvaluationEnd []fingerprint `json:"evaluation_end"` // after the last
	Vanishing     []string
	// Gradients of iteration 0, by parameter: a fingerprint and the spread.
	Gradients map[string][2 + projections]float64
}

// Streams of numbers, see bits.
const (
	signStream, labelStream, noiseStream, mosaicStream, shiftStream = 0, 1 << 8, 2 << 8, 3 << 8, 4 << 8
)

// bits is element i of a stream: the finaliser of SplitMix64 (Steele, Lea,
// Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
func bits(stream, i int) uint64 {
	z := (uint64(stream)<<32 + uint64(i) + 1) * 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// octet is in 0, 1, ... 255.
func octet(stream, i int) float32 { return float32(bits(stream, i) >> 56) }

const projections = 3

// fingerprint of a vector: its norm, and the sums of its elements with signs
// from the lowest bits of their hash.
type fingerprint [1 + projections]float64

func fingerprintOf(v []float32) fingerprint {
	var f fingerprint
	for i, x := range v {
		hash := ^bits(signStream, i) // a bit that is set stands for a plus
		for k := range projections {
			f[1+k] += math.Float64frombits(math.Float64bits(float64(x)) ^ hash>>k<<63)
		}
	}
	f[0] = norm(v)
	return f
}

// distance estimates the norm of the difference of the two vectors: each sum of
// it with random signs has the square of that norm as the mean of its own.
func (f fingerprint) distance(g fingerprint) float64 {
	square := 0.0
	for k := 1; k <= projections; k++ {
		square += math.Pow(f[k]-g[k], 2) / projections
	}
	return max(math.Sqrt(square), math.Abs(f[0]-g[0]))
}

// TestFullWidth trains every encoder and every decoder as published for three
// iterations, and compares outputs, gradients and losses with plain PyTorch.
func TestFullWidth(t *testing.T) {
	for i, name := range fullWidths {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && i >= shortFullWidths {
				t.Skip("skipped: large network in a short test")
			}
			full := &fullWidth{}
			readJSON(t, filepath.Join("testdata", "fullwidth", name+".json"), full)
			model := full.model(t)
			devices(t, func(t *testing.T, dev kernel.Device) { full.compare(t, name, model, dev) })
		})
	}
}

func TestFullWidthCoversAllNetworks(t *testing.T) {
	for _, part := range slices.Concat(models.Encoders(), models.Decoders()) {
		if !slices.ContainsFunc(fullWidths, func(name string) bool { return slices.Contains(strings.Split(name, "-"), part) }) {
			t.Errorf("no network of %s is compared at full width", part)
		}
	}
}

func (f *fullWidth) compare(t *testing.T, name string, model *onnx.Model, dev kernel.Device) {
	s := startSession(t, model, dev, f.Config, f.inputs())
	cells, _ := s.plan.InputShape(graph.LabelInput(models.OutputName))
	s.batch = func(iteration int) ([]float32, []int32) {
		index := f.Batch + iteration
		return f.pictures(index), f.labels(index, kernel.Len(cells))
	}
	outputs := f.evaluate(t, s)
	f.compareOutputs(t, "evaluation", outputs, f.Evaluation, evalTolerance)
	used, lossSpread, endSpread := 0.0, 0.0, 0.0
	for i, want := range f.Losses {
		got := s.run(i)
		tolerance := firstLossTolerance
		for _, v := range f.Variants {
			lossSpread, endSpread = max(lossSpread, v.Losses[i]), max(endSpread, v.EvaluationEnd)
		}
		if i > 0 {
			tolerance = max(calmLossTolerance, spreadFactor*lossSpread)
		}
		d := math.Abs(got.Total-want) / want
		used = max(used, d)
		if !(d <= tolerance) {
			t.Errorf("iteration %d: loss %.7f, want %.7f: relative difference %.2g > %.2g", i, got.Total, want, d, tolerance)
		}
		if d := math.Abs(got.Accuracy()-f.Accuracies[i]) * float64(got.Labelled); !(d <= accuracyPixels) {
			t.Errorf("iteration %d: accuracy %.6f, want %.6f: %.0f > %d pixels apart", i, got.Accuracy(), f.Accuracies[i], d, accuracyPixels)
		}
		if i == 0 {
			f.compareGradients(t, s)
			f.compareWhole(t, name, s, outputs)
		}
		s.step(i)
	}
	t.Logf("losses: largest relative difference %.2g, PyTorch's %.2g", used, lossSpread)
	f.compareOutputs(t, "evaluation after training", f.evaluate(t, s), f.EvaluationEnd, max(evalTolerance, spreadFactor*endSpread))
}

// compareOutputs holds every output against its fingerprint, relative to its
// norm.
func (f *fullWidth) compareOutputs(t *testing.T, what string, got [][]float32, want []fingerprint, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d outputs, want %d", what, len(got), len(want))
	}
	worst := 0.0
	for i, w := range want {
		d := fingerprintOf(got[i]).distance(w) / w[0]
		worst = max(worst, d)
		if !(d <= tolerance) {
			t.Errorf("%s, output %d: relative difference about %.2g > %.2g", what, i, d, tolerance)
		}
	}
	t.Logf("%s: relative difference about %.2g", what, worst)
}

// compareGradients holds every gradient against its fingerprint as the function
// of that name does against the whole tensor.
func (f *fullWidth) compareGradients(t *testing.T, s *session) {
	t.Helper()
	all, seen, worst, where := 0.0, 0, 0.0, ""
	for _, want := range f.Gradients {
		all = math.Hypot(all, want[0])
	}
	for _, p := range s.net.Parameters() {
		if !p.Trainable {
			continue
		}
		w, ok := f.Gradients[p.Name]
		if !ok {
			t.Errorf("PyTorch has no gradient of %s", p.Name)
			continue
		}
		seen++
		g, err := s.net.Gradient(p)
		if err != nil {
			t.Fatal(err)
		}
		got, want, spread := fingerprintOf(g), fingerprint(w[:1+projections]), w[1+projections]
		if slices.Contains(f.Vanishing, p.Name) {
			if !(got[0] <= vanishingTolerance*all) {
				t.Errorf("gradient of %s: norm %.2g > %.2g, should vanish", p.Name, got[0], vanishingTolerance*all)
			}
			continue
		}
		d, tolerance := got.distance(want)/want[0], max(gradientTolerance, spreadFactor*spread)
		if !(d <= tolerance) {
			t.Errorf("gradient of %s: relative difference about %.2g > %.2g", p.Name, d, tolerance)
		}
		if d > worst {
			worst, where = d, p.Name
		}
	}
	if seen != len(f.Gradients) {
		t.Errorf("gradients of %d parameters, PyTorch has %d", seen, len(f.Gradients))
	}
	t.Logf("gradients: %d tensors, relative difference about %.2g at most (%s)", seen, worst, where)
}

// compareWhole compares outputs and gradients element by element where
// PyTorch's are at hand.
func (f *fullWidth) compareWhole(t *testing.T, name string, s *session, outputs [][]float32) {
	t.Helper()
	dir := os.Getenv(fullVariable)
	if dir == "" {
		return
	}
	whole := readTensors(t, filepath.Join(dir, name+".onnx"), "")
	for i, got := range outputs {
		key := fmt.Sprintf("output.%d", i)
		d := testutil.RelativeNorm(got, whole[key])
		t.Logf("whole evaluation output %d: relative difference %.2g", i, d)
		if !(d <= evalTolerance) {
			t.Errorf("evaluation output %d: relative difference %.2g > %.0g", i, d, evalTolerance)
		}
		delete(whole, key)
	}
	spread := map[string]float64{}
	for name, w := range f.Gradients {
		spread[name] = w[1+projections]
	}
	gradients := s.gradients()
	t.Logf("all gradients as one vector: relative difference %.2g", relativeDistance(gradients, whole))
	compareGradients(t, gradients, whole, f.Vanishing, spread)
}

// evaluate returns the outputs for the first batch, the main one first.
func (f *fullWidth) evaluate(t *testing.T, s *session) [][]float32 {
	t.Helper()
	plan, err := s.net.Plan(graph.Spec{Inputs: f.inputs()})
	if err != nil {
		t.Fatal(err)
	}
	image, _ := s.batch(0)
	if err := plan.SetInput(models.InputName, image); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	var outputs [][]float32
	for _, o := range s.loss.Outputs {
		v, _, err := plan.Output(o.Name)
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, v)
	}
	return outputs
}

// model builds the network as PyTorch had it: dropout never drops.
func (f *fullWidth) model(t *testing.T) *onnx.Model {
	t.Helper()
	m, err := models.New(models.Spec{Encoder: f.Encoder, Decoder: f.Decoder, Classes: f.Classes, Seed: fullWidthSeed})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range m.GetGraph().GetNode() {
		if n.GetOpType() == "ChannelDropout" {
			n.Attribute[0] = onnx.FloatAttr("ratio", 0)
		}
	}
	digest := sha256.New()
	for i, p := range m.GetGraph().GetInitializer() {
		values, err := onnx.Floats(p)
		if err != nil {
			t.Fatal(err)
		}
		digest.Write([]byte(p.GetName()))
		if err := binary.Write(digest, binary.LittleEndian, values); err != nil {
			t.Fatal(err)
		}
		if f.unsettle(m, p.GetName(), i, values) {
			if err := onnx.SetFloats(p, values); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != f.SHA256 {
		t.Fatalf("the new network's parameters are not those of the record (SHA-256 %s, recorded %s): models.New draws or names them differently now; record anew as docs/parity.md says", got, f.SHA256)
	}
	return m
}

// unsettle gives the i-th parameter other values if it is one of a batch
// normalisation, which a new network has at 0 and 1, where forgetting one would
// not show; and it moves shifts away from corners. What bottlenecks add in the
// long stages is small, so that rounding does not grow from block to block.
func (f *fullWidth) unsettle(m *onnx.Model, name string, i int, values []float32) bool {
	layer, kind := name[:strings.LastIndex(name, ".")], name[strings.LastIndex(name, ".")+1:]
	if m.Initializer(layer+".running_mean") == nil {
		return false
	}
	last, long := strings.HasSuffix(layer, ".bn3"), strings.Contains(layer, ".layer3.") || strings.Contains(layer, ".layer4.")
	for c := range values {
		drawn := octet(shiftStream+i, c)
		switch kind {
		case "weight":
			values[c] = 0.75 + drawn/512
			if last && long {
				values[c] /= 8
			}
		case "bias", "running_mean":
			values[c] = (drawn-128)/512 + float32(f.Shifted[name][c])/1024
		case "running_var":
			values[c] = 0.5 + drawn/256
		}
	}
	return true
}

func (f *fullWidth) inputs() map[string][]int {
	return map[string][]int{models.InputName: {f.Pictures, 3, f.Height, f.Width}}
}

// pictures draws a batch (N,3,H,W) in [-2, 2): a mosaic, and noise of a third of
// its strength.
func (f *fullWidth) pictures(index int) []float32 {
	const cell = 16
	rows, columns := (f.Height+cell-1)/cell, (f.Width+cell-1)/cell
	image := make([]float32, 0, f.Pictures*3*f.Height*f.Width)
	for plane := range f.Pictures * 3 {
		for y := range f.Height {
			for x := range f.Width {
				mosaic := octet(mosaicStream+index, (plane*rows+y/cell)*columns+x/cell)
				noise := octet(noiseStream+index, len(image))
				image = append(image, (3*(mosaic-128)+noise-128)/256)
			}
		}
	}
	return image
}

// labels draws a batch's labels of so many cells: -1 is ignored.
func (f *fullWidth) labels(index, cells int) []int32 {
	labels := make([]int32, cells)
	for i := range labels {
		labels[i] = int32(bits(labelStream+index, i)%uint64(f.Classes+1)) - 1
	}
	return labels
}
