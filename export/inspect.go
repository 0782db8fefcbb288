package export

import (
	"cmp"
	"slices"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// InspectOptions says what Inspect looks at beyond the file itself.
type InspectOptions struct {
	// Inputs gives inputs a shape for counting multiplications. Inputs that
	// are not named keep the sizes that the file fixes; of the others the
	// batch becomes 1 and height and width 224.
	Inputs map[string][]int
	// Supported reports whether graft can train an operator; nil asks for no
	// such list.
	Supported func(domain, op string) bool
}

// Inspection describes a model. It is its own JSON form.
type Inspection struct {
	File            string            `json:"file,omitempty"`
	Producer        string            `json:"producer"`
	ProducerVersion string            `json:"producer_version,omitempty"`
	Graph           string            `json:"graph"`
	IR              int64             `json:"ir_version"`
	Opsets          []Opset           `json:"opsets"`
	Inputs          []Port            `json:"inputs"`
	Outputs         []Port            `json:"outputs"`
	Parameters      int64             `json:"parameters"` // elements of float initializers, statistics included
	Statistics      int64             `json:"statistics"` // elements of running means and variances
	Bytes           int64             `json:"bytes"`      // of all initializers
	Types           []TypeCount       `json:"types"`      // initializers by element type
	Nodes           int               `json:"nodes"`
	Operators       []OperatorCount   `json:"operators"` // most frequent first
	Functions       []string          `json:"functions,omitempty"`
	Unsupported     []OperatorCount   `json:"unsupported,omitempty"` // cannot be trained
	TrainingState   bool              `json:"training_state"`        // training_info is present
	Metadata        map[string]string `json:"metadata,omitempty"`
	Cost            *Cost             `json:"cost,omitempty"`
	Notes           []string          `json:"notes,omitempty"` // why something could not be told
}

// Opset is an operator set that a model imports.
type Opset struct {
	Domain  string `json:"domain"`
	Version int64  `json:"version"`
}

// Port is an input or output with its type and symbolic shape, such as
// "float32(N,3,H,W)".
type Port struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// TypeCount sums up the initializers of one element type.
type TypeCount struct {
	Type     string `json:"type"`
	Tensors  int    `json:"tensors"`
	Elements int64  `json:"elements"`
	Bytes    int64  `json:"bytes"`
}

// OperatorCount says how often an operator occurs.
type OperatorCount struct {
	Operator string `json:"operator"` // "Conv", "domain.Op"
	Count    int    `json:"count"`
	Node     string `json:"node"` // the first of them
}

// Inspect describes a model. What cannot be told of it (the cost of a graph
// whose shapes depend on data, say) is left out and said in Notes.
func Inspect(m *onnx.Model, opts InspectOptions) *Inspection {
	g := m.GetGraph()
	i := &Inspection{
		File: m.Path, Producer: m.GetProducerName(), ProducerVersion: m.GetProducerVersion(),
		Graph: g.GetName(), IR: m.GetIrVersion(), Nodes: len(g.GetNode()),
		TrainingState: len(m.GetTrainingInfo()) > 0, Metadata: map[string]string{},
	}
	for _, o := range m.GetOpsetImport() {
		i.Opsets = append(i.Opsets, Opset{Domain: onnx.NormalDomain(o.GetDomain()), Version: o.GetVersion()})
	}
	for _, f := range m.GetFunctions() {
		i.Functions = append(i.Functions, onnx.OpName(&pb.NodeProto{Domain: f.GetDomain(), OpType: f.GetName()}))
	}
	for _, p := range m.GetMetadataProps() {
		i.Metadata[p.GetKey()] = p.GetValue()
	}
	i.Operators = countOperators(g.GetNode(), nil)
	i.initializers(m)
	var values map[string]onnx.Info
	nodes := g.GetNode()
	// Inference works on valid models only; the rest can be told of any.
	if err := onnx.Check(m); err != nil {
		i.Notes = append(i.Notes, "not valid: "+err.Error())
	} else {
		if values, err = onnx.Infer(m); err != nil {
			i.Notes = append(i.Notes, "shapes: "+err.Error())
		}
		if flat := i.cost(m, opts.Inputs); flat != nil {
			nodes = flat.GetGraph().GetNode() // without shape arithmetic, which needs no support
		}
	}
	i.ports(m, values)
	if opts.Supported != nil {
		i.Unsupported = countOperators(nodes, func(n *pb.NodeProto) bool { return !opts.Supported(n.GetDomain(), n.GetOpType()) })
	}
	return i
}

// countOperators counts the operators of nodes that count accepts; nil accepts
// all.
func countOperators(nodes []*pb.NodeProto, count func(*pb.NodeProto) bool) []OperatorCount {
	at := map[string]int{}
	var out []OperatorCount
	for _, n := range nodes {
		if count != nil && !count(n) {
			continue
		}
		op := onnx.OpName(n)
		k, ok := at[op]
		if !ok {
			k = len(out)
			at[op] = k
			out = append(out, OperatorCount{Operator: op, Node: onnx.NodeName(n)})
		}
		out[k].Count++
	}
	slices.SortFunc(out, func(a, b OperatorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Operator, b.Operator))
	})
	return out
}

