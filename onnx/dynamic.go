package onnx

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Dynamic makes the batch size, the height and the width of a model's picture
// free: they are called N, H and W. What the exporter baked in for one size is
// computed instead: Reshape to a fixed shape, Resize to a fixed size (that of
// the picture or of an earlier map, or a whole multiple of its input), and an AveragePool over
// exactly the whole map becomes a GlobalAveragePool. The output shapes are
// restated.
//
// A layer that fits one size only, such as a matrix product over a flattened
// map, fails with an *Error that names it.
func Dynamic(m *Model) (*Model, error) {
	out, stuck, err := freed(m)
	if err != nil {
		return nil, err
	}
	for _, n := range out.Graph.Node {
		if err := stuck[n.Output[0]]; err != nil {
			return nil, err
		}
	}
	return restated(out)
}

// freed is Dynamic up to the layers that fit one size only: it returns their
// errors by the name of the first output.
func freed(m *Model) (*Model, map[string]error, error) {
	flat, err := Inline(m, IsKernelFunction)
	if err != nil {
		return nil, nil, err
	}
	dropStoredInputs(flat)
	flat.IrVersion = max(flat.IrVersion, irFreeInitializers)
	in, err := imageInput(flat)
	if err != nil {
		return nil, nil, err
	}
	name := in.GetName()
	fixed := declared(in)
	baked, err := newAnalysis(flat, nil) // the sizes that the exporter saw
	if err != nil {
		return nil, nil, err
	}
	baked.lenient = true
	if err := baked.run(); err != nil {
		return nil, nil, err
	}
	free := []Dim{{Size: -1, Param: "N"}, fixed.Dims[1], {Size: -1, Param: "H"}, {Size: -1, Param: "W"}}
	for k, v := range flat.Graph.Input {
		if v.GetName() == name {
			flat.Graph.Input[k] = declare(name, Info{DType: fixed.DType, Dims: free, Known: true})
		}
	}
	flat.Graph.ValueInfo = nil
	for k, o := range flat.Graph.Output {
		flat.Graph.Output[k] = declare(o.GetName(), Info{DType: baked.value(o.GetName()).DType})
	}
	f := &freer{m: flat, baked: baked, image: name, taken: ValueNames(flat.Graph), stuck: map[string]error{}}
	return flat, f.stuck, f.run()
}

// freer replaces baked sizes. The nodes are visited in order with the symbolic
// shapes of the graph as changed so far.
type freer struct {
	m     *Model
	baked *analysis // at the size the exporter saw
	image string
	taken Names
	nodes []*pb.NodeProto
	stuck map[string]error // by first output
}

func (f *freer) run() error {
	a, err := newAnalysis(f.m, nil)
	if err != nil {
		return err
	}
	a.lenient = true
	order := a.nodes
	for _, n := range order {
		if len(n.GetOutput()) == 0 {
			return a.failure(n, ErrInvalid, "the node has no output")
		}
		before := len(f.nodes)
		changed, err := f.node(a, n)
		if err != nil {
			f.nodes = f.nodes[:before]
			f.stuck[n.GetOutput()[0]] = err
			changed = n
		}
		f.nodes = append(f.nodes, changed)
		a.nodes = f.nodes[before:]
		if err := a.run(); err != nil {
			return err
		}
	}
	f.m.Graph.Node = f.nodes
	return nil
}

// node returns the node to use instead of n; nodes it needs are added.
func (f *freer) node(a *analysis, n *pb.NodeProto) (*pb.NodeProto, error) {
	var x, was *value
	if len(n.GetInput()) > 0 {
		x, was = a.value(n.GetInput()[0]), f.baked.value(n.GetInput()[0])
	}
	if x == nil || !x.Known || !was.Known {
		return n, nil
	}
	if _, known := concreteDims(x.Dims); known {
		return n, nil // no part of the picture
	}
	from, known := concreteDims(was.Dims)
	if !known {
		return n, nil // free already
	}
	switch OpName(n) {
	case "Reshape":
		return f.reshape(a, n, x.Dims, from)
	case "Resize", "Upsample":
		return f.resize(a, n, from)
	case "Gemm", "MatMul":
		// A weight for the lengths of a flattened map.
		axis := len(x.Dims) - 1
		if OpName(n) == "Gemm" && AttrInt(n, "transA", 0) != 0 {
			axis = 0
		}
		if axis >= 0 && x.Dims[axis].Size < 0 && len(n.GetInput()) > 1 && a.value(n.GetInput()[1]).proto != nil {
			return nil, f.failure(n, "its weight fits an input of %v only", was.Dims)
		}
	case "AveragePool":
		kernel, pads := AttrInts(n, "kernel_shape", nil), AttrInts(n, "pads", nil)
		if len(from) == 4 && len(n.GetOutput()) == 1 && len(kernel) == 2 && from[2] > 1 && int(kernel[0]) == from[2] && int(kernel[1]) == from[3] &&
			!slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) {
			g := copyNode(n)
			g.OpType = "GlobalAveragePool"
			g.Attribute = nil
			return g, nil
		}
	}
	return n, nil
}

