package graph

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// plain is an Updater of its own kind, so that nothing but the moment of the
// update differs from SGD on kept gradients.
type plain struct {
	hyper    kernel.Buffer
	velocity map[string]kernel.Buffer
}

func newPlain(t *testing.T, n *Network) *plain {
	t.Helper()
	u := &plain{velocity: map[string]kernel.Buffer{}}
	var err error
	if u.hyper, err = n.dev.Alloc(12); err != nil {
		t.Fatal(err)
	}
	if err := n.dev.Upload(u.hyper, kernel.Bytes([]float32{0.05, 0.9, 1e-3})); err != nil {
		t.Fatal(err)
	}
	for _, p := range n.params {
		if u.velocity[p.Name], err = n.dev.Alloc(4 * p.Len()); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func (u *plain) Update(p *Parameter) (Update, bool) {
	return Update{Kind: "SGD", Desc: kernel.SGD{Len: p.Len()}, Args: []kernel.Buffer{u.hyper, nil, p.Value, u.velocity[p.Name]}}, p.Trainable
}

// step is the update outside of a run.
func (u *plain) step(t *testing.T, n *Network) {
	t.Helper()
	for _, p := range n.params {
		if p.Grad == nil {
			continue
		}
		k, err := n.dev.Compile(kernel.SGD{Len: p.Len()})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Run([]kernel.Buffer{u.hyper, p.Grad, p.Value, u.velocity[p.Name]}); err != nil {
			t.Fatal(err)
		}
	}
}

// training is one way to run steps of a model.
type training struct {
	update    bool
	recompute Recompute // RecomputeAuto if not set
	device    string    // native if empty
	precision Precision
}

// outcome is everything that two ways of one training must agree on.
type outcome struct {
	losses     []float64
	parameters map[string][]float32
	gradients  map[string][]float32 // of the last step, of a run that keeps them
	arena      int
	again      int // operations that run twice
}

// trainAs does three steps on noise.
func trainAs(t *testing.T, m *onnx.Model, way training, shape []int, outputs []string) outcome {
	t.Helper()
	dev, err := device.OpenThreads(cmp.Or(way.device, "native"), 2)
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	n, err := NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	n.worth = worth{size: 1, gap: 2}
	u := newPlain(t, n)
	n.SetUpdater(u)
	spec := Spec{Inputs: map[string][]int{"image": shape}, Mode: Train, Update: way.update, Recompute: way.recompute,
		Precision: way.precision, Loss: &Loss{Ignore: -1}}
	for i, name := range outputs {
		spec.Loss.Outputs = append(spec.Loss.Outputs, LossOutput{Name: name, Weight: 1 - 0.6*float32(i)})
	}
	plan, err := n.Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	out := outcome{parameters: map[string][]float32{}, gradients: map[string][]float32{}, arena: plan.ArenaSize()}
	for _, s := range plan.steps {
		if strings.HasSuffix(s.kind, again) {
			out.again++
		}
	}
	rng := rand.New(rand.NewPCG(11, 12))
	image := make([]float32, kernel.Len(shape))
	for step := range 3 {
		for i := range image {
			image[i] = float32(rng.NormFloat64())
		}
		if err := plan.SetInput("image", image); err != nil {
			t.Fatal(err)
		}
		for _, name := range outputs {
			s, _ := plan.InputShape(LabelInput(name))
			labels := make([]int32, kernel.Len(s))
			for i := range labels {
				labels[i] = int32(rng.IntN(3)) - 1
			}
			if err := plan.SetLabels(name, labels); err != nil {
				t.Fatal(err)
			}
		}
		plan.SetStep(uint64(step))
		if err := plan.RunAll(); err != nil {
			t.Fatal(err)
		}
		v, err := plan.Loss()
		if err != nil {
			t.Fatal(err)
		}
		out.losses = append(out.losses, v.Total)
		if !way.update {
			u.step(t, n)
		}
	}
	for _, p := range n.params {
		if out.parameters[p.Name], err = n.Value(p); err != nil {
			t.Fatal(err)
		}
		if p.Grad != nil {
			if out.gradients[p.Name], err = n.Gradient(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// sameOutcome compares bits.
func sameOutcome(t *testing.T, name string, got, want outcome) {
	t.Helper()
	if !slices.Equal(got.losses, want.losses) {
		t.Errorf("%s: losses %v, want %v", name, got.losses, want.losses)
	}
	same := func(a, b []float32) bool {
		return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
	}
	for p, w := range want.parameters {
		if !same(got.parameters[p], w) {
			t.Errorf("%s: parameter %s differs", name, p)
			return
		}
		if g := got.gradients[p]; g != nil && !same(g, want.gradients[p]) {
			t.Errorf("%s: the gradient of %s differs", name, p)
			return
		}
	}
}

// waysToTrain are all that must give the bits of the first.
var waysToTrain = []training{
	{recompute: RecomputeNothing}, {recompute: RecomputeCheap}, {recompute: RecomputeSegments},
	{update: true, recompute: RecomputeNothing}, {update: true, recompute: RecomputeCheap}, {update: true, recompute: RecomputeSegments},
}

func TestNetworksTrainTheSameInEveryWay(t *testing.T) {
	for _, spec := range []models.Spec{
		{Encoder: "resnet18dilated", Decoder: "ppm_deepsup", Classes: 4},
		{Encoder: "mobilenetv2dilated", Decoder: "c1_deepsup", Classes: 4},
		{Encoder: "resnet50", Decoder: "upernet_lite", Classes: 4},
	} {
		t.Run(spec.Encoder+"-"+spec.Decoder, func(t *testing.T) {
			m, err := models.New(spec)
			if err != nil {
				t.Fatal(err)
			}
			var outputs []string
			for _, o := range m.GetGraph().GetOutput() {
				if strings.HasPrefix(o.GetName(), models.OutputName) {
					outputs = append(outputs, o.GetName())
				}
			}
			for _, on := range []training{{}, {precision: BFloat16}, {device: "onednn"}} {
				t.Run(fmt.Sprintf("%+v", on), func(t *testing.T) { trainInEveryWay(t, m, on, outputs) })
			}
		})
	}
}

// trainInEveryWay compares all ways to train on a device in a precision. Each
// takes less memory than the one before it that updates alike.
func trainInEveryWay(t *testing.T, m *onnx.Model, on training, outputs []string) {
	var first outcome
	without := 0 // the arena of the way before, which repeats less
	arenas := map[Recompute]int{}
	for i, way := range waysToTrain {
		way.device, way.precision = on.device, on.precision
		got := trainAs(t, m, way, []int{2, 3, 64, 96}, outputs)
		if i == 0 {
			first = got
		}
		sameOutcome(t, fmt.Sprintf("%+v", way), got, first)
		repeats := way.recompute != RecomputeNothing
		if repeats != (got.again > 0) || repeats && got.arena >= without {
			t.Errorf("%+v: %d operations run again, arena of %d bytes, %d without", way, got.again, got.arena, without)
		}
		without = got.arena
		if !way.update {
			arenas[way.recompute] = got.arena
		}
	}
	want := RecomputeCheap
	if on.precision == BFloat16 {
		want = RecomputeNothing
	}
	if got := trainAs(t, m, on, []int{2, 3, 64, 96}, outputs); got.arena != arenas[want] {
		t.Errorf("without a choice the arena has %d bytes, want %d", got.arena, arenas[want])
	}
}

// randomNetwork draws a graph of what makes recomputation and reuse of memory
// hard: values with several readers of any kind, skips over any distance,
// results in place, reshapes, weights that several nodes share.
func randomNetwork(t *testing.T, rng *rand.Rand) *onnx.Model {
	t.Helper()
	const channels = 4
	b := onnx.NewBuilder("random", 13)
	tensor := func(name string, scale, shift float32, dims ...int) string {
		data := make([]float32, kernel.Len(dims))
		for i := range data {
			data[i] = shift + scale*float32(rng.NormFloat64())
		}
		return b.Initializer(onnx.NewFloats(name, dims, data))
	}
	x := b.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	values := []string{b.Op("Conv", "stem", []string{x, tensor("w0", 0.4, 0, channels, 3, 1, 1)})}
	pads := onnx.IntsAttr("pads", 1, 1, 1, 1)
	shared := tensor("shared", 0.3, 0, channels, channels, 3, 3)
	shape := b.Initializer(onnx.NewInts("shape", []int{4}, []int64{0, channels, -1, 1}))
	back := b.Initializer(onnx.NewInts("back", []int{4}, []int64{0, channels, 8, 8}))
	for i := range 8 + rng.IntN(16) {
		name := fmt.Sprintf("n%d", i)
		pick := func() string { return values[max(0, len(values)-1-rng.IntN(4))] }
		var v string
		switch rng.IntN(10) {
		case 0:
			v = b.Op("Conv", name, []string{pick(), shared}, pads)
		case 1:
			v = b.Op("Conv", name, []string{pick(), tensor(name+".w", 0.3, 0, channels, channels, 3, 3), tensor(name+".b", 0.1, 0, channels)}, pads)
		case 2, 3:
			v = b.Op("BatchNormalization", name, []string{pick(), tensor(name+".s", 0.1, 1, channels), tensor(name+".t", 0.1, 0, channels),
				tensor(name+".m", 0, 0, channels), tensor(name+".v", 0, 1, channels)})
		case 4:
			v = b.Op("Relu", name, []string{pick()})
		case 5:
			v = b.Op("Add", name, []string{pick(), pick()})
		case 6:
			v = b.Op("Mul", name, []string{pick(), b.Op("Sigmoid", name+".gate", []string{pick()})})
		case 7:
			v = b.Op("Reshape", name, []string{b.Op("Relu", name+".relu", []string{b.Op("Reshape", name+".flat", []string{pick(), shape})}), back})
		case 8:
			v = b.Op("Dropout", name, []string{pick(), b.Initializer(onnx.NewFloats(name+".ratio", nil, []float32{0.3}))})
		default:
			joined := b.Op("Concat", name+".joined", []string{pick(), pick()}, onnx.IntAttr("axis", 1))
			v = b.Op("Conv", name, []string{joined, tensor(name+".w", 0.3, 0, channels, 2*channels, 1, 1)})
		}
		values = append(values, v)
	}
	b.Node("LogSoftmax", []string{b.Op("Add", "sum", values[len(values)-2:])}, []string{"logprob"}, onnx.IntAttr("axis", 1))
	b.Output("logprob", pb.TensorProto_FLOAT, "N", channels, "H", "W")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRandomGraphsTrainTheSameInEveryWay(t *testing.T) {
	again := map[Recompute]int{}
	for round := range uint64(60) {
		m := randomNetwork(t, rand.New(rand.NewPCG(round, 5)))
		var first outcome
		for i, way := range waysToTrain {
			got := trainAs(t, m, way, []int{2, 3, 8, 8}, []string{"logprob"})
			if i == 0 {
				first = got
				continue
			}
			sameOutcome(t, fmt.Sprintf("graph %d, %+v", round, way), got, first)
			again[way.recompute] += got.again
		}
	}
	if again[RecomputeNothing] != 0 || again[RecomputeCheap] < 100 || again[RecomputeSegments] < 2*again[RecomputeCheap] {
		t.Errorf("operations that ran again: %v", again)
	}
}

// A run whose loss is not a number changes no weight.
func TestUpdatesWaitForTheLoss(t *testing.T) {
	dev := native.New(1)
	defer dev.Close()
	n, err := NewNetwork(randomNetwork(t, rand.New(rand.NewPCG(1, 5))), dev)
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Inputs: map[string][]int{"image": {2, 3, 8, 8}}, Mode: Train, Update: true,
		Loss: &Loss{Ignore: -1, Outputs: []LossOutput{{Name: "logprob", Weight: 1}}}}
	if _, err := n.Plan(spec); !errors.Is(err, errNoUpdater) {
		t.Errorf("a Plan with updates by nobody: %v", err)
	}
	n.SetUpdater(newPlain(t, n))
	plan, err := n.Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	weights := func() map[string][]float32 {
		values := map[string][]float32{}
		for _, p := range n.params {
			if values[p.Name], err = n.Value(p); err != nil {
				t.Fatal(err)
			}
		}
		return values
	}
	for _, bad := range []float32{float32(math.NaN()), 0} {
		image := make([]float32, 2*3*8*8)
		for i := range image {
			image[i] = float32(i%7) - 3
		}
		image[5] += bad
		if err := plan.SetInput("image", image); err != nil {
			t.Fatal(err)
		}
		if err := plan.SetLabels("logprob", make([]int32, 2*8*8)); err != nil {
			t.Fatal(err)
		}
		before := weights()
		err := plan.RunAll()
		after := weights()
		changed := 0
		for _, p := range n.params {
			if p.Trainable && !slices.Equal(before[p.Name], after[p.Name]) {
				changed++
			}
			if p.Grad != nil {
				t.Errorf("%s has a gradient", p.Name)
			}
		}
		if stopped := bad != 0; stopped != errors.Is(err, ErrLoss) || stopped != (changed == 0) {
			t.Errorf("with %v in the picture: %v, %d parameters changed", bad, err, changed)
		}
	}
}
