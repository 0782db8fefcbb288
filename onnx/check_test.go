package onnx

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

func node(op string, in, out []string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	return &pb.NodeProto{OpType: op, Input: in, Output: out, Attribute: attrs}
}

func tensorType(name string, dtype pb.TensorProto_DataType, dims ...int64) *pb.ValueInfoProto {
	b := NewBuilder("g", 15)
	list := make([]any, len(dims))
	for i, d := range dims {
		list[i] = d
	}
	return b.valueInfo(name, dtype, list)
}

// Each case spoils a valid model in one way; Check must say that, and only that.
func TestCheckFindings(t *testing.T) {
	branch := func(name, in, out string) *pb.GraphProto {
		return &pb.GraphProto{Name: name, Node: []*pb.NodeProto{node("Relu", []string{in}, []string{out})},
			Output: []*pb.ValueInfoProto{{Name: out}}}
	}
	withIf := func(m *Model, then, els *pb.GraphProto) {
		flag, _ := NewIntTensor("flag", pb.TensorProto_BOOL, nil, []int64{1})
		m.Graph.Initializer = append(m.Graph.Initializer, flag)
		m.Graph.Node = append(m.Graph.Node, node("If", []string{"flag"}, []string{"chosen"},
			GraphAttr("then_branch", then), GraphAttr("else_branch", els)))
	}
	for name, c := range map[string]struct {
		spoil func(m *Model)
		says  []string // one for each finding, in order; none: the model stays valid
		is    error    // ErrInvalid where nil
	}{
		"IR version 2": {spoil: func(m *Model) {
			m.Functions, m.IrVersion = nil, 2
			m.Graph.Input = append(m.Graph.Input, tensorType("w", float32Type))
		},
			says: []string{"IR version 2", "dimensions"}, is: ErrUnsupported},
		"IR version of tomorrow": {spoil: func(m *Model) { m.IrVersion = 99 }, says: []string{"IR version 99"}, is: ErrUnsupported},
		"functions before IR 8":  {spoil: func(m *Model) { m.IrVersion = 7 }, says: []string{"functions need IR version 8"}},
		"opset of tomorrow": {spoil: func(m *Model) { m.SetOpset("", 99); m.Functions[0].OpsetImport[0].Version = 99 },
			says: []string{"version 99", "version 99"}, is: ErrUnsupported},
		"no ai.onnx": {spoil: func(m *Model) { m.OpsetImport = m.OpsetImport[1:] }, says: []string{"no version of the operator set ai.onnx"}},
		"two versions": {spoil: func(m *Model) {
			m.OpsetImport = append(m.OpsetImport, &pb.OperatorSetIdProto{Domain: "ai.onnx", Version: 14})
		}, says: []string{"as version 15 and as version 14"}},
		"version zero":   {spoil: func(m *Model) { m.SetOpset("foreign", 0) }, says: []string{"foreign has version 0"}},
		"unknown domain": {spoil: func(m *Model) { m.Graph.Node[2].Domain = "foreign" }, says: []string{`"sum" (foreign.Add): no version of the operator set foreign`}},
		"no operator":    {spoil: func(m *Model) { m.Graph.Node[2].OpType = "" }, says: []string{"names no operator"}},
		"unknown operator is not Check's business": {spoil: func(m *Model) { m.Graph.Node[2].OpType = "Frobnicate" }},

		"value made twice": {spoil: func(m *Model) { m.Graph.Node[2].Output[0] = "y"; m.Graph.Output[0].Name = "y" }, says: []string{`output "y": the name is taken`}},
		"input made again": {spoil: func(m *Model) { m.Graph.Node[2].Output[0] = "x"; m.Graph.Output[0].Name = "x" }, says: []string{`output "x": the name is taken`}},
		"missing input":    {spoil: func(m *Model) { m.Graph.Node[2].Input[1] = "nowhere" }, says: []string{`node "sum" (Add): input 1 reads "nowhere", which nothing makes`}},
		"missing output":   {spoil: func(m *Model) { m.Graph.Output[0].Name = "nowhere" }, says: []string{`output "nowhere": nothing makes it`}},
		"output twice":     {spoil: func(m *Model) { m.Graph.Output = append(m.Graph.Output, m.Graph.Output[0]) }, says: []string{"two outputs"}},
		"output unnamed":   {spoil: func(m *Model) { m.Graph.Output = append(m.Graph.Output, tensorType("", float32Type)) }, says: []string{"output 1 has no name"}},
		"no outputs":       {spoil: func(m *Model) { m.Graph.Output = nil }, says: []string{"no outputs"}},
		"input unnamed":    {spoil: func(m *Model) { m.Graph.Input = append(m.Graph.Input, tensorType("", float32Type)) }, says: []string{"input 1 has no name"}},
		"input twice":      {spoil: func(m *Model) { m.Graph.Input = append(m.Graph.Input, m.Graph.Input[0]) }, says: []string{`input "x": the name is taken`}},
		"input untyped":    {spoil: func(m *Model) { m.Graph.Input[0].Type = nil }, says: []string{"has no type"}},
		"input of type 99": {spoil: func(m *Model) { m.Graph.Input[0] = tensorType("x", 99, 1) }, says: []string{"unknown element type 99"}},
		"node makes nothing": {spoil: func(m *Model) { m.Graph.Node = append(m.Graph.Node, node("Relu", []string{"x"}, []string{""})) },
			says: []string{"makes nothing"}},
		"unsorted": {spoil: func(m *Model) { g := m.Graph; g.Node[0], g.Node[2] = g.Node[2], g.Node[0] },
			says: []string{`node "sum" (Add): the nodes are not in topological order: it reads "z"`}},
		"cycle": {spoil: func(m *Model) { m.Graph.Node[0].Input[0] = "sum" }, says: []string{"depends on its own output"}},

		"two initializers":          {spoil: func(m *Model) { m.Graph.Initializer = append(m.Graph.Initializer, m.Graph.Initializer[0]) }, says: []string{`two initializers are called "w"`}},
		"initializer unnamed":       {spoil: func(m *Model) { m.Graph.Initializer = append(m.Graph.Initializer, NewFloats("", nil, []float32{1})) }, says: []string{"without a name"}},
		"initializer named as node": {spoil: func(m *Model) { m.Graph.Initializer = append(m.Graph.Initializer, NewFloats("y", nil, []float32{1})) }, says: []string{`output "y": the name is taken`}},
		"initializer cut":           {spoil: func(m *Model) { t := m.Initializer("w"); t.RawData = t.RawData[1:] }, says: []string{`tensor "w"`}, is: ErrTensor},
		"initializer of another type than the input": {spoil: func(m *Model) {
			m.Graph.Input = append(m.Graph.Input, tensorType("w", pb.TensorProto_INT8, 2, 3, 1, 1))
		},
			says: []string{"holds float32, the input of that name int8"}},
		"initializer of another shape than the input": {spoil: func(m *Model) { m.Graph.Input = append(m.Graph.Input, tensorType("w", float32Type, 2, 3, 3, 3)) },
			says: []string{"dimensions [2 3 1 1], the input of that name [2 3 3 3]"}},
		"initializer among the inputs": {spoil: func(m *Model) { m.Graph.Input = append(m.Graph.Input, tensorType("w", float32Type, 2, 3, 1, 1)) }},
		"initializer not among the inputs of IR 3": {spoil: func(m *Model) {
			m.IrVersion, m.Functions = 3, nil
			m.Graph.Node[1].Domain, m.Graph.Node[1].OpType = "", "Relu"
		}, says: []string{`"w" is not among the graph's inputs`}},

		"too many inputs":   {spoil: func(m *Model) { m.Graph.Node[2].Input = []string{"x", "x", "x"} }, says: []string{"3 inputs, the operator takes 2"}},
		"input left out":    {spoil: func(m *Model) { m.Graph.Node[0].Input[1] = "" }, says: []string{"input 1 cannot be left out"}},
		"bias left out":     {spoil: func(m *Model) { m.Graph.Node[0].Input = append(m.Graph.Node[0].Input, "") }},
		"too many outputs":  {spoil: func(m *Model) { m.Graph.Node[2].Output = []string{"sum", "more"} }, says: []string{"2 outputs, the operator has 1"}},
		"wrong attribute":   {spoil: func(m *Model) { m.Graph.Node[0].Attribute = append(m.Graph.Node[0].Attribute, IntAttr("axis", 1)) }, says: []string{`does not have attribute "axis"`}},
		"attribute type":    {spoil: func(m *Model) { m.Graph.Node[0].Attribute[0] = IntAttr("kernel_shape", 1) }, says: []string{"declared INT, the operator takes INTS"}},
		"attribute missing": {spoil: func(m *Model) { n := m.Graph.Node[2]; n.OpType = "Concat" }, says: []string{`attribute "axis" is missing`}},
		"operator too new":  {spoil: func(m *Model) { m.Graph.Node[1] = node("Mish", []string{"y"}, []string{"z"}) }, says: []string{"version 15"}},
		"operator gone":     {spoil: func(m *Model) { m.Graph.Node[2].OpType = "Upsample" }, says: []string{"any more"}},
		"attribute twice":   {spoil: func(m *Model) { n := m.Graph.Node[0]; n.Attribute = append(n.Attribute, n.Attribute[0]) }, says: []string{"two attributes"}},
		"attribute unnamed": {spoil: func(m *Model) { m.Graph.Node[0].Attribute[0].Name = "" }, says: []string{"attribute 0 has no name"}},
		"attribute untyped": {spoil: func(m *Model) {
			m.Graph.Node[1] = node("Foreign", []string{"y"}, []string{"z"}, &pb.AttributeProto{Name: "a"})
		}, says: []string{"unknown type 0"}},
		"attribute of two": {spoil: func(m *Model) { m.Graph.Node[0].Attribute[0].F = proto.Float32(1) }, says: []string{"declared INTS and holds FLOAT"}},
		"attribute holds nothing": {spoil: func(m *Model) {
			m.Graph.Node[1] = node("Constant", nil, []string{"z"}, &pb.AttributeProto{Name: "value", Type: pb.AttributeProto_TENSOR})
		}, says: []string{"holds nothing"}},
		"attribute tensor cut": {spoil: func(m *Model) {
			m.Graph.Node[1] = node("Constant", nil, []string{"z"}, TensorAttr("value", &pb.TensorProto{Dims: []int64{3}, DataType: 1}))
		}, says: []string{`node "z" (Constant): tensor ""`}, is: ErrTensor},
		"reference outside a function": {spoil: func(m *Model) { m.Graph.Node[0].Attribute[0] = RefAttr("kernel_shape", pb.AttributeProto_INTS, "k") },
			says: []string{"stands in none"}},

		"branches may share names":    {spoil: func(m *Model) { withIf(m, branch("t", "y", "r"), branch("e", "x", "r")) }},
		"branch reads nothing":        {spoil: func(m *Model) { withIf(m, branch("t", "nowhere", "r"), branch("e", "x", "r")) }, says: []string{`reads "nowhere", which nothing makes, in the then_branch of node "chosen"`}},
		"branch hides an outer value": {spoil: func(m *Model) { withIf(m, branch("t", "y", "z"), branch("e", "x", "r")) }, says: []string{`"z": the name is taken by a value of the graph around it`}},
		"branch passes an outer value": {spoil: func(m *Model) {
			withIf(m, &pb.GraphProto{Output: []*pb.ValueInfoProto{{Name: "y"}}}, branch("e", "x", "r"))
		}, says: []string{"Identity"}},
		"branch reads a later value": {spoil: func(m *Model) {
			withIf(m, branch("t", "late", "r"), branch("e", "x", "r"))
			m.Graph.Node = append(m.Graph.Node, node("Relu", []string{"x"}, []string{"late"}))
		}, says: []string{`node "r" (Relu): the nodes are not in topological order: it reads "late"`}},

		"function twice":         {spoil: func(m *Model) { m.Functions = append(m.Functions, m.Functions[0]) }, says: []string{"two functions are called graft.test.Twice"}},
		"function unnamed":       {spoil: func(m *Model) { m.Functions = append(m.Functions, &pb.FunctionProto{Domain: "d"}) }, says: []string{"function 1 has no name"}},
		"function output":        {spoil: func(m *Model) { m.Functions[0].Output[0] = "nowhere" }, says: []string{`output "nowhere": nothing makes it, in function graft.test.Twice`}},
		"function sees no graph": {spoil: func(m *Model) { m.Functions[0].Node[0].Input[1] = "x" }, says: []string{`input 1 reads "x", which nothing makes, in function graft.test.Twice`}},
		"function's own opset":   {spoil: func(m *Model) { m.Functions[0].OpsetImport = nil }, says: []string{"no version of the operator set ai.onnx is imported, in function"}},
		"function of another opset": {spoil: func(m *Model) { m.Functions[0].OpsetImport[0].Version = 14 },
			says: []string{"wants ai.onnx version 14, the model version 15"}, is: ErrUnsupported},
		"too many arguments": {spoil: func(m *Model) { m.Graph.Node[1].Input = []string{"y", "y"} }, says: []string{"2 inputs and 1 outputs, the function has 1 and 1"}},
		"recursion": {spoil: func(m *Model) {
			m.Functions[0].Node[0] = &pb.NodeProto{Domain: "graft.test", OpType: "Twice", Input: []string{"a"}, Output: []string{"b"}}
			m.Functions[0].OpsetImport = append(m.Functions[0].OpsetImport, &pb.OperatorSetIdProto{Domain: "graft.test", Version: 1})
		}, says: []string{"graft.test.Twice calls itself"}},
		"reference to no attribute": {spoil: func(m *Model) {
			m.Functions[0].Node[0] = node("Softmax", []string{"a"}, []string{"b"}, RefAttr("axis", pb.AttributeProto_INT, "k"))
		}, says: []string{`refers to "k", which the function does not have`}},
		"reference to an attribute": {spoil: func(m *Model) {
			m.Functions[0].Attribute = []string{"k"}
			m.Functions[0].Node[0] = node("Softmax", []string{"a"}, []string{"b"}, RefAttr("axis", pb.AttributeProto_INT, "k"))
		}},
		"function without a domain": {spoil: func(m *Model) { m.Functions[0].Domain = "ai.onnx" },
			says: []string{"function Twice has no domain"}},
		"metadata twice": {spoil: func(m *Model) {
			m.MetadataProps = []*pb.StringStringEntryProto{{Key: "k"}, {Key: "k"}}
		}, says: []string{`two values for "k"`}},
		"attribute declared twice": {spoil: func(m *Model) { m.Functions[0].Attribute = []string{"k", "k"} }, says: []string{`"k" is declared twice`}},

		"training graphs see the model": {spoil: func(m *Model) {
			m.TrainingInfo = []*pb.TrainingInfoProto{{Algorithm: branch("step", "w", "w_new")}}
		}},
		"training graph reads nothing": {spoil: func(m *Model) {
			m.TrainingInfo = []*pb.TrainingInfoProto{{Initialization: branch("step", "nowhere", "w_new")}}
		}, says: []string{"in the initialization graph of training_info 0"}},
		"no graph": {spoil: func(m *Model) { m.Graph = nil }, says: []string{"no graph"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := smallModel(t)
			m.Path = "file.onnx"
			c.spoil(m)
			err := Check(m)
			if len(c.says) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var found *CheckError
			if !errors.As(err, &found) {
				t.Fatalf("%v, want %d findings", err, len(c.says))
			}
			if len(found.Findings) != len(c.says) {
				t.Fatalf("%v, want %d findings", err, len(c.says))
			}
			for i, want := range c.says {
				if !strings.Contains(found.Findings[i].Error(), want) {
					t.Errorf("%q does not say %q", found.Findings[i], want)
				}
			}
			want := c.is
			if want == nil {
				want = ErrInvalid
			}
			if !errors.Is(err, want) {
				t.Errorf("%v is not %v", err, want)
			}
		})
	}
}