// reshape frees the target of a Reshape. Axes of input and output are matched
// in groups of equal size: an axis that alone makes up an axis of the input is
// kept (0) or computed, one that joins axes of the input is their product.
func (f *freer) reshape(a *analysis, n *pb.NodeProto, sym []Dim, from []int) (*pb.NodeProto, error) {
	out := f.baked.value(n.GetOutput()[0])
	to, known := concreteDims(out.Dims)
	if !known || !out.Known || len(n.GetInput()) < 2 {
		return n, nil
	}
	target, isConst := a.value(n.GetInput()[1]).known().ints()
	if !isConst || len(target) != len(to) || AttrInt(n, "allowzero", 0) != 0 {
		return n, nil // computed from shapes already
	}
	// sources[k] lists the axes of the input that axis k of the output is the
	// product of; nil where it is a fixed number.
	sources := make([][]int, len(to))
	i, k := 0, 0
	for i < len(from) && k < len(to) {
		i0, k0 := i, k
		p, q := from[i], to[k]
		i, k = i+1, k+1
		for p != q {
			switch {
			case p < q && i < len(from):
				p *= from[i]
				i++
			case q < p && k < len(to):
				q *= to[k]
				k++
			default:
				return n, nil // inference reports it
			}
		}
		axes := []int{}
		named := false
		for j := i0; j < i; j++ {
			axes = append(axes, j)
			named = named || sym[j].Size < 0
		}
		if !named {
			continue
		}
		// Within a group only one axis of the output may take what is free.
		at := -1
		for j := k0; j < k; j++ {
			if to[j] != 1 || k-k0 == 1 {
				if at >= 0 {
					return nil, f.failure(n, "it splits a free dimension of %v into %v", sym[i0:i], to[k0:k])
				}
				at = j
			}
		}
		if at < 0 {
			at = k0
		}
		sources[at] = axes
	}
	literal := make([]int64, len(to))
	rest := slices.Index(target, -1)
	computed := false
	for j := range to {
		literal[j] = int64(to[j])
		switch {
		case target[j] == -1:
			literal[j] = -1
		case sources[j] == nil:
		case len(sources[j]) == 1 && sources[j][0] == j:
			literal[j] = 0
		case rest < 0:
			literal[j], rest = -1, j
		default:
			computed = true
		}
	}
	if slices.Equal(literal, target) {
		return n, nil
	}
	n = copyNode(n)
	if !computed {
		n.Input[1] = f.store(a, n, literal)
		return n, nil
	}
	if f.m.Opset("") < 13 {
		return nil, f.failure(n, "its shape %v has to be computed, which needs opset 13", target)
	}
	shape := f.add(n, "Shape", "shape", n.Input[:1])
	var parts []string
	for j := range to {
		if sources[j] == nil || target[j] == -1 {
			parts = append(parts, f.store(a, n, []int64{literal[j]}))
			continue
		}
		part := ""
		for _, axis := range sources[j] {
			one := f.add(n, "Gather", "length", []string{shape, f.store(a, n, []int64{int64(axis)})}, IntAttr("axis", 0))
			if part == "" {
				part = one
			} else {
				part = f.add(n, "Mul", "product", []string{part, one})
			}
		}
		parts = append(parts, part)
	}
	n.Input[1] = f.add(n, "Concat", "target", parts, IntAttr("axis", 0))
	return n, nil
}

