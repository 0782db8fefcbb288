package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Dim is one dimension of a tensor: a number, a name, or nothing known. Two
// dimensions with the same name are equal. Names are those of the model's
// inputs (N, H, W) and expressions of them ("floor((H+1)/2)").
type Dim struct {
	Size  int64  // -1 unknown
	Param string // name where Size is -1; may be empty
}

// String writes the dimension as a number, its name or "?".
func (d Dim) String() string {
	switch {
	case d.Size >= 0:
		return strconv.FormatInt(d.Size, 10)
	case d.Param != "":
		return d.Param
	}
	return "?"
}

// Info is what inference knows of one value.
type Info struct {
	DType pb.TensorProto_DataType // UNDEFINED if unknown
	Dims  []Dim
	Known bool // the rank is known: Dims has one entry for each axis
}

// String writes type and shape: "float32(N,64,floor(H/4),floor(W/4))".
func (i Info) String() string {
	if !i.Known {
		return DataTypeName(i.DType) + "(...)"
	}
	dims := make([]string, len(i.Dims))
	for k, d := range i.Dims {
		dims[k] = d.String()
	}
	return DataTypeName(i.DType) + "(" + strings.Join(dims, ",") + ")"
}

// UnsupportedError lists every node of a model whose operator is not known, to
// shape inference or to training, so that one run shows all that is missing.
type UnsupportedError struct {
	File  string
	Nodes []*Error // one a node, in graph order
}

// Error names each operator once, with the nodes that use it.
func (e *UnsupportedError) Error() string {
	var ops []string
	nodes := map[string][]string{}
	for _, n := range e.Nodes {
		if nodes[n.Op] == nil {
			ops = append(ops, n.Op)
		}
		nodes[n.Op] = append(nodes[n.Op], strconv.Quote(n.Node))
	}
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	b.WriteString("operators not supported: ")
	for i, op := range ops {
		if i > 0 {
			b.WriteString("; ")
		}
		names := nodes[op]
		more := ""
		if len(names) > 3 {
			more = fmt.Sprintf(" and %d more", len(names)-3)
			names = names[:3]
		}
		b.WriteString(op + " (node " + strings.Join(names, ", ") + more + ")")
	}
	b.WriteString("; `graft inspect FILE` lists what a file needs")
	return b.String()
}

// Unwrap makes errors.Is(err, ErrUnsupported) true.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }

// Infer returns type and shape of every value of the graph: inputs,
// initializers and node outputs, the values inside of inlined functions too.
// Symbolic dimensions of the inputs go through every operator, and integer
// values that are computed from shapes are followed, so that a Reshape to
// Concat(Shape(x)[0], -1) has a known result.
//
// Operators without a rule give an *UnsupportedError; the map is valid then,
// and what depends on such nodes is as the file declares it, or not Known.
func Infer(m *Model) (map[string]Info, error) {
	flat, err := Inline(m, IsKernelFunction)
	if err != nil {
		return nil, err
	}
	a, err := newAnalysis(flat, nil)
	if err != nil {
		return nil, err
	}
	err = a.run()
	var missing *UnsupportedError
	if err != nil && !errors.As(err, &missing) {
		return nil, err
	}
	infos := make(map[string]Info, len(a.values))
	for name, v := range a.values {
		infos[name] = v.Info
	}
	return infos, err
}

// value is one tensor of the graph under analysis.
type value struct {
	Info
	data  *tensor         // its elements where they are known, numbers or forms
	proto *pb.TensorProto // the stored tensor, for constants
	param bool            // a stored float tensor of the model, which training may change
}

// constantLimit is the largest number of elements that shape inference itself
// looks at: shapes, axes, scales.
const constantLimit = 4096

// known returns the elements of a small constant; nil if they are not known.
func (v *value) known() *tensor {
	if v == nil {
		return nil
	}
	if v.data == nil && v.proto != nil {
		if n, err := Len(v.proto); err == nil && n <= constantLimit {
			v.data, _ = readTensor(v.proto)
		}
	}
	return v.data
}

// analysis walks a graph without functions and gives every value its Info.
type analysis struct {
	*algebra
	m       *Model
	nodes   []*pb.NodeProto // topological order
	values  map[string]*value
	hints   map[string]Info     // what the file declares
	limit   int                 // elements up to which constants are computed
	lenient bool                // go on after a node that fails, knowing nothing of its outputs
	spent   int                 // elements computed so far
	after   func(c *call) error // called after each node whose rule succeeded
}

