package onnx

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx/pb"
)

// standardTest is one node test of the ONNX standard.
type standardTest struct {
	name    string
	model   *Model
	in, out []*pb.TensorProto // nil where the test has no tensor
}

// standardTests reads the node tests whose operators have shape rules and
// whose inputs and outputs are tensors.
func standardTests(t *testing.T) []standardTest {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(testutil.OnnxTestData(t), "test_*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no node tests: %v", err)
	}
	var tests []standardTest
	for _, dir := range dirs {
		m, err := Load(filepath.Join(dir, "model.onnx"))
		if err != nil {
			continue // operators that Load refuses have tests of their own
		}
		s := standardTest{name: filepath.Base(dir), model: m}
		if slices.ContainsFunc(m.Graph.Node, func(n *pb.NodeProto) bool { return rules[OpName(n)] == nil }) {
			continue
		}
		ok := true
		read := func(kind string, n int) (list []*pb.TensorProto) {
			for k := range n {
				data, err := os.ReadFile(filepath.Join(dir, "test_data_set_0", fmt.Sprintf("%s_%d.pb", kind, k)))
				p := &pb.TensorProto{}
				if err == nil {
					err = proto.Unmarshal(data, p)
				}
				if err != nil || DataType(p) == pb.TensorProto_UNDEFINED {
					ok = false
				}
				list = append(list, p)
			}
			return list
		}
		s.in, s.out = read("input", len(m.Graph.Input)), read("output", len(m.Graph.Output))
		for k, v := range append(slices.Clone(m.Graph.Input), m.Graph.Output...) {
			// The files of some types (bfloat16) hold the tensors as another.
			ok = ok && declared(v).DType == DataType(slices.Concat(s.in, s.out)[k])
		}
		if ok {
			tests = append(tests, s)
		}
	}
	return tests
}

// constants returns the test's model with the inputs stored in it and the
// declared output shapes removed.
func (s standardTest) constants(t *testing.T) *Model {
	m := shell(s.model)
	for k, v := range m.Graph.Input {
		m.Graph.Initializer = append(m.Graph.Initializer, renameTensor(s.in[k], v.GetName()))
	}
	m.Graph.Input, m.Graph.ValueInfo = nil, nil
	for k, v := range m.Graph.Output {
		m.Graph.Output[k] = declare(v.GetName(), Info{})
	}
	return m
}

// The inferred shapes and types are those of the standard's own results.
func TestStandardShapes(t *testing.T) {
	tested := map[string]bool{}
	for _, s := range standardTests(t) {
		t.Run(s.name, func(t *testing.T) {
			m := s.constants(t)
			infos, err := Infer(m)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range m.Graph.Output {
				got, want := infos[v.GetName()], Info{DType: DataType(s.out[k]), Dims: dimsOf(s.out[k].GetDims()), Known: true}
				if got.String() != want.String() {
					t.Errorf("%s is %v, want %v", v.GetName(), got, want)
				}
			}
			for _, n := range m.Graph.Node {
				tested[n.GetOpType()] = true
			}
		})
	}
	if len(tested) < 100 {
		t.Errorf("only %d operators were tested", len(tested))
	}
}

// What Specialize computes itself is what the standard says.
func TestStandardConstants(t *testing.T) {
	folded := map[string]bool{}
	for _, s := range standardTests(t) {
		// The expanded functions chain many roundings.
		if strings.Contains(s.name, "_expanded") {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			m := s.constants(t)
			// Float inputs are parameters, which nothing folds: make them the
			// result of a constant subgraph.
			for _, p := range m.Graph.Initializer {
				if !isParam(p) {
					continue
				}
				name := p.GetName()
				p.Name = name + "_stored"
				m.Graph.Node = append([]*pb.NodeProto{{OpType: "GraftTestCopy", Input: []string{p.Name}, Output: []string{name}}}, m.Graph.Node...)
			}
			rules["GraftTestCopy"] = func(c *call) error {
				c.same(0, c.in[0])
				c.out[0].proto = c.in[0].proto
				c.in[0].param = false
				return nil
			}
			defer delete(rules, "GraftTestCopy")
			small, _, err := Specialize(m, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range m.Graph.Output {
				got := small.Initializer(v.GetName())
				if got == nil {
					continue
				}
				a, err := readTensor(got)
				if err != nil {
					t.Fatal(err)
				}
				b, err := readTensor(s.out[k])
				if err != nil {
					t.Fatal(err)
				}
				if a.dtype == pb.TensorProto_DOUBLE {
					continue // computed in single precision
				}
				if fmt.Sprint(a.dims) != fmt.Sprint(b.dims) || a.dtype != b.dtype || !slices.Equal(a.i, b.i) || !near(a.f, b.f) {
					t.Errorf("%s is %v %v %v, want %v %v %v", v.GetName(), a.dims, a.i, a.f, b.dims, b.i, b.f)
				}
				for _, n := range s.model.Graph.Node {
					folded[n.GetOpType()] = true
				}
			}
		})
	}
	for op := range evaluators {
		if op == "LessOrEqual" || op == "GreaterOrEqual" {
			continue
		}
		if !folded[op] {
			t.Errorf("no node test computed %s", op)
		}
	}
}

// near allows the last bits of a float32.
func near(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool {
		return x == y || x != x && y != y || math.Abs(float64(x)-float64(y)) <= 3e-7*math.Abs(float64(y))
	})
}