// resize frees a Resize that has sizes (opset 11 and later).
func (f *freer) resize(a *analysis, n *pb.NodeProto, from []int) (*pb.NodeProto, error) {
	if len(n.GetInput()) < 4 || n.GetInput()[3] == "" || len(from) != 4 || Attr(n, "axes") != nil {
		return n, nil
	}
	t := a.value(n.GetInput()[3]).known()
	if t == nil || t.len() != 4 {
		return n, nil
	}
	sizes := make([]int64, 4)
	for k := 2; k < 4; k++ {
		size := t.at(k)
		if size == nil {
			return n, nil
		}
		baked := false
		if sizes[k], baked = size.isConst(); !baked {
			return n, nil
		}
	}
	n = copyNode(n)
	if like := f.sized(a, sizes[2:]); like != "" {
		own := f.slice(a, n, f.add(n, "Shape", "shape", n.Input[:1]), 0, 2)
		whole := f.slice(a, n, f.add(n, "Shape", "target_shape", []string{like}), 2, 4)
		n.Input[3] = f.add(n, "Concat", "sizes", []string{own, whole}, IntAttr("axis", 0))
		return n, nil
	}
	if from[2] < 1 || from[3] < 1 || int(sizes[2])%from[2] != 0 || int(sizes[3])%from[3] != 0 {
		return nil, f.failure(n, "it resizes a map of %v to %v, which is neither the size of another map nor a whole multiple", from[2:], sizes[2:])
	}
	scales := NewFloats(f.taken.Fresh(NodeName(n)+"/scales"), []int{4},
		[]float32{1, 1, float32(int(sizes[2]) / from[2]), float32(int(sizes[3]) / from[3])})
	f.m.Graph.Initializer = append(f.m.Graph.Initializer, scales)
	if err := a.store(scales); err != nil {
		return nil, err
	}
	n.Input = []string{n.Input[0], n.Input[1], scales.GetName()}
	if f.m.Opset("") < 13 && n.Input[1] == "" {
		roi := NewFloats(f.taken.Fresh(NodeName(n)+"/roi"), []int{0}, nil)
		f.m.Graph.Initializer = append(f.m.Graph.Initializer, roi)
		if err := a.store(roi); err != nil {
			return nil, err
		}
		n.Input[1] = roi.GetName()
	}
	return n, nil
}

// sized returns the map that had a size when the model was exported: the
// picture, or the first one that changes with it; "" if there is none.
func (f *freer) sized(a *analysis, size []int64) string {
	fits := func(name string) bool {
		was, now := f.baked.value(name), a.value(name)
		return len(was.Dims) == 4 && was.Dims[2].Size == size[0] && was.Dims[3].Size == size[1] &&
			len(now.Dims) == 4 && now.Dims[2].Size < 0 && now.Dims[3].Size < 0
	}
	if fits(f.image) {
		return f.image
	}
	for _, n := range f.nodes {
		for _, o := range n.GetOutput() {
			if o != "" && fits(o) {
				return o
			}
		}
	}
	return ""
}

func (f *freer) slice(a *analysis, n *pb.NodeProto, of string, start, end int64) string {
	return f.add(n, "Slice", "part", []string{of, f.store(a, n, []int64{start}), f.store(a, n, []int64{end})})
}

// store adds a constant list for node n and returns its name.
func (f *freer) store(a *analysis, n *pb.NodeProto, list []int64) string {
	t := NewInts(f.taken.Fresh(NodeName(n)+"/constant"), []int{len(list)}, list)
	f.m.Graph.Initializer = append(f.m.Graph.Initializer, t)
	a.values[t.GetName()] = &value{proto: t, Info: Info{DType: pb.TensorProto_INT64, Dims: dimsOf(t.GetDims()), Known: true}}
	return t.GetName()
}

// add adds a node for node n and returns its output.
func (f *freer) add(n *pb.NodeProto, op, what string, inputs []string, attrs ...*pb.AttributeProto) string {
	name := f.taken.Fresh(NodeName(n) + "/" + what)
	f.nodes = append(f.nodes, &pb.NodeProto{OpType: op, Name: name, Input: slices.Clone(inputs), Output: []string{name}, Attribute: attrs})
	return name
}

func (f *freer) failure(n *pb.NodeProto, format string, args ...any) error {
	return &Error{File: f.m.Path, Node: NodeName(n), Op: OpName(n), Err: ErrUnsupported,
		Msg: "the picture's size is baked in: " + fmt.Sprintf(format, args...), Remedy: "export the model with dynamic height and width"}
}
