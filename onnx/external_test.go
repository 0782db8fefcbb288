package onnx

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// externalModel writes a model whose initializer lies in another file, as the
// entries say, and returns its path.
func externalModel(t *testing.T, dir string, dims []int64, entries ...string) string {
	t.Helper()
	m := smallModel(t)
	w := m.Initializer("w")
	w.RawData, w.Dims, w.DataLocation = nil, dims, pb.TensorProto_EXTERNAL
	for i := 0; i < len(entries); i += 2 {
		w.ExternalData = append(w.ExternalData, &pb.StringStringEntryProto{Key: entries[i], Value: entries[i+1]})
	}
	path := filepath.Join(dir, "net.onnx")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func weightBytes(n int) []byte {
	raw := make([]byte, 4*n)
	for i := range n {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(float32(i)))
	}
	return raw
}

func TestExternalData(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "model")
	for path, n := range map[string]int{"secret.bin": 100, "model/w.bin": 100, "model/sub/w.bin": 6} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(top, path)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, path), weightBytes(n), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	linked := true
	for name, to := range map[string]string{
		"out.bin": "../secret.bin", "absolute.bin": filepath.Join(top, "secret.bin"), "folder": "..", "in.bin": "w.bin",
	} {
		linked = linked && os.Symlink(to, filepath.Join(dir, name)) == nil
	}
	shape := []int64{2, 3, 1, 1}
	for name, c := range map[string]struct {
		dims    []int64
		entries []string
		first   float32 // of the weights, where err is nil
		err     error
		says    string
		link    bool
	}{
		"location alone":        {shape, []string{"location", "w.bin"}, 0, nil, "", false},
		"offset":                {shape, []string{"location", "w.bin", "offset", "40"}, 10, nil, "", false},
		"offset and length":     {shape, []string{"location", "w.bin", "offset", "376", "length", "24"}, 94, nil, "", false},
		"checksum is read over": {shape, []string{"location", "w.bin", "checksum", "00"}, 0, nil, "", false},
		"in a folder":           {shape, []string{"location", "./sub/w.bin"}, 0, nil, "", false},
		"link that stays in":    {shape, []string{"location", "in.bin"}, 0, nil, "", true},

		"no location":         {shape, []string{"offset", "0"}, 0, ErrExternalData, "no file is named", false},
		"missing":             {shape, []string{"location", "none.bin"}, 0, ErrExternalData, `"none.bin" is missing`, false},
		"leads out":           {shape, []string{"location", "../secret.bin"}, 0, ErrExternalData, "leads out", false},
		"leads out and back":  {shape, []string{"location", "../model/w.bin"}, 0, ErrExternalData, "leads out", false},
		"leads out inside":    {shape, []string{"location", "sub/../../secret.bin"}, 0, ErrExternalData, "leads out", false},
		"absolute":            {shape, []string{"location", "/etc/passwd"}, 0, ErrExternalData, "relative", false},
		"drive":               {shape, []string{"location", `C:w.bin`}, 0, ErrExternalData, "relative", false},
		"backslashes":         {shape, []string{"location", `..\secret.bin`}, 0, ErrExternalData, "relative", false},
		"link out":            {shape, []string{"location", "out.bin"}, 0, ErrExternalData, "no link", true},
		"absolute link out":   {shape, []string{"location", "absolute.bin"}, 0, ErrExternalData, "no link", true},
		"folder out":          {shape, []string{"location", "folder/secret.bin"}, 0, ErrExternalData, "no link", true},
		"a folder":            {shape, []string{"location", "sub"}, 0, ErrExternalData, "regular", false},
		"the folder itself":   {shape, []string{"location", "."}, 0, ErrExternalData, "regular", false},
		"offset is text":      {shape, []string{"location", "w.bin", "offset", "ten"}, 0, ErrExternalData, `offset is "ten"`, false},
		"offset is negative":  {shape, []string{"location", "w.bin", "offset", "-4"}, 0, ErrExternalData, "offset", false},
		"offset overflows":    {shape, []string{"location", "w.bin", "offset", "9223372036854775800"}, 0, ErrExternalData, "400 bytes", false},
		"offset out of range": {shape, []string{"location", "w.bin", "offset", "99999999999999999999"}, 0, ErrExternalData, "offset", false},
		"file too short":      {shape, []string{"location", "w.bin", "offset", "380"}, 0, ErrExternalData, "complete", false},
		"length too short":    {shape, []string{"location", "w.bin", "length", "20"}, 0, ErrExternalData, "needs 24", false},
		"length too long":     {shape, []string{"location", "w.bin", "length", "28"}, 0, ErrExternalData, "needs 24", false},
		"huge dimensions":     {[]int64{1 << 30, 1 << 20}, []string{"location", "w.bin"}, 0, ErrExternalData, "400 bytes", false},
		"dimensions overflow": {[]int64{1 << 40, 1 << 40}, []string{"location", "w.bin"}, 0, ErrTensor, "overflow", false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.link && !linked {
				t.Skip("skipped: no symbolic links here")
			}
			m, err := Load(externalModel(t, dir, c.dims, c.entries...))
			if c.err != nil {
				var e *Error
				if !errors.Is(err, c.err) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) ||
					!strings.Contains(err.Error(), `tensor "w"`) || filepath.Base(e.File) != "net.onnx" {
					t.Errorf("%v, want %v saying %q", err, c.err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v, err := Floats(m.Initializer("w"))
			if err != nil || len(v) != 6 || v[0] != c.first || v[5] != c.first+5 {
				t.Errorf("%v, %v", v, err)
			}
			if w := m.Initializer("w"); w.DataLocation != pb.TensorProto_DEFAULT || w.ExternalData != nil {
				t.Error("the tensor still points to the file")
			}
		})
	}
	data, err := os.ReadFile(externalModel(t, dir, shape, "location", "w.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(data, ""); !errors.Is(err, ErrExternalData) {
		t.Errorf("a model without a folder: %v", err)
	}
}

// A few bytes of weights cannot fill the memory by being read again and again.
func TestExternalDataReadTooOften(t *testing.T) {
	dir := t.TempDir()
	const n = 1 << 20
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), make([]byte, n), 0o666); err != nil {
		t.Fatal(err)
	}
	m := smallModel(t)
	for i := range 100 {
		m.Graph.Initializer = append(m.Graph.Initializer, &pb.TensorProto{
			Name: "t" + strconv.Itoa(i), Dims: []int64{n}, DataType: int32(pb.TensorProto_UINT8),
			DataLocation: pb.TensorProto_EXTERNAL, ExternalData: []*pb.StringStringEntryProto{{Key: "location", Value: "w.bin"}},
		})
	}
	path := filepath.Join(dir, "net.onnx")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