// newAnalysis reads inputs and initializers. sizes replaces the dimensions of
// inputs.
func newAnalysis(m *Model, sizes map[string][]int) (*analysis, error) {
	g := m.GetGraph()
	a := &analysis{algebra: newAlgebra(), m: m, values: map[string]*value{}, hints: map[string]Info{}, limit: constantLimit}
	for _, t := range g.GetInitializer() {
		if err := a.store(t); err != nil {
			return nil, err
		}
	}
	for _, t := range g.GetSparseInitializer() {
		a.values[t.GetValues().GetName()] = &value{Info: Info{DType: DataType(t.GetValues()), Dims: dimsOf(t.GetDims()), Known: true}}
	}
	for _, v := range g.GetInput() {
		if a.values[v.GetName()] != nil {
			continue
		}
		info := declared(v)
		for i, d := range info.Dims {
			if d.Size < 0 && d.Param == "" {
				info.Dims[i].Param = v.GetName() + "_dim_" + strconv.Itoa(i)
			}
		}
		if s, ok := sizes[v.GetName()]; ok {
			if info.Known && len(info.Dims) != len(s) {
				return nil, a.failure(nil, ErrInvalid, "input %q has rank %d, the shape %v has rank %d", v.GetName(), len(info.Dims), s, len(s))
			}
			info.Dims, info.Known = make([]Dim, len(s)), true
			for i, n := range s {
				if n < 0 || int64(n) > sizeLimit {
					return nil, a.failure(nil, ErrInvalid, "input %q: impossible shape %v", v.GetName(), s)
				}
				info.Dims[i] = Dim{Size: int64(n)}
			}
		}
		a.values[v.GetName()] = &value{Info: info}
	}
	for _, v := range append(slices.Clone(g.GetValueInfo()), g.GetOutput()...) {
		a.hints[v.GetName()] = declared(v)
	}
	var err error
	a.nodes, err = sortNodes(m)
	return a, err
}

// store adds an initializer.
func (a *analysis) store(t *pb.TensorProto) error {
	if _, err := Len(t); err != nil {
		return &Error{File: a.m.Path, Msg: err.Error(), Err: ErrTensor}
	}
	for _, d := range t.GetDims() {
		if d > sizeLimit {
			return &Error{File: a.m.Path, Msg: fmt.Sprintf("tensor %q: impossible dimensions %v", t.GetName(), t.GetDims()), Err: ErrTensor}
		}
	}
	a.values[t.GetName()] = &value{proto: t, param: isParam(t),
		Info: Info{DType: DataType(t), Dims: dimsOf(t.GetDims()), Known: true}}
	return nil
}

// isParam says whether training may change a stored tensor: floating point,
// and not a single number.
func isParam(t *pb.TensorProto) bool { return IsFloat(DataType(t)) && len(t.GetDims()) > 0 }

func dimsOf(sizes []int64) []Dim {
	dims := make([]Dim, len(sizes))
	for i, n := range sizes {
		dims[i] = Dim{Size: n}
	}
	return dims
}

// declared is the type that a file states for a value.
func declared(v *pb.ValueInfoProto) Info {
	t := v.GetType().GetTensorType()
	if t == nil {
		return Info{}
	}
	info := Info{DType: pb.TensorProto_DataType(t.GetElemType())}
	if t.GetShape() == nil {
		return info
	}
	info.Known, info.Dims = true, []Dim{}
	for _, d := range t.GetShape().GetDim() {
		dim := Dim{Size: -1, Param: d.GetDimParam()}
		switch dim.Param {
		case "?", "-1", "None", "unk", "unknown":
			dim.Param = "" // exporters' words for no name: two of them need not be equal
		}
		if _, ok := d.GetValue().(*pb.TensorShapeProto_Dimension_DimValue); ok && d.GetDimValue() >= 0 && d.GetDimValue() <= sizeLimit {
			dim = Dim{Size: d.GetDimValue()}
		}
		info.Dims = append(info.Dims, dim)
	}
	return info
}

// failure is an error about a node, or about the model where n is nil.
func (a *analysis) failure(n *pb.NodeProto, err error, format string, args ...any) *Error {
	e := &Error{File: a.m.Path, Msg: fmt.Sprintf(format, args...), Err: err}
	if n != nil {
		e.Node, e.Op = NodeName(n), OpName(n)
	}
	return e
}

