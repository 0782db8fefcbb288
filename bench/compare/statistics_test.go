package main

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

func TestStatisticsSettleOnTheBatch(t *testing.T) {
	b := onnx.NewBuilder("norm", 15)
	x := b.Input(onnx.ImageName, pb.TensorProto_FLOAT, "N", 3, "H", "W")
	three := func(name string, v float32) string {
		return b.Initializer(onnx.NewFloats(name, []int{3}, []float32{v, v, v}))
	}
	x = b.Op("BatchNormalization", "y", []string{x, three("scale", 1), three("shift", 0), three("mean", 0), three("variance", 1)})
	x = b.Op("LogSoftmax", onnx.OutputName, []string{x}, onnx.IntAttr("axis", 1))
	b.Output(x, pb.TensorProto_FLOAT, "N", 3, "H", "W")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	// Channels 1 3, 2 2, -4 0: means 2, 2, -2; unbiased variances 2, 0, 8.
	if err := settleStatistics(m, []float32{1, 3, 2, 2, -4, 0}, []int{1, 3, 1, 2}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]float32{"mean": {2, 2, -2}, "variance": {2, 0, 8}, "scale": {1, 1, 1}} {
		got, err := onnx.Floats(m.Initializer(name))
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 1e-5 {
				t.Errorf("%s is %v, want %v", name, got, want)
				break
			}
		}
	}
	if n := m.GetGraph().GetNode()[0]; onnx.AttrFloat(n, "momentum", 0.9) != 0.9 {
		t.Error("the model's momentum changed")
	}
}
