package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/op"
)

// TestRefuses checks that nodes which make no sense are refused by an error
// that says why.
func TestRefuses(t *testing.T) {
	img := x(2, 3, 5, 6)
	for _, c := range []struct {
		gradientCase
		want string
	}{
		{gradientCase{op: "Conv", inputs: list(img)}, "input 1 is missing"},
		{gradientCase{op: "Conv", inputs: list(img, x(4, 2, 3, 3))}, "want 2 input channels"},
		{gradientCase{op: "Conv", inputs: list(img, x(4, 3, 3))}, "does not fit weights"},
		{gradientCase{op: "Conv", inputs: list(x(3), x(3))}, "does not fit weights"},
		{gradientCase{op: "Conv", attrs: at{"group": int64(2)}, inputs: list(img, x(4, 3, 3, 3))}, "group 2 does not divide"},
		{gradientCase{op: "Conv", attrs: at{"group": "2"}, inputs: list(img, x(4, 3, 3, 3))}, "attribute group has type string"},
		{gradientCase{op: "Conv", attrs: at{"strides": list[int64](0, 1)}, inputs: list(img, x(4, 3, 3, 3))}, "strides holds 0"},
		{gradientCase{op: "Conv", attrs: at{"pads": list[int64](1, 1)}, inputs: list(img, x(4, 3, 3, 3))}, "pads has 2 values, want 4"},
		{gradientCase{op: "Conv", inputs: list(img, x(4, 3, 9, 9))}, "does not fit into 5"},
		{gradientCase{op: "Conv", inputs: list(img, x(4, 3, 3, 3), x(5))}, "bias has shape (5)"},
		{gradientCase{op: "Conv", attrs: at{"auto_pad": "SAME"}, inputs: list(img, x(4, 3, 3, 3))}, `auto_pad "SAME"`},
		{gradientCase{op: "Conv", inputs: list(x(1, 2, 3, 4, 5), x(1, 2, 1, 1, 1))}, "3 spatial axes are not supported"},
		{gradientCase{op: "BatchNormalization", inputs: list(img, x(3), x(3), x(4), x(3))}, "input 3 has shape (4), want (3)"},
		{gradientCase{op: "MaxPool", inputs: list(img)}, "kernel_shape"},
		{gradientCase{op: "MaxPool", attrs: at{"kernel_shape": list[int64](2, 2), "pads": list[int64](2, 0, 0, 0)}, inputs: list(img)}, "as large as the window"},
		{gradientCase{op: "Add", inputs: list(img, x(4))}, "do not broadcast"},
		{gradientCase{op: "PRelu", inputs: list(x(3), img.of(normal))}, "does not broadcast"},
		{gradientCase{op: "Concat", attrs: at{"axis": int64(4)}, inputs: list(img, img)}, "axis 4 is out of range"},
		{gradientCase{op: "Concat", attrs: at{"axis": int64(1)}, inputs: list(img, x(2, 3, 5, 5))}, "do not join"},
		{gradientCase{op: "Reshape", inputs: list(img, ints(7, -1))}, "does not hold"},
		{gradientCase{op: "Reshape", inputs: list(img, ints(-1, -1))}, "not valid"},
		{gradientCase{op: "Reshape", inputs: list(img, x(2))}, "must be a constant"},
		{gradientCase{op: "Reshape", inputs: list(img, ints(1<<40, 1<<40))}, "not valid"},
		{gradientCase{op: "Transpose", attrs: at{"perm": list[int64](0, 1, 1, 2)}, inputs: list(img)}, "named twice"},
		{gradientCase{op: "Slice", inputs: list(img, ints(3), ints(3), ints(0))}, "slice is empty"},
		{gradientCase{op: "Slice", inputs: list(img, ints(0), ints(3), ints(0), ints(0))}, "step is 0"},
		{gradientCase{op: "Split", attrs: at{"axis": int64(1)}, outputs: 2, inputs: list(img, ints(1, 3))}, "does not share out 3"},
		{gradientCase{op: "Expand", inputs: list(img, ints(1<<40))}, "too large"},
		{gradientCase{op: "Pad", inputs: list(img, ints(0, 0, 1<<40, 0, 0, 0, 0, 0))}, "out of range"},
		{gradientCase{op: "Pad", inputs: list(img, ints(0, 0, -5, 0, 0, 0, 0, 0))}, "leave nothing"},
		{gradientCase{op: "Pad", attrs: at{"mode": "mirror"}, inputs: list(img, ints(0, 0, 1, 0, 0, 0, 0, 0))}, `mode "mirror"`},
		{gradientCase{op: "Resize", inputs: list(img, absent(), consts(1, 1, 0, 1))}, "scale 0"},
		{gradientCase{op: "Resize", inputs: list(img, absent(), consts(1, 1, 1e9, 1))}, "too large"},
		{gradientCase{op: "Resize", inputs: list(img, absent(), consts(1, 1, 0.1, 1))}, "becomes empty"},
		{gradientCase{op: "Resize", attrs: at{"mode": "area"}, inputs: list(img, absent(), consts(1, 1, 2, 2))}, `mode is "area"`},
		{gradientCase{op: "Resize", inputs: list(img, absent(), absent(), ints(2, 3, 1<<29, 1<<29))}, "too large"},
		{gradientCase{op: "Gather", attrs: at{"axis": int64(1)}, inputs: list(img, ints(3))}, "index 3 is out of range"},
		{gradientCase{op: "MatMul", inputs: list(x(2, 3), x(4, 5))}, "do not multiply"},
		{gradientCase{op: "Gemm", inputs: list(x(2, 3), x(3, 4), x(3))}, "does not broadcast to (2,4)"},
		{gradientCase{op: "Dropout", train: true, inputs: list(img, scalarConst(1))}, "ratio 1 is out of range"},
		{gradientCase{op: "Cast", attrs: at{"to": int64(7)}, inputs: list(img)}, "INT64"},
		{gradientCase{op: "ReduceMean", attrs: at{"axes": list[int64](5)}, inputs: list(img)}, "axis 5 is out of range"},
		{gradientCase{op: "DepthToSpace", attrs: at{"blocksize": int64(2)}, inputs: list(img)}, "do not divide"},
		{gradientCase{op: "graft.AdaptiveAveragePool", attrs: at{"output_size": list[int64](0, 1)}, inputs: list(img)}, "output_size holds 0"},
	} {
		t.Run(c.name(), func(t *testing.T) {
			values := make([]array, len(c.inputs))
			for i, in := range c.inputs {
				if in.leaf() {
					values[i] = in.draw(rand.New(rand.NewPCG(1, 2)))
				}
			}
			_, _, err := c.build(newProgram(), values)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// TestSurvives changes attributes and constants of sound cases at random: the
// builders either refuse them or build what runs, and never panic.
func TestSurvives(t *testing.T) {
	op.Oracle = native.New(1)
	t.Cleanup(func() { op.Oracle = nil })
	cases := gradientCases()
	r := rand.New(rand.NewPCG(11, 12))
	numbers := []int64{-1, 0, 1, 2, 3, 4, 5, 7, 64, -2, -3, -7, math.MaxInt64, math.MinInt64, 1 << 31, 1 << 40}
	reals := []float32{0, -1, 1, 0.5, 1e-30, 1e30, float32(math.Inf(1)), float32(math.NaN()), 3}
	pick := func() int64 { return numbers[r.IntN(len(numbers))] }
	built := 0
	for range 4000 {
		c := cases[r.IntN(len(cases))]
		c.attrs = change(c.attrs, r, pick, reals)
		c.inputs = append([]input(nil), c.inputs...)
		for i, in := range c.inputs {
			switch {
			case in.kind == index && r.IntN(3) == 0 && len(in.ints) > 0:
				c.inputs[i].ints = append([]int64(nil), in.ints...)
				c.inputs[i].ints[r.IntN(len(in.ints))] = pick()
			case in.kind == floats && r.IntN(3) == 0:
				c.inputs[i].list = append([]float32(nil), in.list...)
				c.inputs[i].list[r.IntN(len(in.list))] = reals[r.IntN(len(reals))]
			case in.leaf() && r.IntN(6) == 0 && len(in.shape) > 0:
				c.inputs[i].shape = append([]int(nil), in.shape...)
				c.inputs[i].shape[r.IntN(len(in.shape))] = 1 + r.IntN(7)
			case in.leaf() && r.IntN(12) == 0 && len(in.shape) > 0:
				c.inputs[i].shape = in.shape[1:]
			}
		}
		if r.IntN(10) == 0 {
			c.inputs = c.inputs[:len(c.inputs)-1]
		}
		if survives(t, c, r) {
			built++
		}
	}
	if built < 500 {
		t.Errorf("only %d changed cases could be built", built)
	}
}

// change changes one attribute.
func change(attrs op.Attributes, r *rand.Rand, pick func() int64, reals []float32) op.Attributes {
	n := op.Attributes{}
	for k, v := range attrs {
		if r.IntN(2) == 0 {
			n[k] = v
			continue
		}
		switch v := v.(type) {
		case int64:
			n[k] = pick()
		case float32:
			n[k] = reals[r.IntN(len(reals))]
		case string:
			n[k] = []string{"SAME_UPPER", "linear", "nonsense", "cubic", "reflect", "tf_crop_and_resize"}[r.IntN(6)]
		case []int64:
			l := append([]int64(nil), v...)
			if len(l) > 0 {
				l[r.IntN(len(l))] = pick()
			}
			if r.IntN(6) == 0 {
				l = append(l, pick())
			}
			n[k] = l
		default:
			n[k] = v
		}
	}
	return n
}

// survives builds a case and runs it, with its gradient, where it is small.
func survives(t *testing.T, c gradientCase, r *rand.Rand) (built bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("%s: panic: %v", c.name(), p)
		}
	}()
	values := make([]array, len(c.inputs))
	for i, in := range c.inputs {
		if in.leaf() {
			values[i] = in.draw(r)
		}
	}
	p := newProgram()
	y, _, err := c.build(p, values)
	if err != nil {
		return false
	}
	if y.Shape().TotalSize() > 1<<16 {
		return true
	}
	seed := p.leaf("seed", input{shape: append([]int{}, y.Shape()...), kind: normal}.draw(r))
	grads, err := gradients(y, seed, nil)
	if err != nil {
		t.Fatalf("%s: %v", c.name(), err)
	}
	for n, g := range grads {
		if n.Op() == nil {
			if _, err := p.run(y, g); err != nil {
				t.Fatalf("%s: %v", c.name(), err)
			}
		}
	}
	return true
}

func ExampleLookup() {
	_, conv := op.Lookup("", "Conv")
	_, pool := op.Lookup("graft", "AdaptiveAveragePool")
	_, loop := op.Lookup("", "Loop")
	fmt.Println(conv, pool, loop)
	// Output: true true false
}
