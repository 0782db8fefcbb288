package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
	"github.com/graft-onnx/graft/onnx"
)

// kind says how the values of an input are drawn.
type kind uint8

const (
	// grid draws the points (k+1/2)/20 around zero, each once, in random
	// order: no value lies at a corner (multiples of 1/20) and no two are near
	// each other, so a small step crosses no corner.
	grid     kind = iota
	shifted       // grid moved by 1/40: apart from every grid value
	positive      // 1/2 to 2
	normal        // standard normal
	index         // integers, given in ints
	floats        // constants, given in list
)

// input describes one operand of a gradient case.
type input struct {
	shape []int
	kind  kind
	ints  []int64
	list  []float32
}

func x(shape ...int) input        { return input{shape: append([]int{}, shape...)} }
func (i input) of(k kind) input   { i.kind = k; return i }
func ints(v ...int64) input       { return input{kind: index, ints: v, shape: []int{len(v)}} }
func consts(v ...float32) input   { return input{kind: floats, list: v, shape: []int{len(v)}} }
func absent() input               { return input{} }
func (i input) present() bool     { return i.shape != nil }
func list[T any](v ...T) []T      { return v }
func scalarIndex(v int64) input   { return input{kind: index, ints: []int64{v}, shape: []int{}} }
func scalarConst(v float32) input { return input{kind: floats, list: []float32{v}, shape: []int{}} }
func (i input) leaf() bool        { return i.present() && i.kind != index && i.kind != floats }

func (i input) draw(r *rand.Rand) array {
	n := kernel.Len(i.shape)
	a := array{i.shape, make([]float32, n)}
	for k, p := range r.Perm(n) {
		switch i.kind {
		case grid:
			a.data[k] = (float32(p-n/2) + 0.5) / 20
		case shifted:
			a.data[k] = float32(p-n/2) / 20
		case positive:
			a.data[k] = 0.5 + 1.5*r.Float32()
		default:
			a.data[k] = float32(r.NormFloat64())
		}
	}
	return a
}

// gradientCase is one operator with its inputs.
type gradientCase struct {
	op      string // "domain.Type" or "Type"
	opset   int
	attrs   op.Attributes
	inputs  []input
	outputs int
	train   bool
	// linear operators are checked with a step of 1 to 1e-5, others by
	// Richardson's extrapolation to 1e-3, relative to the sum of the absolute
	// terms of the derivative; float32 rounding of the outputs comes on top.
	linear bool
	fixed  []int // inputs that have no gradient
}

// name tells the case apart from the others.
func (c gradientCase) name() string {
	name := c.op
	if c.opset > 0 {
		name += fmt.Sprintf("-%d", c.opset)
	}
	for _, in := range c.inputs {
		name += fmt.Sprint(in.shape)
		if in.ints != nil {
			name += fmt.Sprint(in.ints)
		}
		if in.list != nil {
			name += fmt.Sprint(in.list)
		}
	}
	if len(c.attrs) > 0 {
		name += fmt.Sprint(c.attrs)
	}
	return name
}

// build applies the builder of a case to a program; it returns the first
// output and the leaves.
func (c gradientCase) build(p *program, values []array) (*op.Node, []*op.Node, error) {
	domain, typ := "", c.op
	if len(c.op) > 6 && c.op[:6] == "graft." {
		domain, typ = "graft", c.op[6:]
	}
	b, ok := op.Lookup(domain, typ)
	if !ok {
		return nil, nil, fmt.Errorf("no builder")
	}
	s := &op.Source{Name: c.op, Type: typ, Domain: domain, Opset: c.opset, Attr: c.attrs, Outputs: max(c.outputs, 1),
		Env: &op.Env{Training: c.train, Graph: p.graph}}
	if s.Opset == 0 {
		s.Opset = 17
	}
	leaves := make([]*op.Node, len(c.inputs))
	for i, in := range c.inputs {
		name := fmt.Sprintf("input%d", i)
		switch {
		case !in.present():
			s.Inputs = append(s.Inputs, op.Input{})
		case in.kind == index:
			s.Inputs = append(s.Inputs, op.Input{Name: name, Const: onnx.NewInts(name, in.shape, in.ints)})
		case in.kind == floats:
			s.Inputs = append(s.Inputs, op.Input{Name: name, Const: onnx.NewFloats(name, in.shape, in.list)})
		default:
			leaves[i] = p.leaf(name, values[i])
			s.Inputs = append(s.Inputs, op.Input{Name: name, Node: leaves[i]})
		}
	}
	out, err := b(s)
	if err != nil {
		return nil, nil, err
	}
	// All the outputs take part, so that the gradient of each is checked.
	var parts []*op.Node
	for _, o := range out {
		if o != nil {
			parts = append(parts, o)
		}
	}
	if len(parts) == 1 {
		return parts[0], leaves, nil
	}
	cat, _ := op.Lookup("", "Concat")
	join := &op.Source{Type: "Concat", Opset: 17, Attr: op.Attributes{"axis": c.attrs["axis"]}, Outputs: 1, Env: s.Env}
	for _, o := range parts {
		join.Inputs = append(join.Inputs, op.Input{Name: "part", Node: o})
	}
	joined, err := cat(join)
	if err != nil {
		return nil, nil, err
	}
	return joined[0], leaves, nil
}

