package onnx

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx/pb"
)

// eval gives a form its value for known atoms.
func (a *algebra) eval(f form, env map[string]int64) (int64, bool) {
	n := f.c
	for _, t := range f.terms {
		v, ok := env[t.atom]
		if in, is := a.floors[t.atom]; is {
			x, okIn := a.eval(in.num, env)
			v, ok = x/in.den, okIn
		}
		if !ok {
			return 0, false
		}
		n += t.k * v
	}
	return n, n%f.den == 0
}

// concrete replaces unknown input dimensions: batch 2, any length for others.
func concrete(m *Model, length int) map[string][]int {
	sizes := map[string][]int{}
	for _, v := range m.Inputs() {
		s := []int{}
		for k, d := range declared(v).Dims {
			switch {
			case d.Size >= 0:
				s = append(s, int(d.Size))
			case k == 0:
				s = append(s, 2)
			default:
				s = append(s, length)
			}
		}
		sizes[v.GetName()] = s
	}
	return sizes
}

// soundModels are the shared models that a runtime can run.
func soundModels(t *testing.T) []string {
	return slices.DeleteFunc(sharedModels(t), func(path string) bool {
		dir := filepath.Base(filepath.Dir(path))
		return dir == "edge" || strings.HasPrefix(filepath.Base(path), "gradients_") || filepath.Base(path) == "weights_end.onnx"
	})
}

func modelName(path string) string {
	return filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
}

// Every value of every shared model has the shape that ONNX Runtime finds when
// it runs the model: the symbolic shape with numbers put in, the concrete
// shape, and the shapes in the specialised model. The specialised model
// computes the same outputs.
func TestShapesAreThoseOfTheRuntime(t *testing.T) {
	for _, path := range soundModels(t) {
		t.Run(modelName(path), func(t *testing.T) {
			m, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			sizes := concrete(m, 96)
			if big := sizes["inputImage"]; big != nil {
				big[0] = 1 // 720x720
			}
			small, shapes, err := Specialize(m, sizes)
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(small); err != nil {
				t.Fatalf("the specialised model: %v", err)
			}
			a, err := newAnalysis(shell(m), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.run(); err != nil {
				t.Fatal(err)
			}
			env := map[string]int64{}
			for name, s := range sizes {
				for k, d := range a.values[name].Dims {
					if d.Param != "" {
						env[d.Param] = int64(s[k])
					}
				}
			}
			inputs := map[string]ort.Tensor{}
			for name, s := range sizes {
				n, _ := count(s, 1<<30)
				inputs[name] = ort.New(noise(n, 7), s...)
			}
			seen := everyValue(t, shell(m), a.values, inputs)
			for name, got := range seen {
				info := a.values[name].Info
				if !info.Known || len(info.Dims) != len(got.Shape) {
					t.Errorf("%s is %v, the runtime says %v", name, info, got.Shape)
					continue
				}
				for k, d := range info.Dims {
					if _, own := env[d.Param]; !own && strings.Contains(d.Param, "_dim_") {
						if !strings.HasSuffix(path, "ppocrv4_det.onnx") {
							t.Errorf("%s is %v: nothing known of axis %d", name, info, k)
						}
						continue // it adds maps whose lengths agree for multiples of 32 only
					}
					n, ok := a.eval(*a.of(d), env)
					if !ok || n != int64(got.Shape[k]) {
						t.Errorf("%s is %v, the runtime says %v (axis %d: %d)", name, info, got.Shape, k, n)
					}
				}
				if s, ok := shapes[name]; ok && !slices.Equal(s, got.Shape) {
					t.Errorf("%s is %v when specialised, the runtime says %v", name, s, got.Shape)
				}
			}
			if slices.ContainsFunc(m.Graph.Node, func(n *pb.NodeProto) bool { return n.GetOpType() == "Dropout" && len(n.GetInput()) == 3 }) {
				return // training files draw random numbers
			}
			for name, got := range runORT(t, small, inputs) {
				want := seen[name]
				f, ok := got.Data.([]float32)
				if !ok {
					if fmt.Sprint(got.Data) != fmt.Sprint(want.Data) {
						t.Errorf("output %s differs", name)
					}
					continue
				}
				// The same kernels, but a folded constant has other last bits.
				if d := differ(f, want.Data.([]float32)); d > 3e-6 {
					t.Errorf("output %s of the specialised model differs by %g", name, d)
				}
			}
		})
	}
}

// everyValue runs a model and returns all its values.
func everyValue(t *testing.T, m *Model, values map[string]*value, inputs map[string]ort.Tensor) map[string]ort.Tensor {
	t.Helper()
	have := map[string]bool{}
	for _, o := range m.Graph.Output {
		have[o.GetName()] = true
	}
	for _, n := range m.Graph.Node {
		training := AttrInt(n, "training_mode", 0) != 0
		for k, o := range n.GetOutput() {
			if o == "" || have[o] || OpName(n) == "BatchNormalization" && k > 0 || training {
				continue
			}
			if values[o].DType == pb.TensorProto_UNDEFINED {
				t.Fatalf("%s has no type", o)
			}
			have[o] = true
			m.Graph.Output = append(m.Graph.Output, declare(o, Info{DType: values[o].DType}))
		}
	}
	m.Graph.ValueInfo = nil
	m.IrVersion = max(m.IrVersion, 4)
	return runORT(t, m, inputs)
}

// The outputs have the shapes recorded with the reference results.
func TestShapesAreThoseOfTheRecords(t *testing.T) {
	records, err := filepath.Glob(filepath.Join(testutil.SharedDir(t, "onnx", "ref"), "*", "ref.json"))
	if err != nil || len(records) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for _, record := range records {
		data, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		var ref struct {
			Model   string
			Inputs  [][]json.RawMessage
			Outputs []struct {
				Name string
				Dims []int
			}
		}
		if err := json.Unmarshal(data, &ref); err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join(testutil.SharedDir(t, "onnx"), "*", filepath.Base(ref.Model)))
		if len(files) != 1 {
			t.Fatalf("%s: files %v", ref.Model, files)
		}
		t.Run(ref.Model, func(t *testing.T) {
			m, err := Load(files[0])
			if err != nil {
				t.Fatal(err)
			}
			sizes := map[string][]int{}
			for _, in := range ref.Inputs {
				var name string
				var dims []int
				if json.Unmarshal(in[0], &name) != nil || json.Unmarshal(in[2], &dims) != nil {
					t.Fatalf("record %s", in)
				}
				sizes[name] = dims
			}
			_, shapes, err := Specialize(m, sizes)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range ref.Outputs {
				if !slices.Equal(shapes[o.Name], o.Dims) {
					t.Errorf("%s is %v, recorded %v", o.Name, shapes[o.Name], o.Dims)
				}
			}
		})
	}
}