// initializers sums up what is stored.
func (i *Inspection) initializers(m *onnx.Model) {
	statistics := map[string]bool{}
	for _, n := range m.GetGraph().GetNode() {
		if isBN(n) && len(n.GetInput()) == 5 {
			statistics[n.Input[3]], statistics[n.Input[4]] = true, true
		}
	}
	at := map[pb.TensorProto_DataType]int{}
	for _, t := range m.GetGraph().GetInitializer() {
		dtype := onnx.DataType(t)
		k, ok := at[dtype]
		if !ok {
			k = len(i.Types)
			at[dtype] = k
			i.Types = append(i.Types, TypeCount{Type: onnx.DataTypeName(dtype)})
		}
		n, err := onnx.Len(t)
		if err != nil {
			i.Notes = append(i.Notes, err.Error())
			continue
		}
		bytes := (int64(n)*int64(onnx.DataTypeBits(dtype)) + 7) / 8
		c := &i.Types[k]
		c.Tensors, c.Elements, c.Bytes = c.Tensors+1, c.Elements+int64(n), c.Bytes+bytes
		i.Bytes += bytes
		if onnx.IsFloat(dtype) {
			i.Parameters += int64(n)
			if statistics[t.GetName()] {
				i.Statistics += int64(n)
			}
		}
	}
	slices.SortFunc(i.Types, func(a, b TypeCount) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Type, b.Type))
	})
}

// ports describes inputs and outputs: as inference sees them or, where it
// cannot, as the file declares them.
func (i *Inspection) ports(m *onnx.Model, values map[string]onnx.Info) {
	describe := func(v *pb.ValueInfoProto) Port {
		info := declared(v)
		if found, ok := values[v.GetName()]; ok && found.Known {
			info = found
		}
		return Port{Name: v.GetName(), Type: info.String()}
	}
	for _, v := range m.Inputs() {
		i.Inputs = append(i.Inputs, describe(v))
	}
	for _, v := range m.GetGraph().GetOutput() {
		i.Outputs = append(i.Outputs, describe(v))
	}
}

// declared returns what the file says of a value.
func declared(v *pb.ValueInfoProto) onnx.Info {
	t := v.GetType().GetTensorType()
	info := onnx.Info{DType: pb.TensorProto_DataType(t.GetElemType()), Known: t.GetShape() != nil}
	for _, d := range t.GetShape().GetDim() {
		size := int64(-1)
		if d.GetDimValue() > 0 {
			size = d.GetDimValue()
		}
		info.Dims = append(info.Dims, onnx.Dim{Size: size, Param: d.GetDimParam()})
	}
	return info
}
