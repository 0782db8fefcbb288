package models

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/onnx"
)

func TestRandomizeDrawsWeightsAnew(t *testing.T) {
	m, err := New(Spec{Encoder: "resnet18dilated", Decoder: "c1", Classes: 3, Seed: 1, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	a, err := Randomize(m, onnx.EncoderPrefix, 7)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Randomize(m, onnx.EncoderPrefix, 7)
	if err != nil {
		t.Fatal(err)
	}
	values := func(m *onnx.Model, name string) []float32 {
		for _, init := range m.GetGraph().GetInitializer() {
			if init.GetName() == name {
				v, err := onnx.Floats(init)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatalf("no initializer %q", name)
		return nil
	}
	const weight = "encoder.layer4.1.conv2.weight" // 64 x 64 x 3 x 3
	old, one, two := values(m, weight), values(a, weight), values(b, weight)
	sum, same := 0.0, 0
	for i := range one {
		if one[i] != two[i] {
			t.Fatal("one seed gave two weights")
		}
		if one[i] == old[i] {
			same++
		}
		sum += float64(one[i]) * float64(one[i])
	}
	std, want := math.Sqrt(sum/float64(len(one))), math.Sqrt(2.0/(64*9))
	if same > len(one)/100 || math.Abs(std-want) > 0.03*want {
		t.Errorf("%d of %d weights unchanged, standard deviation %.5f, want %.5f", same, len(one), std, want)
	}
	for i, v := range values(a, "decoder.conv_last.weight") {
		if v != values(m, "decoder.conv_last.weight")[i] {
			t.Fatal("the decoder was changed")
		}
	}
	if _, err := Randomize(m, "nothing.", 7); err == nil {
		t.Error("no weight to draw, and no error")
	}
}
