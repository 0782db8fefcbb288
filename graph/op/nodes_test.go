package op_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/graph/op"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

var tablePath = flag.String("table", "", "write the result of every node test of the ONNX standard to this Markdown file")

// notSupported is the reason why a node test is outside of graft's scope.
type notSupported struct{ reason string }

func (n notSupported) Error() string { return n.reason }

func unsupported(format string, args ...any) error { return notSupported{fmt.Sprintf(format, args...)} }

// constants names the float inputs, from the second one on, that an operator
// wants to know when the graph is built.
var constants = []string{"Resize", "Upsample", "Pad", "Dropout"}

// outOfScope gives the reasons for node tests that need a decision, not code.
var outOfScope = map[string]string{
	"test_training_dropout":              "compares with NumPy's random numbers",
	"test_training_dropout_default":      "compares with NumPy's random numbers",
	"test_training_dropout_mask":         "compares with NumPy's random numbers",
	"test_training_dropout_default_mask": "compares with NumPy's random numbers",
}

// nodeTest is one folder of the standard's node tests.
type nodeTest struct {
	name    string
	model   *onnx.Model
	inputs  []*pb.TensorProto
	outputs []*pb.TensorProto
}

func loadNodeTest(dir string) (*nodeTest, error) {
	t := &nodeTest{name: filepath.Base(dir)}
	var err error
	if t.model, err = onnx.Load(filepath.Join(dir, "model.onnx")); err != nil {
		return nil, err
	}
	read := func(kind string, i int) (*pb.TensorProto, error) {
		data, err := os.ReadFile(filepath.Join(dir, "test_data_set_0", fmt.Sprintf("%s_%d.pb", kind, i)))
		if err != nil {
			return nil, err
		}
		p := &pb.TensorProto{}
		return p, proto.Unmarshal(data, p)
	}
	g := t.model.GetGraph()
	for i, v := range g.GetInput() {
		if v.GetType().GetTensorType() == nil {
			return nil, unsupported("input %s is not a tensor", v.GetName())
		}
		p, err := read("input", i)
		if err != nil {
			return nil, err
		}
		p.Name = v.Name
		t.inputs = append(t.inputs, p)
	}
	for i, v := range g.GetOutput() {
		if v.GetType().GetTensorType() == nil {
			return nil, unsupported("output %s is not a tensor", v.GetName())
		}
		p, err := read("output", i)
		if err != nil {
			return nil, err
		}
		p.Name = v.Name
		t.outputs = append(t.outputs, p)
	}
	return t, nil
}

// run builds the graph of the test and compares its outputs.
func (t *nodeTest) run() error {
	g := t.model.GetGraph()
	for _, n := range g.GetNode() {
		if _, ok := op.Lookup(n.GetDomain(), n.GetOpType()); !ok {
			return unsupported("operator %s", n.GetOpType())
		}
	}
	if reason, ok := outOfScope[t.name]; ok {
		return unsupported("%s", reason)
	}
	for _, o := range t.outputs {
		if dt := pb.TensorProto_DataType(o.GetDataType()); dt != pb.TensorProto_FLOAT {
			return unsupported("output %s is %s", o.GetName(), dt)
		}
		if slices.Contains(o.GetDims(), 0) {
			return unsupported("empty tensor")
		}
	}
	p := newProgram()
	values := map[string]op.Input{"": {}}
	for i, in := range t.inputs {
		v := op.Input{Name: in.GetName(), Const: in}
		switch dt := pb.TensorProto_DataType(in.GetDataType()); {
		case dt == pb.TensorProto_FLOAT:
			data, err := onnx.Floats(in)
			if err != nil {
				return err
			}
			if len(data) > 0 {
				v.Node = p.leaf(in.GetName(), array{onnx.Dims(in), data})
			}
			if i == 0 || !slices.Contains(constants, g.GetNode()[0].GetOpType()) {
				v.Const = nil
			}
			if len(data) == 0 {
				v.Const = in
			}
		case i == 0:
			return unsupported("input %s is %s", in.GetName(), dt)
		case dt == pb.TensorProto_DOUBLE || dt == pb.TensorProto_FLOAT16 || dt == pb.TensorProto_STRING:
			return unsupported("input %s is %s", in.GetName(), dt)
		}
		values[in.GetName()] = v
	}
	training := strings.Contains(t.name, "batchnorm") && strings.Contains(t.name, "training")
	env := &op.Env{Training: training, Graph: p.graph, Constant: p.constant}
	for _, n := range g.GetNode() {
		s := &op.Source{Name: n.GetName(), Type: n.GetOpType(), Domain: n.GetDomain(), Opset: int(t.model.Opset(n.GetDomain())),
			Attr: attributes(n), Outputs: len(n.GetOutput()), Env: env}
		for _, name := range n.GetInput() {
			v, ok := values[name]
			if !ok {
				return fmt.Errorf("no value %q", name)
			}
			s.Inputs = append(s.Inputs, v)
		}
		if n.GetOpType() == "Constant" {
			values[n.GetOutput()[0]] = constantValue(p, n)
			continue
		}
		b, _ := op.Lookup(n.GetDomain(), n.GetOpType())
		out, err := b(s)
		if err != nil {
			if strings.Contains(err.Error(), "spatial axes are not supported") || strings.Contains(err.Error(), "want (N,C,W) or (N,C,H,W)") {
				return unsupported("three spatial axes")
			}
			return err
		}
		for i, name := range n.GetOutput() {
			if i < len(out) && out[i] != nil {
				values[name] = op.Input{Name: name, Node: out[i]}
			}
		}
	}
	for _, want := range t.outputs {
		v := values[want.GetName()]
		if v.Node == nil {
			return fmt.Errorf("output %s has no node", want.GetName())
		}
		got, err := p.run(v.Node)
		if err != nil {
			return err
		}
		if err := compare(want, v.Node, got[0]); err != nil {
			return fmt.Errorf("output %s: %w", want.GetName(), err)
		}
	}
	return nil
}

