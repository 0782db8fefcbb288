package export_test

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

func load(t testing.TB, elem ...string) *onnx.Model {
	t.Helper()
	m, err := onnx.Load(testutil.SharedDir(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tensorFile reads a TensorProto file.
func tensorFile(t testing.TB, elem ...string) ort.Tensor {
	t.Helper()
	data, err := os.ReadFile(testutil.SharedDir(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	p := &pb.TensorProto{}
	if err := proto.Unmarshal(data, p); err != nil {
		t.Fatal(err)
	}
	values, err := onnx.Floats(p)
	if err != nil {
		t.Fatal(err)
	}
	return ort.New(values, onnx.Dims(p)...)
}

func marshal(t testing.TB, m *onnx.Model) []byte {
	t.Helper()
	data, err := proto.Marshal(m.ModelProto)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// runModel runs a model in ONNX Runtime on its only input and returns an
// output, the first where none is named.
func runModel(t testing.TB, m *onnx.Model, input ort.Tensor, output ...string) ort.Tensor {
	t.Helper()
	s := testutil.ORTSessionBytes(t, marshal(t, m), m.GetGraph().GetName())
	if len(output) == 0 {
		output = []string{s.Outputs()[0].Name}
	}
	got, err := s.Run(map[string]ort.Tensor{s.Inputs()[0].Name: input}, output...)
	if err != nil {
		t.Fatal(err)
	}
	return got[output[0]]
}

// noise returns normally distributed values.
func noise(seed uint64, shape ...int) ort.Tensor {
	r := rand.New(rand.NewPCG(seed, 1))
	n := 1
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(r.NormFloat64())
	}
	return ort.New(data, shape...)
}

// softmaxAt is this file's own reading of what a deployed network does with
// scores (N,C,h,w): bilinear interpolation with pixel centres at the halves and
// clamped borders, then softmax over C. Everything is float64, one output pixel
// after the other.
func softmaxAt(scores ort.Tensor, height, width int) []float64 {
	n, c, h, w := scores.Shape[0], scores.Shape[1], scores.Shape[2], scores.Shape[3]
	data := scores.Data.([]float32)
	out := make([]float64, n*c*height*width)
	source := func(i, size, target int) (int, int, float64) {
		x := (float64(i)+0.5)*float64(size)/float64(target) - 0.5
		x = math.Min(math.Max(x, 0), float64(size-1))
		low := int(math.Floor(x))
		return low, min(low+1, size-1), x - float64(low)
	}
	pixel := make([]float64, c)
	for b := range n {
		for y := range height {
			y0, y1, fy := source(y, h, height)
			for x := range width {
				x0, x1, fx := source(x, w, width)
				sum := 0.0
				for k := range c {
					at := func(y, x int) float64 { return float64(data[((b*c+k)*h+y)*w+x]) }
					v := (1-fy)*((1-fx)*at(y0, x0)+fx*at(y0, x1)) + fy*((1-fx)*at(y1, x0)+fx*at(y1, x1))
					pixel[k] = math.Exp(v)
					sum += pixel[k]
				}
				for k := range c {
					out[((b*c+k)*height+y)*width+x] = pixel[k] / sum
				}
			}
		}
	}
	return out
}

// difference returns the largest absolute difference and the largest
// magnitude of want.
func difference(t testing.TB, got []float32, want []float64) (diff, largest float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i := range got {
		d := math.Abs(float64(got[i]) - want[i])
		if math.IsNaN(d) {
			t.Fatalf("value %d is %v, want %v", i, got[i], want[i])
		}
		diff, largest = max(diff, d), max(largest, math.Abs(want[i]))
	}
	return diff, largest
}

func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func count(m *onnx.Model, op string) int {
	n := 0
	for _, node := range m.GetGraph().GetNode() {
		if node.GetOpType() == op {
			n++
		}
	}
	return n
}
