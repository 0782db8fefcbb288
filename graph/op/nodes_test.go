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

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
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

// run makes a Plan of the test and compares its outputs.
func (t *nodeTest) run(dev kernel.Device) error {
	if reason, ok := outOfScope[t.name]; ok {
		return unsupported("%s", reason)
	}
	for _, o := range t.outputs {
		if dt := pb.TensorProto_DataType(o.GetDataType()); dt != pb.TensorProto_FLOAT {
			return unsupported("element type %s", dt)
		}
		if slices.Contains(o.GetDims(), 0) {
			return unsupported("empty tensor")
		}
	}
	m, shapes, err := t.fixed()
	if err != nil {
		return err
	}
	spec := graph.Spec{Inputs: shapes}
	if strings.Contains(t.name, "batchnorm") && strings.Contains(t.name, "training") {
		spec.Mode = graph.Train
	}
	plan, err := makePlan(m, dev, spec)
	var missing *onnx.UnsupportedError
	switch {
	case errors.As(err, &missing):
		return unsupported("operator %s", missing.Nodes[0].Op)
	case err != nil && len(t.unknown()) > 0:
		return unsupported("operator %s", t.unknown()[0])
	case err != nil && strings.Contains(err.Error(), "spatial axes are not supported"):
		return unsupported("three spatial axes")
	case err != nil:
		return err
	}
	for _, in := range t.inputs {
		if _, ok := shapes[in.GetName()]; !ok {
			continue
		}
		data, err := onnx.Floats(in)
		if err != nil {
			return err
		}
		if err := plan.SetInput(in.GetName(), data); err != nil {
			return err
		}
	}
	if err := plan.RunAll(); err != nil {
		return err
	}
	for _, want := range t.outputs {
		got, shape, err := plan.Output(want.GetName())
		if err != nil {
			return err
		}
		if err := compare(want, shape, got); err != nil {
			return fmt.Errorf("output %s: %w", want.GetName(), err)
		}
	}
	return nil
}

// operatorOf names the operator that a test is about. An expanded test holds the
// body of an operator that the standard defines as a function.
func operatorOf(root string, t *nodeTest) string {
	if name, ok := strings.CutSuffix(t.name, "_expanded"); ok {
		if f, err := onnx.Load(filepath.Join(root, name, "model.onnx")); err == nil {
			return f.GetGraph().GetNode()[0].GetOpType() + " (function body)"
		}
	}
	return t.model.GetGraph().GetNode()[0].GetOpType()
}

func makePlan(m *onnx.Model, dev kernel.Device, spec graph.Spec) (*graph.Plan, error) {
	n, err := graph.NewNetwork(m, dev)
	if err != nil {
		return nil, err
	}
	return n.Plan(spec)
}

// unknown lists the operators of the test that have no builder; some of them
// are folded away.
func (t *nodeTest) unknown() []string {
	var names []string
	for _, n := range t.model.GetGraph().GetNode() {
		if _, ok := op.Lookup(n.GetDomain(), n.GetOpType()); !ok {
			names = append(names, n.GetOpType())
		}
	}
	return names
}

// fixed returns the model with the inputs that a graph takes as constants made
// initializers, and the shapes of the other inputs.
func (t *nodeTest) fixed() (*onnx.Model, map[string][]int, error) {
	first := t.model.GetGraph().GetNode()[0].GetOpType()
	m := t.model.Clone()
	g := m.GetGraph()
	shapes := map[string][]int{}
	var kept []*pb.ValueInfoProto
	for i, in := range t.inputs {
		dt := pb.TensorProto_DataType(in.GetDataType())
		integer := dt == pb.TensorProto_INT64 || dt == pb.TensorProto_INT32 || dt == pb.TensorProto_UINT32 || dt == pb.TensorProto_UINT64
		known := i > 0 && (slices.Contains(constants, first) || integer)
		switch {
		case known || slices.Contains(in.GetDims(), 0):
			g.Initializer = append(g.Initializer, in)
		case dt != pb.TensorProto_FLOAT:
			if names := t.unknown(); len(names) > 0 {
				return nil, nil, unsupported("operator %s", names[0])
			}
			return nil, nil, unsupported("element type %s", dt)
		default:
			shapes[in.GetName()] = onnx.Dims(in)
			kept = append(kept, g.Input[i])
		}
	}
	g.Input = kept
	return m, shapes, nil
}

// compare allows less than the backend tests' own rtol of 1e-3 and atol of
// 1e-7: 1e-5 of the value, and 2e-6 for sums that cancel.
func compare(want *pb.TensorProto, shape []int, got []float32) error {
	w, err := onnx.Floats(want)
	if err != nil {
		return err
	}
	if !slices.Equal(shape, onnx.Dims(want)) {
		return fmt.Errorf("shape %v, want %v", shape, onnx.Dims(want))
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

// TestNodes runs the node tests of the ONNX standard on every device. A test is
// passed, or not supported for a stated reason, or failed, and none may fail.
func TestNodes(t *testing.T) {
	root := testutil.OnnxTestData(t)
	dirs, err := filepath.Glob(filepath.Join(root, "test_*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no tests in %s: %v", root, err)
	}
	for _, dev := range devices(t) {
		var results []nodeResult
		t.Run(dev.Name(), func(t *testing.T) {
			for _, dir := range dirs {
				t.Run(filepath.Base(dir), func(t *testing.T) {
					r := nodeResult{name: filepath.Base(dir)}
					test, err := loadNodeTest(dir)
					if err == nil {
						r.op = operatorOf(root, test)
						err = test.run(dev)
					}
					var no notSupported
					if errors.As(err, &no) {
						r.reason = no.reason
						results = append(results, r)
						t.Skip(no.reason)
					}
					r.failed = err != nil
					results = append(results, r)
					if err != nil {
						t.Error(err)
					}
				})
			}
		})
		if *tablePath != "" && len(results) == len(dirs) {
			if err := writeTable(*tablePath, results); err != nil {
				t.Error(err)
			}
		}
		passed := 0
		for _, r := range results {
			if r.passed() {
				passed++
			}
		}
		t.Logf("%s: %d of %d node tests pass", dev.Name(), passed, len(dirs))
		// Whatever goes wrong above, this many operators are built and checked.
		if passed < 340 && len(results) == len(dirs) {
			t.Errorf("%s: only %d node tests pass", dev.Name(), passed)
		}
	}
}
