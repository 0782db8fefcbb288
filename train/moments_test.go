package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// foldedEncoder has inverted residual blocks whose normalisation was folded:
// convolutions with bias, one channel of each of which is dead.
func foldedEncoder(t *testing.T) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder("folded", 15)
	rng := rand.New(rand.NewPCG(3, 5))
	six := []string{b.Initializer(onnx.NewFloats("encoder.low", []int{}, []float32{0})), b.Initializer(onnx.NewFloats("encoder.high", []int{}, []float32{6}))}
	conv := func(name, x string, in, out, kernel, stride, groups int, clipped bool) string {
		size := in / groups * kernel * kernel
		weights, bias := make([]float32, out*size), make([]float32, out)
		for i := range weights[size:] { // the first channel is dead
			weights[size+i] = float32(rng.NormFloat64() * math.Sqrt(2/float64(size)))
		}
		for i := range bias {
			bias[i] = float32(rng.NormFloat64())
		}
		p := int64(kernel / 2)
		y := b.Op("Conv", name, []string{x,
			b.Initializer(onnx.NewFloats("encoder."+name+".weight", []int{out, in / groups, kernel, kernel}, weights)),
			b.Initializer(onnx.NewFloats("encoder."+name+".bias", []int{out}, bias))},
			onnx.IntsAttr("pads", p, p, p, p), onnx.IntsAttr("strides", int64(stride), int64(stride)), onnx.IntAttr("group", int64(groups)))
		if clipped {
			y = b.Op("Clip", name+".clip", []string{y, six[0], six[1]})
		}
		return y
	}
	x := conv("stem", b.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W"), 3, 8, 3, 2, 1, true)
	for i, stride := range []int{2, 2, 1} {
		name := fmt.Sprint("block", i)
		y := conv(name+".expand", x, 8, 24, 1, 1, 1, true)
		y = conv(name+".depthwise", y, 24, 24, 3, stride, 24, true)
		last := name + ".project"
		if i < 2 {
			last = fmt.Sprint(onnx.FeaturePrefix, i)
		}
		y = conv(last, y, 24, 8, 1, 1, 1, false)
		if i == 2 {
			y = b.Op("Add", onnx.FeaturePrefix+"2", []string{x, y})
		}
		x = y
		b.Output(fmt.Sprint(onnx.FeaturePrefix, i), pb.TensorProto_FLOAT, "N", 8, nil, nil)
	}
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pictureSet is generated pictures and how they are read, without masks.
func pictureSet(t *testing.T, cfg *config.Config) (*data.Set, data.Options) {
	t.Helper()
	set, err := data.OpenImages(cfg.Dataset.ListTrain)
	if err != nil {
		t.Fatal(err)
	}
	return set, data.OptionsFrom(cfg)
}

// unfolded measures all that can be unfolded, in parts of budget elements.
func unfolded(t *testing.T, m *onnx.Model, set *data.Set, opt data.Options, budget int) (*onnx.Model, map[string]onnx.Moments) {
	t.Helper()
	bare, err := onnx.BareConvs(m)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range bare {
		if c.Reason != "" {
			t.Fatalf("%s: %s", c.Node, c.Reason)
		}
		names = append(names, c.Output)
	}
	heard := 0
	found, err := moments(t.Context(), m, nativeDevice(t), set, opt, names, budget, func(done int) { heard = done })
	if err != nil {
		t.Fatal(err)
	}
	if heard != len(set.Records) {
		t.Errorf("told of %d pictures of %d", heard, len(set.Records))
	}
	u, err := onnx.Unfold(m, found)
	if err != nil {
		t.Fatal(err)
	}
	return u, found
}

// evaluated runs a model on one batch.
func evaluated(t *testing.T, m *onnx.Model, image []float32, shape []int) map[string][]float32 {
	t.Helper()
	net, err := graph.NewNetwork(m, nativeDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{models.InputName: shape}})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.SetInput(models.InputName, image); err != nil {
		t.Fatal(err)
	}
	if err := plan.RunAll(); err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for _, name := range plan.Outputs() {
		if out[name], _, err = plan.Output(name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// apart is the largest difference over the largest value.
func apart(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	most, scale := 0.0, 0.0
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= most) {
			most = d
		}
		scale = max(scale, math.Abs(float64(want[i])))
	}
	return most / scale
}

// stacked is the pictures of a set as one batch, which they fit.
func stacked(t *testing.T, set *data.Set, opt data.Options) ([]float32, []int) {
	t.Helper()
	opt.ImgSizes = opt.ImgSizes[:1]
	loader, err := data.NewEvalLoader(set, opt)
	if err != nil {
		t.Fatal(err)
	}
	var image []float32
	shape := []int{len(set.Records), 3, 0, 0}
	for i := range set.Records {
		item, err := loader.Item(i)
		if err != nil {
			t.Fatal(err)
		}
		in := item.Inputs[0]
		image, shape[2], shape[3] = append(image, in.Image...), in.H, in.W
	}
	return image, shape
}

// Moments are those of all values together, measured at once or map by map.
func TestMoments(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	set, opt := pictureSet(t, cfg)
	m := foldedEncoder(t)
	_, got := unfolded(t, m, set, opt, mapBudget)
	_, again := unfolded(t, m, set, opt, mapBudget)
	if fmt.Sprint(got) != fmt.Sprint(again) {
		t.Error("two measurements differ")
	}
	_, parts := unfolded(t, m, set, opt, 1)
	names := []string{}
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	part, err := onnx.Extract(m, []string{models.InputName}, names)
	if err != nil {
		t.Fatal(err)
	}
	image, shape := stacked(t, set, opt)
	for name, v := range evaluated(t, part, image, shape) {
		channels := len(got[name].Mean)
		places := len(v) / channels / shape[0]
		for c := range channels {
			var all []float64
			for n := range shape[0] {
				for _, x := range v[(n*channels+c)*places : (n*channels+c+1)*places] {
					all = append(all, float64(x))
				}
			}
			mean, variance := 0.0, 0.0
			for _, x := range all {
				mean += x / float64(len(all))
			}
			for _, x := range all {
				variance += (x - mean) * (x - mean) / float64(len(all))
			}
			if c == 0 && got[name].Var[0] != 0 {
				t.Errorf("%s: the dead channel has variance %g", name, got[name].Var[0])
			}
			for _, have := range []onnx.Moments{got[name], parts[name]} {
				if math.Abs(have.Mean[c]-mean) > 1e-6 || math.Abs(have.Var[c]-variance) > 1e-5*max(1, variance) {
					t.Errorf("%s channel %d: mean %g and variance %g, want %g and %g", name, c, have.Mean[c], have.Var[c], mean, variance)
				}
			}
		}
	}
}

// An unfolded network evaluates as before on any picture; in training, its
// loss is the same on the pictures that were measured, and close on others.
func TestUnfoldedNetworkComputesTheSame(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	set, opt := pictureSet(t, cfg)
	folded := foldedEncoder(t)
	encoder, _ := unfolded(t, folded, set.Spread(4), opt, mapBudget)
	attach := func(m *onnx.Model) *onnx.Model {
		m, err := models.Attach(m, "c1", 5, 1)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	before, after := attach(folded), attach(encoder)
	image, shape := stacked(t, set, opt)
	want, got := evaluated(t, before, image, shape), evaluated(t, after, image, shape)
	if d := apart(got[models.OutputName], want[models.OutputName]); d > 1e-5 {
		t.Errorf("evaluation differs by %g", d)
	}

	net, err := graph.NewNetwork(after, nativeDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	norms := 0
	for _, p := range net.Parameters() {
		if strings.Contains(p.Name, ".norm.") {
			norms++
			if p.Decay || p.Trainable == strings.Contains(p.Name, "running") {
				t.Errorf("%s: trainable %v, decays %v", p.Name, p.Trainable, p.Decay)
			}
		}
	}
	if norms != 4*10 {
		t.Errorf("%d parameters of normalisation, want those of 10", norms)
	}
	loss := func(m *onnx.Model, set *data.Set) float64 {
		image, shape := stacked(t, set, opt)
		labels := make([]int32, shape[0]*shape[2]*shape[3]/64)
		for i := range labels {
			labels[i] = int32(i % 5)
		}
		r, err := trainerOn(t, cfg, m).Step(image, shape, labels)
		if err != nil {
			t.Fatal(err)
		}
		return r.Loss
	}
	for name, test := range map[string]struct {
		set       *data.Set
		tolerance float64
	}{
		"measured": {set.Spread(4), 1e-5},
		"others":   {&data.Set{Records: set.Records[3:5]}, 0.005},
	} {
		want, got := loss(before, test.set), loss(after, test.set)
		t.Logf("%s pictures: loss %.7f, folded %.7f", name, got, want)
		if !(math.Abs(got-want) <= test.tolerance*want) {
			t.Errorf("%s pictures: the first loss is %g, folded %g", name, got, want)
		}
	}
}

// A published backbone, unfolded, has the maps that it had, in graft and in
// ONNX Runtime.
func TestUnfoldedBackbone(t *testing.T) {
	m, err := onnx.Load(testutil.SharedDir(t, "onnx", "backbone", "mobilenetv2_in1k_fp32_dequant.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	encoder, _, err := onnx.Import(m, 8)
	if err != nil {
		t.Fatal(err)
	}
	cfg := smallRun(t, t.TempDir())
	set, opt := pictureSet(t, cfg)
	got, _ := unfolded(t, encoder, set.Spread(3), opt, mapBudget)
	if n := len(got.Graph.Node) - len(encoder.Graph.Node); n != 51 {
		t.Errorf("%d nodes were added, want 51", n)
	}
	image, shape := stacked(t, set.Spread(2), opt)
	want := evaluated(t, encoder, image, shape)
	compare := func(engine, name string, v []float32) {
		if d := apart(v, want[name]); d > 2e-5 {
			t.Errorf("%s: %s differs by %g", engine, name, d)
		} else {
			t.Logf("%s: %s differs by %g", engine, name, d)
		}
	}
	for name, v := range evaluated(t, got, image, shape) {
		compare("graft", name, v)
	}
	content, err := proto.Marshal(got.ModelProto)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range testutil.RunORTBytes(t, content, "unfolded", map[string]ort.Tensor{models.InputName: ort.New(image, shape...)}) {
		compare("ONNX Runtime", name, v.Data.([]float32))
	}
}
