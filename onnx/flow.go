package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// flow is how an image runs through a graph: which values are maps of it, and
// at which stride.
type flow struct {
	*analysis
	input string // the image
}

// flowSide is the side of the image that strides are measured with: large, so
// that a few pixels lost at the borders do not count.
const flowSide = 4096

// imageInput returns the graph's only input that has to be fed, which must be
// a picture (N,C,H,W).
func imageInput(m *Model) (*pb.ValueInfoProto, error) {
	in := m.Inputs()
	fail := func(format string, args ...any) error {
		return &Error{File: m.Path, Err: ErrUnsupported, Msg: fmt.Sprintf(format, args...),
			Remedy: "a backbone has one input, a picture (N,C,H,W)"}
	}
	if len(in) != 1 {
		return nil, fail("the model has %d inputs", len(in))
	}
	info := declared(in[0])
	if !info.Known || len(info.Dims) != 4 || !IsFloat(info.DType) {
		return nil, fail("input %q is %v", in[0].GetName(), info)
	}
	if c := info.Dims[1].Size; c != 1 && c != 3 && c != 4 {
		return nil, fail("input %q is %v: 1, 3 or 4 channels were expected on axis 1", in[0].GetName(), info)
	}
	return in[0], nil
}

// newFlow measures a graph without functions. Nodes that fail (a classifier
// for one size only) do not stop it: what depends on them is unknown.
func newFlow(m *Model) (*flow, error) {
	in, err := imageInput(m)
	if err != nil {
		return nil, err
	}
	channels := int(declared(in).Dims[1].Size)
	a, err := newAnalysis(m, map[string][]int{in.GetName(): {1, channels, flowSide, flowSide}})
	if err != nil {
		return nil, err
	}
	a.lenient = true
	return &flow{a, in.GetName()}, a.run()
}

// stride returns how many pixels of the image lie between two elements of a
// map; 0 for values that are no maps.
func (f *flow) stride(name string) int {
	v := f.value(name)
	if !IsFloat(v.DType) || !v.Known || len(v.Dims) != 4 || v.proto != nil || v.data != nil {
		return 0
	}
	h, w := v.Dims[2].Size, v.Dims[3].Size
	// Below 8 the border decides more than the stride, and 1 is a global pool.
	if h < 8 || w < 8 || h > 2*flowSide {
		return 0
	}
	s := int(math.Round(flowSide / float64(h)))
	if s != int(math.Round(flowSide/float64(w))) {
		return 0
	}
	return s
}

// trunk returns the maps that every path from the image to the outputs passes,
// in order: the input of a residual block, but nothing within it. Paths are
// counted modulo two primes.
func (f *flow) trunk() []string {
	const p, q = 2147483629, 2147483587
	type paths [2]uint64
	add := func(a, b paths) paths { return paths{(a[0] + b[0]) % p, (a[1] + b[1]) % q} }
	floats := func(name string) bool {
		v := f.value(name)
		return name != "" && v.proto == nil && (IsFloat(v.DType) || v.DType == pb.TensorProto_UNDEFINED)
	}
	from := map[string]paths{f.input: {1, 1}}
	for _, n := range f.nodes {
		var sum paths
		for _, in := range n.GetInput() {
			if floats(in) {
				sum = add(sum, from[in])
			}
		}
		for _, o := range n.GetOutput() {
			if floats(o) {
				from[o] = sum
			}
		}
	}
	to := map[string]paths{}
	for _, o := range f.m.GetGraph().GetOutput() {
		to[o.GetName()] = add(to[o.GetName()], paths{1, 1})
	}
	for _, n := range slices.Backward(f.nodes) {
		var sum paths
		for _, o := range n.GetOutput() {
			if floats(o) {
				sum = add(sum, to[o])
			}
		}
		for _, in := range n.GetInput() {
			if floats(in) {
				to[in] = add(to[in], sum)
			}
		}
	}
	all := to[f.input]
	var names []string
	note := func(name string) {
		a, b := from[name], to[name]
		if all != (paths{}) && paths([2]uint64{a[0] * b[0] % p, a[1] * b[1] % q}) == all && f.stride(name) > 0 {
			names = append(names, name)
		}
	}
	for _, n := range f.nodes {
		for _, o := range n.GetOutput() {
			if floats(o) {
				note(o)
			}
		}
	}
	return names
}