func TestSaveExternal(t *testing.T) {
	m := smallModel(t)
	values := make([]float32, 3000)
	for i := range values {
		values[i] = float32(i)
	}
	m.Graph.Initializer = append(m.Graph.Initializer,
		NewFloats("large", []int{3000}, values), NewFloats("larger", []int{2, 1500}, values))
	typed := NewFloats("typed", []int{3000}, nil)
	typed.RawData, typed.FloatData = nil, values
	m.Graph.Initializer = append(m.Graph.Initializer, typed)
	before := proto.Clone(m.ModelProto)
	dir := t.TempDir()
	path := filepath.Join(dir, "net.onnx")
	if err := m.SaveExternal(path, "net.weights"); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(before, m.ModelProto) {
		t.Error("saving changes the model")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var stored pb.ModelProto
	if err := proto.Unmarshal(raw, &stored); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "0", "12288", "24576"} {
		tt := stored.Graph.Initializer[i]
		got := ""
		for _, e := range tt.GetExternalData() {
			if e.GetKey() == "offset" {
				got = e.GetValue()
			}
		}
		if got != want {
			t.Errorf("%s lies at %q, want %q", tt.GetName(), got, want)
		}
	}
	back, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range m.Graph.Initializer {
		a, errA := Floats(want)
		b, errB := Floats(back.Graph.Initializer[i])
		if errA != nil || errB != nil || len(a) != len(b) {
			t.Fatal(errA, errB)
		}
		for j := range a {
			if a[j] != b[j] {
				t.Fatalf("%s[%d] is %g, was %g", want.GetName(), j, b[j], a[j])
			}
		}
	}
	if err := Check(back); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", ".", "..", "net.onnx", "../w.bin", "sub/w.bin", "/w.bin"} {
		if err := m.SaveExternal(path, bad); !errors.Is(err, ErrExternalData) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
