package train

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// corner describes the input of a ReLU or Clip in PyTorch: the elements
// (row-major) whose value is so close to a bound that rounding may carry them
// across, and how many elements of all lie between the bounds.
//
// The derivative jumps at a bound. Where two programs end up on different
// sides, their gradients differ by a whole element however little the values
// do: in these networks 3 elements of 1.3 million make one percent.
type corner struct {
	Active int
	Index  []int
	Value  []float32
}

// input is a further input of a model.
type input struct {
	name  string
	shape []int
	data  []float32
}

// bounded is a node that clips its input, and what is added to that.
type bounded struct {
	node  *pb.NodeProto
	input string
	shape []int
	nudge []float32 // nil: nothing
	moved int       // elements that nudge changes
}

// interval returns the bounds of the node.
func (b *bounded) interval(t *testing.T, m *onnx.Model) (lo, hi float32) {
	if b.node.GetOpType() == "Relu" {
		return 0, float32(math.Inf(1))
	}
	return scalar(t, m, b.node.GetInput()[1]), scalar(t, m, b.node.GetInput()[2])
}

// scalar reads what a Constant node makes.
func scalar(t *testing.T, m *onnx.Model, name string) float32 {
	t.Helper()
	for _, n := range m.GetGraph().GetNode() {
		if n.GetOpType() == "Constant" && n.GetOutput()[0] == name {
			v, err := onnx.Floats(onnx.AttrTensor(n, "value"))
			if err != nil || len(v) != 1 {
				t.Fatalf("constant %s: %v %v", name, v, err)
			}
			return v[0]
		}
	}
	t.Fatalf("no constant %s", name)
	return 0
}

// side tells which piece of a clipped line v is on.
func side(v, lo, hi float32) int {
	switch {
	case v <= lo:
		return -1
	case v >= hi:
		return 1
	}
	return 0
}

// onPyTorchsSide runs an iteration with every element on the side of its
// corner where PyTorch had it: the few that are not are moved there by adding
// the difference in front of the ReLU. prepare sets the state before the run.
// All other elements must be on the right side by themselves.
func (r *reference) onPyTorchsSide(t *testing.T, dev kernel.Device, iteration int, corners map[string]corner, prepare func(s *session)) (*session, graph.LossValue) {
	t.Helper()
	nudged := map[string]*bounded{}
	const rounds = 10 // moving an element changes what follows, if only in the last places
	for range rounds {
		model := r.model(t)
		inputs := watchCorners(model, nudged)
		s := r.start(t, model, dev, r.Config, inputs...)
		prepare(s)
		loss := s.run(iteration)
		if moveToSide(t, s, model, nudged, corners) > 0 {
			continue
		}
		moved, all := 0, 0
		for _, b := range nudged {
			moved += b.moved
			all += kernel.Len(b.shape)
		}
		t.Logf("iteration %d: %d of %d elements moved across a corner", iteration, moved, all)
		return s, loss
	}
	t.Fatalf("iteration %d: elements keep changing sides after %d rounds", iteration, rounds)
	return nil, graph.LossValue{}
}

// watchCorners makes the inputs of every ReLU and Clip outputs of the model,
// with the nudges added.
func watchCorners(m *onnx.Model, nudged map[string]*bounded) []input {
	g := m.GetGraph()
	var inputs []input
	var nodes []*pb.NodeProto
	for _, n := range g.GetNode() {
		if op := n.GetOpType(); op == "Relu" || op == "Clip" {
			x := n.GetInput()[0]
			b := nudged[x]
			if b == nil {
				b = &bounded{}
				nudged[x] = b
			}
			b.node, b.input = n, x
			if b.nudge != nil {
				in := input{"nudge of " + x, b.shape, b.nudge}
				inputs = append(inputs, in)
				g.Input = append(g.Input, floatValue(in))
				b.input = x + " nudged"
				nodes = append(nodes, &pb.NodeProto{OpType: "Add", Name: b.input, Input: []string{x, in.name}, Output: []string{b.input}})
				n.Input[0] = b.input
			}
			g.Output = append(g.Output, &pb.ValueInfoProto{Name: b.input})
		}
		nodes = append(nodes, n)
	}
	g.Node = nodes
	return inputs
}

func floatValue(in input) *pb.ValueInfoProto {
	shape := &pb.TensorShapeProto{}
	for _, d := range in.shape {
		shape.Dim = append(shape.Dim, &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
	}
	tensor := &pb.TypeProto_Tensor{ElemType: int32(pb.TensorProto_FLOAT), Shape: shape}
	return &pb.ValueInfoProto{Name: in.name, Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{TensorType: tensor}}}
}

