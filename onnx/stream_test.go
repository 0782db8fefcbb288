package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// ramp returns n numbers that bfloat16 holds, none like its neighbours.
func ramp(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%200) - 100
	}
	return v
}

// inParts is a source of numbers in parts of a given size.
func inParts(v []float32, size int) Source {
	return func(each func([]float32) error) error {
		for part := range slices.Chunk(v, size) {
			if err := each(part); err != nil {
				return err
			}
		}
		return nil
	}
}

// streamed is a model with tensors small and large, before and behind others, in
// the graph and in two training algorithms, and its sources.
func streamed(t *testing.T) (whole *Model, hollow *Model, sources Sources) {
	t.Helper()
	whole = smallModel(t)
	whole.SetMetadata("k", "v")
	var algorithms [2]*pb.GraphProto
	sources = Sources{}
	for i := range algorithms {
		algorithms[i] = &pb.GraphProto{Name: "algorithm", DocString: "behind the tensors"}
		for _, n := range []int{0, 3, 2000, 5000} {
			for _, dtype := range []pb.TensorProto_DataType{pb.TensorProto_FLOAT, pb.TensorProto_DOUBLE, pb.TensorProto_FLOAT16, pb.TensorProto_BFLOAT16} {
				one, err := NewTensor("state", dtype, []int{n}, ramp(n))
				if err != nil {
					t.Fatal(err)
				}
				one.DocString = "behind the elements"
				algorithms[i].Initializer = append(algorithms[i].Initializer, one)
			}
		}
		algorithms[i].Initializer = append(algorithms[i].Initializer, NewInts("step", nil, []int64{7}))
	}
	whole.Graph.Initializer = append(whole.Graph.Initializer, algorithms[0].Initializer...)
	whole.TrainingInfo = []*pb.TrainingInfoProto{{Algorithm: algorithms[0]}, {}, {Algorithm: algorithms[1]}}
	hollow = whole.Clone()
	for _, g := range []*pb.GraphProto{hollow.Graph, hollow.TrainingInfo[0].Algorithm, hollow.TrainingInfo[2].Algorithm} {
		for i, one := range g.Initializer {
			if i%2 == 0 && IsFloat(DataType(one)) {
				v, err := Floats(one)
				if err != nil {
					t.Fatal(err)
				}
				g.Initializer[i] = WithoutData(one)
				sources[g.Initializer[i]] = inParts(v, 700)
			}
		}
	}
	return whole, hollow, sources
}

// A file written in stretches has the bytes of the message as a whole, whether
// elements are in the model or come from sources.
func TestStreamHasTheBytesOfTheMessage(t *testing.T) {
	whole, hollow, sources := streamed(t)
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(whole.ModelProto)
	if err != nil {
		t.Fatal(err)
	}
	before := proto.Clone(hollow.ModelProto)
	dir := t.TempDir()
	for name, save := range map[string]func(string) error{
		"whole":  whole.Save,
		"hollow": func(path string) error { return hollow.SaveFrom(path, sources) },
	} {
		path := filepath.Join(dir, name)
		if err := save(path); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(got), len(want), err)
		}
	}
	if !proto.Equal(before, hollow.ModelProto) {
		t.Error("saving changes the model")
	}
}

// A source that fails, or gives another number of elements, leaves no file.
func TestSourceThatFails(t *testing.T) {
	broken := errors.New("the device is gone")
	dir := t.TempDir()
	for name, test := range map[string]struct {
		source Source
		want   error
	}{
		"fails":    {func(func([]float32) error) error { return broken }, broken},
		"too few":  {inParts(ramp(1999), 700), ErrTensor},
		"too many": {inParts(ramp(2001), 700), ErrTensor},
	} {
		m := smallModel(t)
		one := NewEmpty("state", pb.TensorProto_FLOAT, []int{2000})
		m.Graph.Initializer = append(m.Graph.Initializer, one)
		err := m.SaveFrom(filepath.Join(dir, "net.onnx"), Sources{one: test.source})
		var e *Error
		if !errors.Is(err, test.want) || !errors.As(err, &e) || e.File == "" || !bytes.Contains([]byte(err.Error()), []byte(`"state"`)) {
			t.Errorf("%s: %v", name, err)
		}
		one.DataType = int32(pb.TensorProto_INT64)
		if err := m.SaveFrom(filepath.Join(dir, "net.onnx"), Sources{one: test.source}); !errors.Is(err, ErrTensor) {
			t.Errorf("integers, %s: %v", name, err)
		}
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("%v is left", got)
	}
	// What sources give counts towards the largest file.
	m := smallModel(t)
	one := NewEmpty("state", pb.TensorProto_FLOAT, []int{600 << 20})
	m.Graph.Initializer = append(m.Graph.Initializer, one)
	if err := m.SaveFrom(filepath.Join(dir, "net.onnx"), Sources{one: inParts(nil, 1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than 2 GiB: %v", err)
	}
}
