package testutil

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// TensorProto reads a file that holds one serialised tensor, as the ONNX
// standard's test data does.
func TensorProto(t testing.TB, path string) *pb.TensorProto {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p pb.TensorProto
	if err := proto.Unmarshal(data, &p); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return &p
}

// NPY reads a little-endian float32 .npy file in C order.
func NPY(t testing.TB, path string) (shape []int, data []float32) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	shape, data, err = parseNPY(raw)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return shape, data
}

func parseNPY(raw []byte) ([]int, []float32, error) {
	if len(raw) < 10 || string(raw[:6]) != "\x93NUMPY" {
		return nil, nil, fmt.Errorf("not an .npy file")
	}
	start, size := 10, int(binary.LittleEndian.Uint16(raw[8:]))
	if raw[6] >= 2 {
		start, size = 12, int(binary.LittleEndian.Uint32(raw[8:]))
	}
	if start+size > len(raw) {
		return nil, nil, fmt.Errorf("truncated header")
	}
	header := string(raw[start : start+size])
	if !strings.Contains(header, "'<f4'") || !strings.Contains(header, "'fortran_order': False") {
		return nil, nil, fmt.Errorf("want little-endian float32 in C order, header %s", header)
	}
	open, end := strings.Index(header, "("), strings.Index(header, ")")
	if open < 0 || end < open {
		return nil, nil, fmt.Errorf("no shape in header %s", header)
	}
	shape, n := []int{}, 1
	for _, s := range strings.Split(header[open+1:end], ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		d, err := strconv.Atoi(s)
		if err != nil {
			return nil, nil, err
		}
		shape, n = append(shape, d), n*d
	}
	body := raw[start+size:]
	if len(body) != 4*n {
		return nil, nil, fmt.Errorf("%d bytes for shape %v", len(body), shape)
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
	}
	return shape, data, nil
}

// RelativeNorm returns the norm of got-want over the norm of want, in float64.
func RelativeNorm(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var d, w float64
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		d += e * e
		w += float64(want[i]) * float64(want[i])
	}
	if w == 0 {
		return math.Sqrt(d)
	}
	return math.Sqrt(d / w)
}