// moveToSide extends the nudges by what the last run still had on the wrong
// side and returns the number of these elements.
func moveToSide(t *testing.T, s *session, m *onnx.Model, nudged map[string]*bounded, corners map[string]corner) int {
	t.Helper()
	wrong := 0
	for x, b := range nudged {
		c, ok := corners[x]
		if !ok {
			t.Fatalf("PyTorch has no %s", x)
		}
		got, shape, err := s.plan.Output(b.input)
		if err != nil {
			t.Fatal(err)
		}
		b.shape = shape
		lo, hi := b.interval(t, m)
		for k, i := range c.Index {
			if side(got[i], lo, hi) == side(c.Value[k], lo, hi) {
				continue
			}
			if b.nudge == nil {
				b.nudge = make([]float32, len(got))
			}
			if b.nudge[i] == 0 {
				b.moved++
			}
			b.nudge[i] += c.Value[k] - got[i]
			got[i] = c.Value[k]
			wrong++
		}
		active := 0
		for _, v := range got {
			if side(v, lo, hi) == 0 {
				active++
			}
		}
		if active != c.Active {
			t.Fatalf("%s: %d elements between the bounds, PyTorch has %d", x, active, c.Active)
		}
	}
	return wrong
}

// TestReferenceFirstStep compares the first iteration tensor by tensor: every
// gradient, and every update that follows from it.
func TestReferenceFirstStep(t *testing.T) {
	references(t, func(t *testing.T, ref *reference, dev kernel.Device) {
		s, _ := ref.onPyTorchsSide(t, dev, 0, ref.Corners, func(*session) {})
		want := ref.gradients(t)
		compareGradients(t, s.gradients(), want, ref.Vanishing, ref.Spread)

		before := s.values()
		s.step(0)
		compareUpdates(t, s.values().minus(before), firstUpdate(t, ref, before, want), before, ref.Vanishing, ref.Spread)
	})
}

// firstUpdate is a step of gradient descent from velocity zero: weight decay
// on the weights of convolutions only.
func firstUpdate(t *testing.T, ref *reference, values, gradients tensors) tensors {
	decayed := map[string]bool{}
	for _, n := range ref.model(t).GetGraph().GetNode() {
		if n.GetOpType() == "Conv" {
			decayed[n.GetInput()[1]] = true
		}
	}
	out := tensors{}
	for name, g := range gradients {
		rate := ref.Trace[0].LrEncoder
		if strings.HasPrefix(name, models.DecoderPrefix) {
			rate = ref.Trace[0].LrDecoder
		}
		u := make([]float32, len(g))
		for i := range g {
			d := float64(g[i])
			if decayed[name] {
				d += ref.Config.WeightDecay * float64(values[name][i])
			}
			u[i] = float32(-rate * d)
		}
		out[name] = u
	}
	return out
}

// compareGradients holds each tensor against its own norm, and those that
// vanish in exact arithmetic against the norm of all. spread is how far
// PyTorch's variants lie from exact gradients in the same place; where a tensor
// is so badly conditioned that this exceeds the tolerance, it takes its place.
func compareGradients(t *testing.T, got, want tensors, vanishing []string, spread map[string]float64) {
	t.Helper()
	compareEach(t, "gradient", got, want, vanishing, spread, nil)
}

// compareUpdates allows updates what gradients may differ by and, since they
// are differences of rounded parameters, one unit in the last place of these.
func compareUpdates(t *testing.T, got, want, parameters tensors, vanishing []string, spread map[string]float64) {
	t.Helper()
	const unit = 1.0 / (1 << 23)
	rounding := map[string]float64{}
	for name := range want {
		rounding[name] = unit * norm(parameters[name])
	}
	compareEach(t, "update", got, want, vanishing, spread, rounding)
}

func compareEach(t *testing.T, what string, got, want tensors, vanishing []string, spread, rounding map[string]float64) {
	t.Helper()
	differences, worst, where := want.minus(got), 0.0, ""
	zero := vanishingTolerance * want.norm()
	for name, w := range want {
		if len(got[name]) != len(w) {
			t.Errorf("%s of %s: %d elements, want %d", what, name, len(got[name]), len(w))
			continue
		}
		if slices.Contains(vanishing, name) {
			if n := norm(got[name]); !(n <= zero+rounding[name]) {
				t.Errorf("%s of %s: norm %.2g > %.2g, should vanish", what, name, n, zero+rounding[name])
			}
			continue
		}
		d, n := norm(differences[name]), norm(w)
		tolerance := max(gradientTolerance, spreadFactor*spread[name])
		if !(d <= tolerance*n+rounding[name]) {
			t.Errorf("%s of %s: relative difference %.2g > %.2g", what, name, d/n, tolerance+rounding[name]/n)
		}
		if d/n > worst {
			worst, where = d/n, name
		}
	}
	t.Logf("%s: %d tensors, largest relative difference %.2g (%s)", what, len(want), worst, where)
}