// check differentiates the operator by every input that has a gradient.
func (c gradientCase) check(t *testing.T) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, uint64(len(c.op))))
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
	fixed := map[int]bool{}
	for _, i := range c.fixed {
		fixed[i] = true
	}
	var wanted []*op.Node
	var at []array
	for i, l := range leaves {
		if l != nil && !fixed[i] {
			wanted = append(wanted, l)
			at = append(at, values[i])
		}
	}
	differentiate(t, p, r, y, wanted, at, c.linear)
}

// differentiate compares the symbolic gradient of y by every leaf, along a
// random direction, with finite differences; values holds what the leaves are.
func differentiate(t *testing.T, p *program, r *rand.Rand, y *op.Node, leaves []*op.Node, values []array, linear bool) {
	t.Helper()
	seedValue := input{shape: []int(y.Shape()), kind: normal}.draw(r)
	seed := p.leaf(fmt.Sprintf("seed%d", len(p.values)), seedValue)
	grads, err := gradients(y, seed, leaves)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range leaves {
		got, err := p.run(grads[l])
		if err != nil {
			t.Fatalf("gradient by input %d: %v", i, err)
		}
		direction := make([]float32, len(values[i].data))
		var want, scale float64
		for k := range direction {
			direction[k] = 2*r.Float32() - 1
			want += float64(got[0][k]) * float64(direction[k])
			scale += math.Abs(float64(got[0][k]) * float64(direction[k]))
		}
		noise := 0.0 // how far float32 rounding may move the sum
		along := func(h float32) float64 {
			moved := make([]float32, len(direction))
			for k, v := range values[i].data {
				moved[k] = v + h*direction[k]
			}
			p.set(l, moved)
			out, err := p.run(y)
			if err != nil {
				t.Fatal(err)
			}
			sum, squares := 0.0, 0.0
			for k, v := range out[0] {
				term := float64(v) * float64(seedValue.data[k])
				sum += term
				squares += term * term
			}
			noise = max(noise, math.Sqrt(squares)*0x1p-23)
			return sum
		}
		var numeric, tolerance float64
		if linear {
			numeric, tolerance = (along(1)-along(-1))/2, 1e-5*scale+noise
		} else {
			const h = 0.005
			numeric, tolerance = (8*(along(h)-along(-h))-(along(2*h)-along(-2*h)))/(12*h), 1e-3*scale+noise/h
		}
		p.set(l, values[i].data)
		if scale == 0 && len(direction) > 1 {
			t.Errorf("input %d: the gradient is zero", i)
		}
		if d := math.Abs(numeric - want); !(d <= tolerance) {
			t.Errorf("input %d: derivative %.6g, finite differences %.6g (difference %.2g, limit %.2g)", i, want, numeric, d, tolerance)
		}
	}
}

// TestGradients runs on every device.
func TestGradients(t *testing.T) {
	for _, dev := range devices(t) {
		t.Run(dev.Name(), func(t *testing.T) {
			op.Oracle = dev
			t.Cleanup(func() { op.Oracle = nil })
			for _, c := range gradientCases() {
				t.Run(c.name(), c.check)
			}
		})
	}
}

// TestEveryOperator makes sure that no operator goes without a gradient case.
func TestEveryOperator(t *testing.T) {
	without := map[string]string{
		"Floor": "a step", "Ceil": "a step", "Round": "a step", "Constant": "no inputs",
	}
	seen := map[string]bool{}
	for _, c := range gradientCases() {
		seen[c.op] = true
	}
	for _, name := range op.Supported() {
		if seen[name] == (without[name] != "") {
			t.Errorf("%s: gradient case %v, and reason for none %q", name, seen[name], without[name])
		}
	}
	for _, name := range []string{"Floor", "Ceil", "Round"} {
		p := newProgram()
		c := gradientCase{op: name, inputs: list(x(3))}
		y, leaves, err := c.build(p, []array{{[]int{3}, []float32{-1.5, 0.5, 2}}})
		if err != nil {
			t.Fatal(err)
		}
		grads, err := gradients(y, p.leaf("seed", array{[]int{3}, make([]float32, 3)}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if grads[leaves[0]] != nil {
			t.Errorf("%s has a gradient", name)
		}
	}
}