func constantValue(p *program, n *pb.NodeProto) op.Input {
	name := n.GetOutput()[0]
	t := onnx.AttrTensor(n, "value")
	v := op.Input{Name: name, Const: t}
	if t.GetDataType() == int32(pb.TensorProto_FLOAT) {
		if data, err := onnx.Floats(t); err == nil && len(data) > 0 {
			v.Node = p.leaf(name, array{onnx.Dims(t), data})
		}
	}
	return v
}

// compare allows the backend tests' own rtol of 1e-3 and atol of 1e-7 for the
// operators that sum many products, and 1e-5 for the rest.
func compare(want *pb.TensorProto, n *op.Node, got []float32) error {
	w, err := onnx.Floats(want)
	if err != nil {
		return err
	}
	if !slices.Equal([]int(n.Shape()), onnx.Dims(want)) {
		return fmt.Errorf("shape %v, want %v", n.Shape(), onnx.Dims(want))
	}
	const rtol, atol = 1e-5, 2e-6
	for i := range w {
		d := math.Abs(float64(got[i]) - float64(w[i]))
		if got[i] != w[i] && !(d <= atol+rtol*math.Abs(float64(w[i]))) && !(got[i] != got[i] && w[i] != w[i]) {
			return fmt.Errorf("element %d is %g, want %g", i, got[i], w[i])
		}
	}
	return nil
}

func attributes(n *pb.NodeProto) op.Attributes {
	r := op.Attributes{}
	for _, a := range n.GetAttribute() {
		switch a.GetType() {
		case pb.AttributeProto_INT:
			r[a.GetName()] = a.GetI()
		case pb.AttributeProto_FLOAT:
			r[a.GetName()] = a.GetF()
		case pb.AttributeProto_STRING:
			r[a.GetName()] = string(a.GetS())
		case pb.AttributeProto_INTS:
			r[a.GetName()] = a.GetInts()
		case pb.AttributeProto_FLOATS:
			r[a.GetName()] = a.GetFloats()
		case pb.AttributeProto_TENSOR:
			r[a.GetName()] = a.GetT()
		}
	}
	return r
}

// TestNodeTests runs the node tests of the ONNX standard. A test is passed, or
// not supported for a stated reason, or failed, and none may fail.
func TestNodeTests(t *testing.T) {
	root := testutil.OnnxTestData(t)
	dirs, err := filepath.Glob(filepath.Join(root, "test_*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no tests in %s: %v", root, err)
	}
	results := map[string]string{}
	var passed int
	for _, dir := range dirs {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			test, err := loadNodeTest(dir)
			if err == nil {
				err = test.run()
			}
			var no notSupported
			switch {
			case errors.As(err, &no):
				results[name] = no.reason
				t.Skip(no.reason)
			case err != nil:
				results[name] = "FAILED: " + err.Error()
				t.Error(err)
			default:
				results[name] = ""
				passed++
			}
		})
	}
	t.Logf("%d of %d node tests pass", passed, len(dirs))
}