// run visits the nodes in order. Nodes without a rule are collected.
func (a *analysis) run() error {
	missing := &UnsupportedError{File: a.m.Path}
	for _, n := range a.nodes {
		c := &call{a: a, n: n, version: a.m.Opset(n.GetDomain())}
		apply := rules[OpName(n)]
		if apply == nil {
			missing.Nodes = append(missing.Nodes, a.failure(n, ErrUnsupported, "operator not supported (opset %d)", c.version))
			for _, name := range n.GetOutput() {
				a.define(name, &value{Info: a.hints[name]})
			}
			continue
		}
		for _, name := range n.GetInput() {
			if name == "" {
				c.in = append(c.in, nil)
				continue
			}
			v := a.values[name]
			if v == nil {
				return a.failure(n, ErrInvalid, "input %q is defined nowhere", name)
			}
			c.in = append(c.in, v)
		}
		if len(n.GetOutput()) == 0 {
			return a.failure(n, ErrInvalid, "the node has no output")
		}
		c.out = make([]*value, len(n.GetOutput()))
		for i := range c.out {
			c.out[i] = &value{}
		}
		err := apply(c)
		if err == nil {
			err = c.evaluate(a.limit)
		}
		if err != nil {
			// Behind an unsupported operator little is known, and what a rule
			// then says of it is no news.
			if len(missing.Nodes) > 0 || a.lenient {
				c.out = make([]*value, len(n.GetOutput()))
				for i := range c.out {
					c.out[i] = &value{}
				}
			} else {
				var e *Error
				if errors.As(err, &e) {
					return e
				}
				return &Error{File: a.m.Path, Node: NodeName(n), Op: OpName(n), Msg: err.Error(), Err: causeOf(err)}
			}
		}
		for i, name := range n.GetOutput() {
			v := c.out[i]
			if v.DType == pb.TensorProto_UNDEFINED {
				v.DType = a.hints[name].DType
			}
			v.param = IsFloat(v.DType) && (v.param || slices.ContainsFunc(c.in, func(in *value) bool { return in != nil && in.param }))
			if h := a.hints[name]; !v.Known && h.Known {
				v.Known, v.Dims = true, slices.Clone(h.Dims)
			}
			for k, d := range v.Dims {
				if d.Size < 0 && d.Param == "" && name != "" {
					v.Dims[k].Param = name + "_dim_" + strconv.Itoa(k)
				}
			}
			a.define(name, v)
		}
		if a.after != nil && len(missing.Nodes) == 0 {
			if err := a.after(c); err != nil {
				return err
			}
		}
	}
	if len(missing.Nodes) > 0 && !a.lenient {
		return missing
	}
	return nil
}

// value returns what is known of a value; nothing is known of names that
// stand nowhere.
func (a *analysis) value(name string) *value {
	if v := a.values[name]; v != nil {
		return v
	}
	return &value{}
}

func (a *analysis) define(name string, v *value) {
	if name != "" {
		a.values[name] = v
	}
}

// causeOf keeps a wrapped sentinel; everything else a rule finds is an
// invalid model.
func causeOf(err error) error {
	for _, s := range []error{ErrUnsupported, ErrTooLarge, ErrTensor} {
		if errors.Is(err, s) {
			return s
		}
	}
	return ErrInvalid
}

// sortNodes returns the nodes in topological order, keeping the file's order
// where that is one; it fails on cycles and on values defined twice.
func sortNodes(m *Model) ([]*pb.NodeProto, error) {
	g := m.GetGraph()
	defined := map[string]bool{}
	for _, n := range g.GetNode() {
		for _, o := range n.GetOutput() {
			if o != "" && defined[o] {
				return nil, &Error{File: m.Path, Node: NodeName(n), Op: OpName(n), Err: ErrInvalid, Msg: fmt.Sprintf("output %q is defined twice", o)}
			}
			defined[o] = true
		}
	}
	order, cycle := topological(g.GetNode())
	if cycle != nil {
		return nil, &Error{File: m.Path, Node: NodeName(cycle), Op: OpName(cycle), Err: ErrInvalid, Msg: "the node depends on its own output"}
	}
	return order, nil
}
