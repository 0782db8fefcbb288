package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

func marshal(t testing.TB, m *Model) []byte {
	t.Helper()
	data, err := m.marshal("")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// field appends a length-delimited field.
func field(to []byte, num protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, num, protowire.BytesType), value)
}

// nested is a model of that many graphs, each in an attribute of the one around.
func nested(depth int) []byte {
	var graph []byte
	for range depth {
		attribute := field(nil, 6, graph)
		node := field(nil, 5, attribute)
		graph = field(nil, 1, node)
	}
	return field(nil, 7, graph)
}

func TestParseRefuses(t *testing.T) {
	whole := marshal(t, smallModel(t))
	empties := field(nil, 7, bytes.Repeat([]byte{5<<3 | 2, 0}, 4<<20)) // four million empty initializers
	for name, c := range map[string]struct {
		data []byte
		is   error
		says string
	}{
		"nothing":           {nil, ErrNotONNX, "empty"},
		"text":              {[]byte("hello, this is a text file\n"), ErrDamaged, ""},
		"web page":          {[]byte("<!DOCTYPE html><html>"), ErrNotONNX, "a web page"},
		"LFS pointer":       {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), ErrNotONNX, "Git LFS"},
		"zip":               {[]byte("PK\x03\x04\x14\x00\x00\x00"), ErrNotONNX, "zip"},
		"TFLite":            {[]byte("\x1c\x00\x00\x00TFL3\x14\x00"), ErrNotONNX, "TensorFlow Lite"},
		"pickle":            {[]byte("\x80\x02}q\x00"), ErrNotONNX, "pickle"},
		"JSON":              {[]byte(`{"a": 1}`), ErrNotONNX, "JSON"},
		"unknown fields":    {field(nil, 99, []byte("abc")), ErrNotONNX, "neither graph nor version"},
		"no graph":          {protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8), ErrNotONNX, "no graph"},
		"empty graph":       {field(nil, 7, nil), ErrNotONNX, "graph is empty"},
		"zeros behind":      {append(bytes.Clone(whole), 0, 0, 0), ErrDamaged, "broken or cut"},
		"text behind":       {append(bytes.Clone(whole), "garbage"...), ErrDamaged, ""},
		"deeply nested":     {nested(2000), ErrDamaged, "nest deeper"},
		"messages by heaps": {empties, ErrTooLarge, "far more messages"},
		"bad varint":        {append([]byte{1 << 3}, bytes.Repeat([]byte{0xff}, 11)...), ErrDamaged, ""},
		"graph as number":   {protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.VarintType), 8), ErrDamaged, "wire type"},
		"huge dimensions": {marshal(t, &Model{ModelProto: &pb.ModelProto{Graph: &pb.GraphProto{
			Initializer: []*pb.TensorProto{{Name: "w", Dims: []int64{1 << 20, 1 << 20}, DataType: 1}}}}}), ErrTensor, `tensor "w"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.data, "dir/net.onnx")
			if !errors.Is(err, c.is) {
				t.Fatalf("%v is not %v", err, c.is)
			}
			var e *Error
			if !errors.As(err, &e) || e.File != "dir/net.onnx" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v names no file or does not say %q", err, c.says)
			}
		})
	}
	if _, err := Parse(nested(20), ""); err != nil {
		t.Errorf("twenty graphs in one another: %v", err)
	}
}

// Cutting a file anywhere is noticed, except where what is left is a whole
// model (fields at the end can be missing without a trace).
func TestTruncatedModels(t *testing.T) {
	whole := marshal(t, smallModel(t))
	for n := range whole {
		m, err := Parse(whole[:n], "net.onnx")
		if err == nil && proto.Size(m.ModelProto) != n {
			t.Errorf("%d of %d bytes are accepted", n, len(whole))
		}
	}
}

func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	var e *Error
	if _, err := Load(filepath.Join(dir, "none.onnx")); !errors.Is(err, os.ErrNotExist) || !errors.As(err, &e) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(dir); !errors.Is(err, ErrNotONNX) {
		t.Errorf("a folder: %v", err)
	}
	if runtime.GOOS != "windows" {
		if _, err := Load(os.DevNull); !errors.Is(err, ErrNotONNX) {
			t.Errorf("a device: %v", err)
		}
	}
	sparse := filepath.Join(dir, "sparse.onnx")
	if err := os.WriteFile(sparse, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 3<<30); err != nil {
		t.Skipf("skipped: no sparse files here: %v", err)
	}
	if _, err := Load(sparse); !errors.Is(err, ErrTooLarge) {
		t.Errorf("3 GiB: %v", err)
	}
}

// Text in another encoding does not keep a model from loading.
func TestTextThatIsNotUTF8(t *testing.T) {
	m := smallModel(t)
	m.DocString = "caf\u00e9 MARK"
	m.Graph.Node[0].DocString = "MARK"
	data := bytes.ReplaceAll(marshal(t, m), []byte("MARK"), []byte("\xe9t\xe9\xff"))
	before := bytes.Clone(data)
	got, err := Parse(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if got.DocString != "caf\u00e9 ?t??" || got.Graph.Node[0].DocString != "?t??" || !utf8.ValidString(got.DocString) {
		t.Errorf("%q, %q", got.DocString, got.Graph.Node[0].DocString)
	}
	if !bytes.Equal(data, before) {
		t.Error("Parse writes into its argument")
	}
	if err := Check(got); err != nil {
		t.Error(err)
	}
}

// Fields of a later ONNX version survive loading and saving.
func TestUnknownFieldsSurvive(t *testing.T) {
	data := field(marshal(t, smallModel(t)), 26, []byte("configuration"))
	m, err := Parse(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(marshal(t, m), []byte("configuration")) {
		t.Error("an unknown field is lost")
	}
}

// Refusing a file that claims much costs memory in proportion to the file.
func TestMemoryIsBounded(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty messages": field(nil, 7, bytes.Repeat([]byte{1<<3 | 2, 0}, 8<<20)),
		"short integers": field(nil, 7, field(nil, 5, field(nil, 7, make([]byte, 16<<20)))),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(data, "")
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if grown, limit := after.TotalAlloc-before.TotalAlloc, uint64(freeMemory+maxGrowth*len(data)); grown > limit {
			t.Errorf("%s: %d bytes allocated for a file of %d, want at most %d", name, grown, len(data), limit)
		}
	}
}
