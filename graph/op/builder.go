package op

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Source is an ONNX node as a Builder sees it: shapes are concrete and shape
// arithmetic is folded away.
type Source struct {
	Name    string // node name, for errors
	Type    string // op_type
	Domain  string // "" for ai.onnx
	Opset   int    // version of that domain in the model
	Attr    Attributes
	Inputs  []Input
	Outputs int // how many outputs the node names
	Env     *Env
	// Replaced is set by builders to the node that the built one takes the
	// place of: an operator that was fused with the one before.
	Replaced *Node
}

// Input is one input of a Source. An absent optional input has neither field.
type Input struct {
	Name  string
	Node  *Node           // nil for integer inputs, which exist as Const only
	Const *pb.TensorProto // the value where it is known when the graph is built
	// Sole says that no other node reads the value and no one asks for it.
	Sole bool
}

// Present reports whether the node names this input.
func (in Input) Present() bool { return in.Node != nil || in.Const != nil }

// Env is what builders know of the run that the graph is built for.
type Env struct {
	Training bool // batch statistics and dropout are on
	FixBN    bool // BatchNormalization keeps to its running statistics
	// Constant adds a float tensor (row-major) to the graph. Without it only
	// constants whose elements are all equal are supported.
	Constant func(shape []int, data []float32) (*Node, error)
	// Graph is the graph being built; nodes without inputs need it.
	Graph *gorgonia.ExprGraph
	// Running is called for every BatchNormalization that trains: stats is
	// the (3,C) statistics node, mean and variance name its stored statistics.
	Running func(stats *Node, mean, variance string, momentum float32, count int)
	streams uint64
}

// Stream returns a new random stream: the same numbers in every build of the
// same graph.
func (e *Env) Stream() uint64 { e.streams++; return e.streams }

// Builder turns one ONNX node into nodes of the expression graph, one for each
// output that the node names (nil for outputs nobody can use).
type Builder func(s *Source) ([]*Node, error)

var builders = map[string]Builder{}

// register adds the builder of an operator; key is "Conv" or "domain.Name".
func register(key string, b Builder) {
	if _, dup := builders[key]; dup {
		panic("op: two builders for " + key)
	}
	builders[key] = b
}

// Lookup returns the builder of an operator.
func Lookup(domain, opType string) (Builder, bool) {
	if domain = onnx.NormalDomain(domain); domain != "" {
		opType = domain + "." + opType
	}
	b, ok := builders[opType]
	return b, ok
}

// Supported lists the operators that have a builder, sorted.
func Supported() []string {
	names := make([]string, 0, len(builders))
	for k := range builders {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// Attributes are the attributes of a node: int64, float32, string, []int64,
// []float32, []string or *pb.TensorProto.
type Attributes map[string]any

// attr reads an attribute, or its default where it is absent; a wrong type is
// an error that names the attribute.
func attr[T any](s *Source, name string, def T) (T, error) {
	v, ok := s.Attr[name]
	if !ok {
		return def, nil
	}
	t, ok := v.(T)
	if !ok {
		return def, fmt.Errorf("attribute %s has type %T, want %T", name, v, def)
	}
	return t, nil
}
