package ort_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx/pb"
)

func open(t testing.TB) *ort.Runtime {
	t.Helper()
	rt, err := ort.Open(testutil.OnnxRuntime(t))
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func value(name string, dtype pb.TensorProto_DataType, dims ...any) *pb.ValueInfoProto {
	shape := &pb.TensorShapeProto{}
	for _, d := range dims {
		dim := &pb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &pb.ValueInfoProto{Name: name, Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
		TensorType: &pb.TypeProto_Tensor{ElemType: int32(dtype), Shape: shape}}}}
}

// model returns the bytes of a graph of the given nodes.
func model(t testing.TB, inputs, outputs []*pb.ValueInfoProto, nodes ...*pb.NodeProto) []byte {
	t.Helper()
	data, err := proto.Marshal(&pb.ModelProto{
		IrVersion: 8, OpsetImport: []*pb.OperatorSetIdProto{{Version: 15}},
		Graph: &pb.GraphProto{Name: "g", Node: nodes, Input: inputs, Output: outputs},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sum is s = a + b, d = a - b over (N,3) float32.
func sum(t testing.TB) *ort.Session {
	t.Helper()
	const f = pb.TensorProto_FLOAT
	s, err := open(t).SessionBytes(model(t,
		[]*pb.ValueInfoProto{value("a", f, "N", 3), value("b", f, "N", 3)},
		[]*pb.ValueInfoProto{value("s", f, "N", 3), value("d", f, "N", 3)},
		&pb.NodeProto{OpType: "Add", Input: []string{"a", "b"}, Output: []string{"s"}},
		&pb.NodeProto{OpType: "Sub", Input: []string{"a", "b"}, Output: []string{"d"}},
	), "sum.onnx", ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestDescribesInputsAndOutputs(t *testing.T) {
	s := sum(t)
	in, out := s.Inputs(), s.Outputs()
	if len(in) != 2 || len(out) != 2 {
		t.Fatalf("%d inputs and %d outputs, want 2 and 2", len(in), len(out))
	}
	a := in[0]
	if a.Name != "a" || a.Type != ort.TypeFloat32 || len(a.Shape) != 2 || a.Shape[0] != -1 || a.Shape[1] != 3 || a.Symbols[0] != "N" || a.Symbols[1] != "" {
		t.Errorf("input 0 is %+v", a)
	}
	if out[0].Name != "s" || out[1].Name != "d" {
		t.Errorf("outputs are %+v", out)
	}
}

func TestRun(t *testing.T) {
	s := sum(t)
	in := map[string]ort.Tensor{
		"a": ort.New([]float32{1, 2, 3, 4, 5, 6}, 2, 3),
		"b": ort.New([]float32{10, 20, 30, 40, 50, 60}, 2, 3),
	}
	got, err := s.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	checkFloats(t, got["s"], []float32{11, 22, 33, 44, 55, 66}, 2, 3)
	checkFloats(t, got["d"], []float32{-9, -18, -27, -36, -45, -54}, 2, 3)

	only, err := s.Run(in, "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := only["s"]; ok || len(only) != 1 {
		t.Errorf("asked for d, got %v", only)
	}

	into := map[string]ort.Tensor{"s": ort.New(make([]float32, 6), 2, 3)}
	if err := s.RunInto(in, into); err != nil {
		t.Fatal(err)
	}
	checkFloats(t, into["s"], []float32{11, 22, 33, 44, 55, 66}, 2, 3)

	empty, err := s.Run(map[string]ort.Tensor{"a": ort.New([]float32{}, 0, 3), "b": ort.New([]float32{}, 0, 3)}, "s")
	if err != nil {
		t.Fatal(err)
	}
	checkFloats(t, empty["s"], nil, 0, 3)
}

func checkFloats(t testing.TB, got ort.Tensor, want []float32, shape ...int) {
	t.Helper()
	data, ok := got.Data.([]float32)
	if !ok || len(data) != len(want) || len(got.Shape) != len(shape) {
		t.Fatalf("got %T of shape %v, want []float32 of shape %v", got.Data, got.Shape, shape)
	}
	for i := range shape {
		if got.Shape[i] != shape[i] {
			t.Fatalf("shape %v, want %v", got.Shape, shape)
		}
	}
	for i := range want {
		if data[i] != want[i] {
			t.Errorf("element %d is %v, want %v", i, data[i], want[i])
		}
	}
}

// TestEveryType sends each element type through Identity.
func TestEveryType(t *testing.T) {
	rt := open(t)
	tensors := []ort.Tensor{
		ort.New([]float32{-1.5, 2}, 2), ort.New([]float64{-1.5, 2}, 2),
		ort.New([]int8{-128, 127}, 2), ort.New([]int16{-32768, 32767}, 2), ort.New([]int32{-1 << 31, 1<<31 - 1}, 2), ort.New([]int64{-1 << 63, 1<<63 - 1}, 2),
		ort.New([]uint8{0, 255}, 2), ort.New([]uint16{0, 65535}, 2), ort.New([]uint32{0, 1<<32 - 1}, 2), ort.New([]uint64{0, 1<<64 - 1}, 2),
		ort.New([]bool{true, false}, 2), ort.New([]ort.Float16{0x3c00, 0xbc00}, 2), ort.New([]ort.BFloat16{0x3f80, 0xbf80}, 2),
	}
	for _, want := range tensors {
		dtype := want.DType()
		t.Run(dtype.String(), func(t *testing.T) {
			s, err := rt.SessionBytes(model(t,
				[]*pb.ValueInfoProto{value("x", pb.TensorProto_DataType(dtype), 2)},
				[]*pb.ValueInfoProto{value("y", pb.TensorProto_DataType(dtype), 2)},
				&pb.NodeProto{OpType: "Identity", Input: []string{"x"}, Output: []string{"y"}}), "identity.onnx", ort.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got, err := s.Run(map[string]ort.Tensor{"x": want})
			if err != nil {
				t.Fatal(err)
			}
			if !equal(got["y"].Data, want.Data) {
				t.Errorf("got %v, want %v", got["y"].Data, want.Data)
			}
		})
	}
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case []float32:
		return same(a, b)
	case []float64:
		return same(a, b)
	case []int8:
		return same(a, b)
	case []int16:
		return same(a, b)
	case []int32:
		return same(a, b)
	case []int64:
		return same(a, b)
	case []uint8:
		return same(a, b)
	case []uint16:
		return same(a, b)
	case []uint32:
		return same(a, b)
	case []uint64:
		return same(a, b)
	case []bool:
		return same(a, b)
	case []ort.Float16:
		return same(a, b)
	case []ort.BFloat16:
		return same(a, b)
	}
	return false
}

func same[T comparable](a []T, b any) bool {
	c, ok := b.([]T)
	if !ok || len(a) != len(c) {
		return false
	}
	for i := range a {
		if a[i] != c[i] {
			return false
		}
	}
	return true
}

func TestRefusesWrongInputs(t *testing.T) {
	s := sum(t)
	good := ort.New([]float32{1, 2, 3}, 1, 3)
	tests := []struct {
		name string
		in   map[string]ort.Tensor
		want string
	}{
		{"missing", map[string]ort.Tensor{"a": good}, `input "b" is missing`},
		{"unknown", map[string]ort.Tensor{"a": good, "b": good, "c": good}, `there is no input "c"`},
		{"type", map[string]ort.Tensor{"a": good, "b": ort.New([]int64{1, 2, 3}, 1, 3)}, "takes float32, not int64"},
		{"length", map[string]ort.Tensor{"a": good, "b": ort.New([]float32{1, 2}, 1, 3)}, "needs 3 elements, the data has 2"},
		{"negative", map[string]ort.Tensor{"a": good, "b": ort.New([]float32{1, 2, 3}, -1, -3)}, "negative dimension"},
		{"overflow", map[string]ort.Tensor{"a": good, "b": ort.New([]float32{1, 2, 3}, 1<<40, 1<<40)}, "too many elements"},
		{"no tensor", map[string]ort.Tensor{"a": good, "b": {Shape: []int{1, 3}, Data: "abc"}}, "none that a tensor can hold"},
		{"shape", map[string]ort.Tensor{"a": good, "b": ort.New([]float32{1, 2}, 1, 2)}, "dimension"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Run(tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "sum.onnx") {
				t.Errorf("error %v does not tell %q and the file", err, tt.want)
			}
		})
	}
	if _, err := s.Run(map[string]ort.Tensor{"a": good, "b": good}, "z"); err == nil || !strings.Contains(err.Error(), `no output "z"`) {
		t.Errorf("unknown output: %v", err)
	}
	if err := s.RunInto(map[string]ort.Tensor{"a": good, "b": good}, map[string]ort.Tensor{"s": ort.New([]float32{0}, 1, 3)}); err == nil {
		t.Error("an output buffer that is too short was taken")
	}
}

func TestErrorsNameTheModel(t *testing.T) {
	rt := open(t)
	_, err := rt.Session(filepath.Join(t.TempDir(), "absent.onnx"), ort.Options{})
	var e *ort.Error
	if !errors.As(err, &e) || e.Code != ort.NoSuchFile || !strings.Contains(err.Error(), "absent.onnx") {
		t.Errorf("absent file: %v", err)
	}
	_, err = rt.SessionBytes([]byte("not a model"), "noise.onnx", ort.Options{})
	if !errors.As(err, &e) || e.Model != "noise.onnx" {
		t.Errorf("noise: %v", err)
	}
	_, err = rt.SessionBytes(nil, "empty.onnx", ort.Options{})
	if !errors.As(err, &e) || e.Code != ort.NoModel {
		t.Errorf("empty: %v", err)
	}
	bad := model(t, nil, []*pb.ValueInfoProto{value("y", pb.TensorProto_FLOAT, 1)}, &pb.NodeProto{OpType: "NoSuchOperator", Output: []string{"y"}})
	if _, err = rt.SessionBytes(bad, "bad.onnx", ort.Options{}); err == nil || !strings.Contains(err.Error(), "NoSuchOperator") {
		t.Errorf("unknown operator: %v", err)
	}
	if _, err = rt.SessionBytes(bad, "bad.onnx", ort.Options{Threads: -1}); err == nil || !strings.Contains(err.Error(), "-1 threads") {
		t.Errorf("negative threads: %v", err)
	}
}

func TestClosedSession(t *testing.T) {
	s := sum(t)
	s.Close()
	s.Close()
	if _, err := s.Run(map[string]ort.Tensor{}); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("run after close: %v", err)
	}
}

// TestConcurrentRuns runs one session from several goroutines while the
// collector works, with inputs that nothing but the call keeps alive.
func TestConcurrentRuns(t *testing.T) {
	s := sum(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 50 {
				x := float32(g*1000 + i)
				got, err := s.Run(map[string]ort.Tensor{"a": ort.New([]float32{x, x, x}, 1, 3), "b": ort.New([]float32{1, 2, 3}, 1, 3)}, "s")
				if err != nil {
					t.Error(err)
					return
				}
				if d := got["s"].Data.([]float32); d[0] != x+1 || d[2] != x+3 {
					t.Errorf("got %v for %v", d, x)
				}
				if i%10 == 0 {
					runtime.GC()
				}
			}
		}()
	}
	wg.Wait()
}

func TestOpenExplainsItself(t *testing.T) {
	var nf *ort.NotFoundError
	_, err := ort.Open(filepath.Join(t.TempDir(), "libnothing.so"))
	if !errors.As(err, &nf) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "npm install onnxruntime-node") || !strings.Contains(err.Error(), ort.EnvVar) {
		t.Errorf("absent library: %v", err)
	}
	if _, err = ort.Open(t.TempDir()); !errors.As(err, &nf) || !strings.Contains(err.Error(), "folder") {
		t.Errorf("folder as library: %v", err)
	}
	noise := filepath.Join(t.TempDir(), "noise.so")
	if err := os.WriteFile(noise, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = ort.Open(noise); !errors.As(err, &nf) {
		t.Errorf("file of noise: %v", err)
	}
}

func TestOpenOnce(t *testing.T) {
	a, b := open(t), open(t)
	if a != b {
		t.Error("the same path was loaded twice")
	}
	if !strings.Contains(a.Version(), ".") {
		t.Errorf("version %q", a.Version())
	}
}

// BenchmarkRun measures what a call costs beside the computing: copies of one
// MiB of outputs, or none.
func BenchmarkRun(b *testing.B) {
	const n = 1 << 18
	f := pb.TensorProto_FLOAT
	s, err := open(b).SessionBytes(model(b,
		[]*pb.ValueInfoProto{value("x", f, n)}, []*pb.ValueInfoProto{value("y", f, n)},
		&pb.NodeProto{OpType: "Neg", Input: []string{"x"}, Output: []string{"y"}}), "neg.onnx", ort.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	in := map[string]ort.Tensor{"x": ort.New(make([]float32, n), n)}
	into := map[string]ort.Tensor{"y": ort.New(make([]float32, n), n)}
	b.Run("copied", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Run(in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("in place", func(b *testing.B) {
		for b.Loop() {
			if err := s.RunInto(in, into); err != nil {
				b.Fatal(err)
			}
		}
	})
}
