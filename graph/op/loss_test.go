package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/op"
)

// label adds an int32 leaf.
func (p *program) label(name string, shape []int, data []int32) *op.Node {
	n := gorgonia.NewTensor(p.graph, tensor.Int32, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name))
	p.values[n] = tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
	return n
}

// logSoftmax applies LogSoftmax along the channels.
func (p *program) logSoftmax(t *testing.T, x *op.Node) *op.Node {
	t.Helper()
	b, _ := op.Lookup("", "LogSoftmax")
	out, err := b(&op.Source{Type: "LogSoftmax", Opset: 13, Attr: at{"axis": int64(1)}, Outputs: 1,
		Inputs: []op.Input{{Name: "x", Node: x}}, Env: &op.Env{Graph: p.graph}})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// TestLoss checks the weighted sum of two losses against its definition and
// its gradient, back to the scores, against finite differences.
func TestLoss(t *testing.T) {
	for _, dev := range devices(t) {
		t.Run(dev.Name(), func(t *testing.T) {
			op.Oracle = dev
			t.Cleanup(func() { op.Oracle = nil })
			r := rand.New(rand.NewPCG(5, 6))
			p := newProgram()
			// Scores (N,C,H,W) at two resolutions; -1 is not labelled.
			shapes := [][]int{{2, 4, 3, 5}, {2, 4, 2, 2}}
			weights := []float32{1, 0.4}
			var scores, losses []*op.Node
			var values []array
			want := [3]float64{}
			for k, s := range shapes {
				v := input{shape: s, kind: normal}.draw(r)
				x := p.leaf([]string{"scores", "deep"}[k], v)
				pixels := s[2] * s[3]
				labels := make([]int32, s[0]*pixels)
				for i := range labels {
					labels[i] = int32(r.IntN(s[1]+1)) - 1
				}
				loss, correct, labelled := nll(v.data, labels, s[1], pixels)
				want[0] += float64(weights[k]) * loss / labelled
				want[1] += float64(weights[k]) * correct
				want[2] += float64(weights[k]) * labelled
				n, err := op.NLL(p.logSoftmax(t, x), p.label([]string{"labels", "deep labels"}[k], []int{s[0], s[2], s[3]}, labels), -1)
				if err != nil {
					t.Fatal(err)
				}
				scores, values, losses = append(scores, x), append(values, v), append(losses, n)
			}
			total, err := op.WeightedSum(weights, losses...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.run(total)
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range want {
				if d := math.Abs(float64(got[0][i]) - w); d > 1e-6*math.Abs(w) {
					t.Errorf("element %d is %g, want %g", i, got[0][i], w)
				}
			}
			// Only the loss has a gradient: the counts are steps.
			slice, _ := op.Lookup("", "Slice")
			first, err := slice(&op.Source{Type: "Slice", Opset: 9, Outputs: 1, Env: &op.Env{Graph: p.graph},
				Attr: at{"starts": list[int64](0), "ends": list[int64](1)}, Inputs: []op.Input{{Name: "total", Node: total}}})
			if err != nil {
				t.Fatal(err)
			}
			differentiate(t, p, r, first[0], scores, values, false)
		})
	}
}

// TestNLLGradientWithLogSoftmax checks that the gradient of NLL through LogSoftmax
// is one operator where nothing else reads the log-probabilities, and the same
// numbers as those of the two operators where two losses of half the weight do.
func TestNLLGradientWithLogSoftmax(t *testing.T) {
	for _, dev := range devices(t) {
		t.Run(dev.Name(), func(t *testing.T) {
			op.Oracle = dev
			t.Cleanup(func() { op.Oracle = nil })
			r := rand.New(rand.NewPCG(7, 8))
			shape := []int{2, 5, 3, 4}
			p := newProgram()
			values := input{shape: shape, kind: normal}.draw(r)
			labels := make([]int32, 2*3*4)
			for i := range labels {
				labels[i] = int32(r.IntN(6)) - 1
			}
			label := p.label("labels", []int{2, 3, 4}, labels)
			seed := p.leaf("seed", array{[]int{3}, []float32{0.75, 5, 5}})
			gradient := func(name, want string, weights ...float32) []float32 {
				t.Helper()
				scores := p.leaf(name, values)
				logprob := p.logSoftmax(t, scores)
				var losses []*op.Node
				for range weights {
					n, err := op.NLL(logprob, label, -1)
					if err != nil {
						t.Fatal(err)
					}
					losses = append(losses, n)
				}
				loss, err := op.WeightedSum(weights, losses...)
				if err != nil {
					t.Fatal(err)
				}
				grads, err := gradients(loss, seed, []*op.Node{scores})
				if err != nil {
					t.Fatal(err)
				}
				if got := grads[scores].Op().(*op.Op).Name(); got != want {
					t.Errorf("%s: the gradient is made by %s, want %s", name, got, want)
				}
				out, err := p.run(grads[scores])
				if err != nil {
					t.Fatal(err)
				}
				return out[0]
			}
			one := gradient("alone", "LogSoftmax + NLLLoss.dx", 1)
			two := gradient("twice", "LogSoftmax.dx", 0.5, 0.5)
			for i, v := range one {
				unlabelled := labels[i/60*12+i%12] < 0
				if d := math.Abs(float64(v - two[i])); d > 1e-7 || unlabelled != (v == 0) {
					t.Errorf("element %d is %v, of two operators %v; unlabelled: %v", i, v, two[i], unlabelled)
				}
			}
		})
	}
}

// TestLossGradients checks the gradient of every loss back to the scores, through
// LogSoftmax, against finite differences. The scores of the losses that order
// pixels lie so far apart that no step changes the order.
func TestLossGradients(t *testing.T) {
	weights := []float32{0.5, 1, 2}
	for _, dev := range devices(t) {
		t.Run(dev.Name(), func(t *testing.T) {
			op.Oracle = dev
			t.Cleanup(func() { op.Oracle = nil })
			for _, loss := range []kernel.Loss{
				kernel.CrossEntropy{}, kernel.CrossEntropy{Weights: weights, Smoothing: 0.1}, kernel.Dice{Smooth: 1},
				kernel.Focal{Gamma: 2, Alpha: weights}, kernel.Focal{Gamma: 0.5},
				kernel.OHEM{Threshold: 0.2, MinKept: 3}, kernel.Lovasz{},
			} {
				t.Run(fmt.Sprintf("%T%+v", loss, loss), func(t *testing.T) {
					r := rand.New(rand.NewPCG(1, 2))
					p := newProgram()
					v := array{[]int{1, 3, 2, 3}, make([]float32, 18)}
					for i, k := range r.Perm(18) {
						v.data[i] = 0.3 * (float32(k) - 8.5)
					}
					scores := p.leaf("scores", v)
					labels := p.label("labels", []int{1, 2, 3}, []int32{0, 2, -1, 2, 0, 0}) // no pixel of class 1
					out, err := op.LossOf(loss, p.logSoftmax(t, scores), labels, -1)
					if err != nil {
						t.Fatal(err)
					}
					slice, _ := op.Lookup("", "Slice")
					first, err := slice(&op.Source{Type: "Slice", Opset: 9, Outputs: 1, Env: &op.Env{Graph: p.graph},
						Attr: at{"starts": list[int64](0), "ends": list[int64](1)}, Inputs: []op.Input{{Name: "loss", Node: out}}})
					if err != nil {
						t.Fatal(err)
					}
					differentiate(t, p, r, first[0], []*op.Node{scores}, []array{v}, false)
				})
			}
		})
	}
}

// TestCrossEntropyAgainstPyTorch compares with cross_entropy of PyTorch 2.6 in
// float64, ignore_index -1: loss and the first elements of its gradient.
func TestCrossEntropyAgainstPyTorch(t *testing.T) {
	const tolerance = 1e-6
	weights := []float32{0.5, 1, 2}
	for _, c := range []struct {
		loss     kernel.CrossEntropy
		value    float64
		gradient []float64
	}{
		{kernel.CrossEntropy{}, 1.9852536915356496,
			[]float64{-0.160813495507, 0.110873492629, 0, 0.110873492629, 0.11756408545, 0.040788078509}},
		{kernel.CrossEntropy{Weights: weights}, 1.767143872437089,
			[]float64{-0.060305060815, 0.166310238944, 0, 0.083155119472, 0.044086532044, 0.061182117764}},
		{kernel.CrossEntropy{Smoothing: 0.1}, 1.9463648026467608,
			[]float64{-0.149702384396, 0.105317937074, 0, 0.105317937074, 0.112008529894, 0.035232522954}},
		{kernel.CrossEntropy{Weights: weights, Smoothing: 0.1}, 1.7287225165360827,
			[]float64{-0.05584573559, 0.157297312321, 0, 0.082457704796, 0.045798069649, 0.05446619619}},
	} {
		op.Oracle = native.New(2)
		t.Cleanup(func() { op.Oracle = nil })
		p := newProgram()
		v := array{[]int{2, 3, 2, 2}, make([]float32, 24)}
		for i := range v.data {
			v.data[i] = float32((7*i+3)%16-8) / 4
		}
		scores := p.leaf("scores", v)
		out, err := op.LossOf(c.loss, p.logSoftmax(t, scores), p.label("labels", []int{2, 2, 2}, []int32{0, 2, -1, 1, 2, 2, 0, -1}), -1)
		if err != nil {
			t.Fatal(err)
		}
		grads, err := gradients(out, p.leaf("seed", array{[]int{3}, []float32{1, 0, 0}}), []*op.Node{scores})
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.run(out, grads[scores])
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(got[0][0])-c.value) > tolerance {
			t.Errorf("%+v: %v, want %v", c.loss, got[0][0], c.value)
		}
		for i, want := range c.gradient {
			if math.Abs(float64(got[1][i])-want) > tolerance {
				t.Errorf("%+v: gradient %d is %v, want %v", c.loss, i, got[1][i], want)
			}
		}
	}
}

// nll sums the negative log-likelihood of labels under scores (N,C,P), and
// counts correct and labelled pixels.
func nll(scores []float32, labels []int32, classes, pixels int) (loss, correct, labelled float64) {
	for i, l := range labels {
		if l < 0 {
			continue
		}
		score := func(c int) float64 { return float64(scores[(i/pixels*classes+c)*pixels+i%pixels]) }
		sum, best := 0.0, 0
		for c := range classes {
			sum += math.Exp(score(c))
			if score(c) > score(best) {
				best = c
			}
		}
		loss += math.Log(sum) - score(int(l))
		labelled++
		if best == int(l) {
			correct++
		}
	}
	return loss, correct, labelled
}

// TestLossRefuses checks shapes and types that do not fit.
func TestLossRefuses(t *testing.T) {
	p := newProgram()
	scores := p.leaf("scores", array{[]int{1, 2, 3, 4}, make([]float32, 24)})
	if _, err := op.NLL(scores, p.label("labels", []int{1, 4, 3}, make([]int32, 12)), -1); err == nil {
		t.Error("labels (1,4,3) pass for scores (1,2,3,4)")
	}
	if _, err := op.NLL(scores, p.leaf("float labels", array{[]int{1, 3, 4}, make([]float32, 12)}), -1); err == nil {
		t.Error("float labels pass")
	}
	if _, err := op.LossOf(kernel.Lovasz{}, scores, p.label("turned labels", []int{1, 4, 3}, make([]int32, 12)), -1); err == nil {
		t.Error("labels (1,4,3) pass for a Lovasz loss of scores (1,2,3,4)")
	}
	if _, err := op.WeightedSum([]float32{1}, scores, scores); err == nil {
		t.Error("one weight passes for two losses")
	}
	if _, err := op.WeightedSum([]float32{1}, scores); err == nil {
		t.Error("scores pass as a loss")
	}
	if _, err := op.AddN(); err == nil {
		t.Error("an empty sum passes")
	}
}

// TestSecondDerivatives differentiates the gradients of the operators that are
// linear in each of their operands.
func TestSecondDerivatives(t *testing.T) {
	for _, dev := range devices(t) {
		t.Run(dev.Name(), func(t *testing.T) {
			op.Oracle = dev
			t.Cleanup(func() { op.Oracle = nil })
			img := x(2, 3, 5, 6).of(normal)
			for _, c := range []gradientCase{
				{op: "Conv", attrs: at{"strides": list[int64](2, 1), "pads": list[int64](1, 0, 1, 1)}, inputs: list(img, x(4, 3, 3, 2).of(normal))},
				{op: "Mul", inputs: list(img, x(3, 1, 1).of(normal))},
				{op: "MatMul", inputs: list(x(2, 3, 4).of(normal), x(2, 4, 5).of(normal))},
				{op: "Gather", attrs: at{"axis": int64(1)}, inputs: list(img, ints(2, 0, 0))},
				{op: "Slice", inputs: list(img, ints(4), ints(-100), ints(2), ints(-2))},
				{op: "Pad", inputs: list(img, ints(0, 0, 1, 2, 0, 1, 0, 3))},
				{op: "Resize", attrs: at{"mode": "linear"}, inputs: list(img, absent(), absent(), ints(2, 3, 8, 4))},
				{op: "Transpose", attrs: at{"perm": list[int64](0, 2, 3, 1)}, inputs: list(img)},
				{op: "ReduceMean", attrs: at{"axes": list[int64](2, 3)}, inputs: list(img)},
			} {
				t.Run(c.name(), func(t *testing.T) {
					r := rand.New(rand.NewPCG(8, 9))
					p := newProgram()
					values := make([]array, len(c.inputs))
					for i, in := range c.inputs {
						if in.leaf() {
							values[i] = in.draw(r)
						}
					}
					y, leaves, err := c.build(p, values)
					if err != nil {
						t.Fatal(err)
					}
					seedValue := input{shape: append([]int{}, y.Shape()...), kind: normal}.draw(r)
					seed := p.leaf("first seed", seedValue)
					grads, err := gradients(y, seed, nil)
					if err != nil {
						t.Fatal(err)
					}
					for i, l := range leaves {
						if l == nil {
							continue
						}
						// The gradient by one operand is linear in the incoming
						// gradient and in the other operand.
						by, at := []*op.Node{seed}, []array{seedValue}
						if k := 1 - i; len(leaves) == 2 && leaves[k] != nil {
							by, at = append(by, leaves[k]), append(at, values[k])
						}
						differentiate(t, p, r, grads[l], by, at, true)
					}
				})
			}
		})
	}
}
