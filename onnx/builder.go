package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Builder makes a model node by node. Every method can be called without
// looking for errors: Model returns all of them.
//
//	b := onnx.NewBuilder("head", 15)
//	x := b.Input("x", pb.TensorProto_FLOAT, "N", 3, "H", "W")
//	w := b.Initializer(onnx.NewFloats("w", []int{8, 3, 1, 1}, weights))
//	y := b.Op("Conv", "y", []string{x, w})
//	b.Output(y, pb.TensorProto_FLOAT, "N", 8, "H", "W")
//	m, err := b.Model()
type Builder struct {
	model  *pb.ModelProto
	opset  int64
	values map[string]bool // names that have a producer
	nodes  map[string]bool // node names
	fresh  int             // counter of generated names
	errs   []error
}

// NewBuilder starts a graph of that name for a version of ai.onnx.
func NewBuilder(name string, opset int64) *Builder {
	b := &Builder{
		model: &pb.ModelProto{
			ProducerName: "graft",
			Graph:        &pb.GraphProto{Name: name},
			OpsetImport:  []*pb.OperatorSetIdProto{{Version: opset}},
		},
		opset:  opset,
		values: map[string]bool{},
		nodes:  map[string]bool{},
	}
	if name == "" {
		b.fail("the graph has no name")
	}
	return b
}

func (b *Builder) fail(format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
}

// define records a new value.
func (b *Builder) define(name string) {
	if name == "" {
		b.fail("a value has no name")
	} else if b.values[name] {
		b.fail("value %q is made twice", name)
	}
	b.values[name] = true
}

// Input adds a graph input and returns its name. A dim is an int or int64 for
// a fixed size, a string for a symbolic one, nil for an unknown one.
func (b *Builder) Input(name string, dtype pb.TensorProto_DataType, dims ...any) string {
	b.define(name)
	b.model.Graph.Input = append(b.model.Graph.Input, b.valueInfo(name, dtype, dims))
	return name
}

// Output makes a value an output of the graph; dims as for Input.
func (b *Builder) Output(name string, dtype pb.TensorProto_DataType, dims ...any) {
	b.model.Graph.Output = append(b.model.Graph.Output, b.valueInfo(name, dtype, dims))
}

func (b *Builder) valueInfo(name string, dtype pb.TensorProto_DataType, dims []any) *pb.ValueInfoProto {
	shape := &pb.TensorShapeProto{}
	for _, d := range dims {
		dim := &pb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case int64:
			dim.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: d}
		case string:
			dim.Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		case nil:
		default:
			b.fail("dimension %v of %q is a %T; an int or a string is needed", d, name, d)
		}
		if dim.GetDimValue() < 0 {
			b.fail("dimension %d of %q is negative", dim.GetDimValue(), name)
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &pb.ValueInfoProto{Name: name, Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
		TensorType: &pb.TypeProto_Tensor{ElemType: int32(dtype), Shape: shape}}}}
}

// Initializer stores a tensor in the graph and returns its name.
func (b *Builder) Initializer(t *pb.TensorProto) string {
	if t == nil {
		b.fail("an initializer is nil")
		return ""
	}
	b.define(t.GetName())
	b.model.Graph.Initializer = append(b.model.Graph.Initializer, t)
	return t.GetName()
}

// Node adds an operator of ai.onnx and returns its outputs. An empty input
// name stands for an optional input that is left out.
func (b *Builder) Node(op string, inputs []string, outputs []string, attrs ...*pb.AttributeProto) []string {
	return b.Call("", op, inputs, outputs, attrs...)
}

// Op adds an operator of ai.onnx with a single output called name, and returns
// that name. Without a name one is made up.
func (b *Builder) Op(op, name string, inputs []string, attrs ...*pb.AttributeProto) string {
	if name == "" {
		name = b.Name(op)
	}
	return b.Call("", op, inputs, []string{name}, attrs...)[0]
}

// Name returns an unused value name that starts with prefix.
func (b *Builder) Name(prefix string) string {
	for {
		b.fresh++
		if name := fmt.Sprintf("%s_%d", prefix, b.fresh); !b.values[name] {
			return name
		}
	}
}

// Call adds an operator or function of any domain and returns its outputs.
// The node takes the name of its first output.
func (b *Builder) Call(domain, op string, inputs, outputs []string, attrs ...*pb.AttributeProto) []string {
	n := &pb.NodeProto{
		OpType: op, Domain: NormalDomain(domain), Attribute: attrs,
		Input: slices.Clone(inputs), Output: slices.Clone(outputs),
	}
	for _, in := range inputs {
		if in != "" && !b.values[in] {
			b.fail("%s reads %q before anything makes it", OpName(n), in)
		}
	}
	for _, out := range outputs {
		if out != "" {
			b.define(out)
		}
	}
	n.Name = NodeName(n)
	if b.nodes[n.Name] {
		b.fail("two nodes are called %q", n.Name)
	}
	b.nodes[n.Name] = true
	if b.has(n.Domain) < 0 && b.modelFunction(n.Domain, op) == nil {
		b.fail("no operator set or function is declared for %s", OpName(n))
	}
	b.model.Graph.Node = append(b.model.Graph.Node, n)
	return outputs
}

// Import declares an operator set besides ai.onnx, for Call.
func (b *Builder) Import(domain string, version int64) {
	if b.has(domain) < 0 {
		b.model.OpsetImport = append(b.model.OpsetImport, &pb.OperatorSetIdProto{Domain: domain, Version: version})
	}
}

// has is the place of a domain among the imports, or -1.
func (b *Builder) has(domain string) int {
	return slices.IndexFunc(b.model.OpsetImport, func(o *pb.OperatorSetIdProto) bool {
		return NormalDomain(o.GetDomain()) == NormalDomain(domain)
	})
}

func (b *Builder) modelFunction(domain, name string) *pb.FunctionProto {
	return (&Model{ModelProto: b.model}).Function(domain, name)
}

// Function adds a model-local function and imports its domain; adding the same
// function again does nothing.
func (b *Builder) Function(f *pb.FunctionProto) {
	if f == nil {
		b.fail("a function is nil")
		return
	}
	if b.modelFunction(f.GetDomain(), f.GetName()) != nil {
		return
	}
	b.model.Functions = append(b.model.Functions, f)
	b.Import(f.GetDomain(), 1)
}

// Metadata stores a value in the model's metadata.
func (b *Builder) Metadata(key, value string) {
	(&Model{ModelProto: b.model}).SetMetadata(key, value)
}

// Model returns the finished model, checked, with the lowest IR version that
// fits its operator sets and functions. The builder must not be used after.
func (b *Builder) Model() (*Model, error) {
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	m := &Model{ModelProto: b.model}
	m.IrVersion = IRVersion(m)
	if err := Check(m); err != nil {
		return nil, err
	}
	return m, nil
}