// A model with many mistakes lists them, names the file once and stays short.
func TestCheckErrorIsReadable(t *testing.T) {
	m := smallModel(t)
	m.Path = "net.onnx"
	for range 30 {
		m.Graph.Node[2].Attribute = append(m.Graph.Node[2].Attribute, &pb.AttributeProto{})
	}
	text := Check(m).Error()
	if !strings.HasPrefix(text, "net.onnx: 30 findings:\n") || !strings.HasSuffix(text, "and 10 more") ||
		strings.Count(text, "net.onnx") != 1 || strings.Count(text, "\n") != 21 {
		t.Error(text)
	}
}

// Time grows with the file and no faster, whatever it is filled with.
func TestCheckIsLinear(t *testing.T) {
	const n = 50000
	m := smallModel(t)
	f := m.Functions[0]
	for i := range n {
		name := fmt.Sprint("n", i)
		m.OpsetImport = append(m.OpsetImport, &pb.OperatorSetIdProto{Domain: name, Version: 1})
		m.Functions = append(m.Functions, &pb.FunctionProto{Domain: "graft.test", Name: name, Output: []string{"b"},
			Node: []*pb.NodeProto{{Domain: "graft.test", OpType: fmt.Sprint("n", i+1), Output: []string{"b"}}}})
		f.Attribute = append(f.Attribute, name)
		f.Node = append(f.Node, node("Softmax", []string{"a"}, []string{name}, RefAttr("axis", pb.AttributeProto_INT, name)))
		m.Graph.Node = append(m.Graph.Node, node("Relu", []string{"x"}, []string{name}), node("", nil, nil))
	}
	start := time.Now()
	var found *CheckError
	if err := Check(m); !errors.As(err, &found) || len(found.Findings) != maxFindings {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("%d nodes take %v", 3*n, d)
	}
}

