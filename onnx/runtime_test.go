package onnx

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
)

// runORT runs a model in ONNX Runtime without its graph optimisations and
// returns its float outputs; the test is skipped where there is no runtime.
func runORT(t testing.TB, m *Model, inputs map[string]ort.Tensor) map[string]ort.Tensor {
	t.Helper()
	if err := Check(m); err != nil {
		t.Fatalf("check: %v", err)
	}
	data, err := proto.Marshal(m.ModelProto)
	if err != nil {
		t.Fatal(err)
	}
	return testutil.RunORTBytes(t, data, t.Name(), inputs)
}

// noise fills a slice with numbers in [-1, 1) that depend on nothing but seed.
func noise(n int, seed uint32) []float32 {
	out := make([]float32, n)
	for i := range out {
		u := uint32(i)*2654435761 + seed*40503 + 12345
		u ^= u >> 16
		u *= 2246822519
		u ^= u >> 13
		out[i] = float32(u&0xFFFF)/32768 - 1
	}
	return out
}

// differ returns the largest difference, over the largest value.
func differ(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var most, scale float64
	for i := range got {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if d != d { // NaN in one of them only
			if got[i] != got[i] && want[i] != want[i] {
				continue
			}
			return math.Inf(1)
		}
		most = max(most, d)
		scale = max(scale, math.Abs(float64(want[i])))
	}
	if most == 0 {
		return 0
	}
	return most / max(scale, 1e-30)
}