func TestCheckSparse(t *testing.T) {
	sparse := func(values int, indexDims []int, indices []int64, dims ...int64) *pb.SparseTensorProto {
		return &pb.SparseTensorProto{
			Values:  NewFloats("s", []int{values}, make([]float32, values)),
			Indices: NewInts("", indexDims, indices), Dims: dims,
		}
	}
	wrongType := sparse(1, []int{1}, []int64{0}, 4)
	wrongType.Indices = NewFloats("", []int{1}, []float32{0})
	for name, c := range map[string]struct {
		s  *pb.SparseTensorProto
		ok bool
	}{
		"flat":          {sparse(2, []int{2}, []int64{1, 5}, 2, 3), true},
		"coordinates":   {sparse(2, []int{2, 2}, []int64{0, 1, 1, 2}, 2, 3), true},
		"empty":         {&pb.SparseTensorProto{Values: NewFloats("s", []int{0}, nil), Dims: []int64{3}}, true},
		"unordered":     {sparse(2, []int{2}, []int64{5, 1}, 2, 3), false},
		"outside":       {sparse(1, []int{1}, []int64{6}, 2, 3), false},
		"row outside":   {sparse(1, []int{1, 2}, []int64{0, 3}, 2, 3), false},
		"negative":      {sparse(1, []int{1}, []int64{-1}, 2, 3), false},
		"wrong count":   {sparse(2, []int{1}, []int64{0}, 2, 3), false},
		"no indices":    {&pb.SparseTensorProto{Values: NewFloats("s", []int{1}, []float32{1}), Dims: []int64{3}}, false},
		"no values":     {&pb.SparseTensorProto{Dims: []int64{3}}, false},
		"huge":          {sparse(1, []int{1}, []int64{0}, 1<<40, 1<<40), false},
		"float indices": {wrongType, false},
	} {
		if err := checkSparse(c.s); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSort(t *testing.T) {
	m := smallModel(t)
	same, err := Sort(m)
	if err != nil || !proto.Equal(m.ModelProto, same.ModelProto) {
		t.Errorf("a sorted model changes: %v", err)
	}
	body := &pb.GraphProto{Node: []*pb.NodeProto{
		node("Relu", []string{"late"}, []string{"r"}), node("Relu", []string{"sum"}, []string{"late"}),
	}, Output: []*pb.ValueInfoProto{{Name: "r"}}}
	flag, err := NewIntTensor("flag", pb.TensorProto_BOOL, nil, []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	m.Graph.Initializer = append(m.Graph.Initializer, flag)
	choice := node("If", []string{"flag"}, []string{"chosen"}, GraphAttr("then_branch", body), GraphAttr("else_branch", proto.Clone(body).(*pb.GraphProto)))
	m.Graph.Node = append([]*pb.NodeProto{choice}, m.Graph.Node...)
	if err := Check(m); err == nil {
		t.Fatal("an unsorted model passes")
	}
	sorted, err := Sort(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(sorted); err != nil {
		t.Error(err)
	}
	if sorted.Graph.Node[3].OpType != "If" || m.Graph.Node[0].OpType != "If" {
		t.Error("wrong order, or the argument was changed")
	}
	m.Graph.Node[1].Input[0] = "chosen"
	var e *Error
	if _, err := Sort(m); !errors.As(err, &e) || e.Node == "" {
		t.Errorf("a cycle through a branch: %v", err)
	}
}

func TestSignatureTable(t *testing.T) {
	table, err := parseSignatures(signatureTable)
	if err != nil || len(table) < 150 {
		t.Fatalf("%d operators, %v", len(table), err)
	}
	for _, c := range []struct {
		op    string
		opset int64
		since int64 // 0: not there
	}{
		{"Clip", 10, 6}, {"Clip", 11, 11}, {"Clip", 26, 11}, {"Mish", 17, 0}, {"Add", 6, 0}, {"Add", 7, 7}, {"Resize", 12, 11},
	} {
		s, known := signatureOf(c.op, c.opset)
		if !known || (s == nil) != (c.since == 0) || s != nil && s.since != c.since {
			t.Errorf("%s in version %d: %+v", c.op, c.opset, s)
		}
	}
	for _, bad := range []string{"A 1", "A x: 1 1", "A 1: 1", "A 1: 1 1 a:q", "A 1: a 1", "A 1: 1 1-b", "A 2: 1 1 | 1: 1 1"} {
		if _, err := parseSignatures(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
