package models_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// foreign builds an encoder as another exporter would write it: an old
// operator set, names of its own, feature maps of 4, 6 and 10 channels.
func foreign(t testing.TB, change func(b *onnx.Builder)) *onnx.Model {
	t.Helper()
	return foreignOpset(t, 11, change)
}

func foreignOpset(t testing.TB, opset int64, change func(b *onnx.Builder)) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder("foreign", opset)
	x := b.Input("data", pb.TensorProto_FLOAT, "batch", 3, "rows", "columns")
	in := 3
	for i, out := range []int{4, 6, 10} {
		n := out * in * 9
		w := make([]float32, n)
		for k := range w {
			w[k] = float32(k%7-3) / 10
		}
		weight := b.Initializer(onnx.NewFloats(fmt.Sprintf("w%d", i), []int{out, in, 3, 3}, w))
		x = b.Op("Conv", fmt.Sprintf("conv%d", i), []string{x, weight}, onnx.IntsAttr("pads", 1, 1, 1, 1), onnx.IntsAttr("strides", 2, 2))
		x = b.Op("Relu", fmt.Sprintf("features_%d", i), []string{x})
		b.Output(x, pb.TensorProto_FLOAT, nil, out, nil, nil)
		in = out
	}
	if change != nil {
		change(b)
	}
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Path = "foreign.onnx"
	return m
}

func TestAttach(t *testing.T) {
	enc := foreign(t, nil)
	before := marshal(t, enc)
	levels := map[string]int{"upernet_lite": 256, "upernet": 512}
	for _, decoder := range models.Decoders() {
		m, err := models.Attach(enc, decoder, 3, 1)
		if err != nil {
			t.Fatalf("%s: %v", decoder, err)
		}
		if err := onnx.Check(m); err != nil {
			t.Errorf("%s: %v", decoder, err)
		}
		for _, name := range []string{"encoder.w0", "encoder.w2"} {
			if m.Initializer(name) == nil {
				t.Errorf("%s: there is no parameter %s", decoder, name)
			}
		}
		if in := m.Graph.Input; len(in) != 1 || in[0].GetName() != models.InputName {
			t.Errorf("%s: inputs %v", decoder, in)
		}
		// fc_dim is 10: a quarter, rounded down, is 2. The branch reads the 6
		// channels of the tap before.
		for name, want := range map[string]string{
			"decoder.cbr.0.weight": "[2 10 3 3]", "decoder.cbr_deepsup.0.weight": "[2 6 3 3]",
			"decoder.ppm.3.1.weight": "[512 10 1 1]", "decoder.conv_last.0.weight": "[512 2058 3 3]",
			// UPerNet reads all three taps, whatever their number.
			"decoder.fpn_in.0.1.weight":    fmt.Sprintf("[%d]", levels[decoder]),
			"decoder.fpn_in.1.0.weight":    fmt.Sprintf("[%d 6 1 1]", levels[decoder]),
			"decoder.fpn_in.2.0.weight":    "none",
			"decoder.conv_last.0.0.weight": fmt.Sprintf("[%d %d 3 3]", levels[decoder], 3*levels[decoder]),
		} {
			if p := m.Initializer(name); p != nil && fmt.Sprint(onnx.Dims(p)) != want {
				t.Errorf("%s: %s is %v, want %s", decoder, name, onnx.Dims(p), want)
			}
		}
		if got, _ := m.Metadata(models.DecoderKey); got != decoder {
			t.Errorf("metadata names the decoder %q, want %q", got, decoder)
		}
	}
	if string(marshal(t, enc)) != string(before) {
		t.Error("Attach changed the encoder given")
	}
}

func TestAttachedModelRuns(t *testing.T) {
	for _, opset := range []int64{7, 11, 13, 15, 17, 21} {
		m, err := models.Attach(foreignOpset(t, opset, nil), "ppm_deepsup", 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		if want := max(opset, 15); m.Opset("") != want {
			t.Errorf("opset %d became %d, want %d", opset, m.Opset(""), want)
		}
		got := run(t, m, noise(2, 3, 50, 33))
		checkLogProbabilities(t, got[models.OutputName], 2, 3, 7, 5)
		checkLogProbabilities(t, got[models.DeepSupOutputName], 2, 3, 13, 9)
	}
}

func TestAttachErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		encoder *onnx.Model
		decoder string
		classes int
		says    string
		kind    any
	}{
		"decoder":         {foreign(t, nil), "fcn", 2, "known are c1,", new(*models.SpecError)},
		"classes":         {foreign(t, nil), "c1", -1, "classes: is -1", new(*models.SpecError)},
		"one tap":         {one(t, "features_0", 4), "c1_deepsup", 2, "reads the last 2 taps, the encoder \"one\" has 1", new(*models.SpecError)},
		"one tap for all": {one(t, "features_0", 4), "upernet", 2, "upernet reads at least 2 taps, the encoder \"one\" has 1", new(*models.SpecError)},
		"no taps":         {one(t, "y", 4), "c1", 2, "import the backbone first", new(*onnx.Error)},
		"gap":             {one(t, "features_1", 4), "c1", 2, "none features_0", new(*onnx.Error)},
		"rank":            {one(t, "features_0", 2), "c1", 2, `output "features_0" is`, new(*onnx.Error)},
		"inputs": {foreign(t, func(b *onnx.Builder) {
			b.Input("mask", pb.TensorProto_FLOAT, 1)
		}), "c1", 2, `inputs ["data" "mask"]`, new(*onnx.Error)},
		"name taken": {foreign(t, func(b *onnx.Builder) {
			b.Op("Relu", "encoder.w1", []string{"features_2"})
		}), "c1", 2, "name of another value", new(*onnx.Error)},
	} {
		_, err := models.Attach(tc.encoder, tc.decoder, tc.classes, 1)
		if err == nil || !strings.Contains(err.Error(), tc.says) || !errors.As(err, tc.kind) {
			t.Errorf("%s: error %v does not say %q as %T", name, err, tc.says, tc.kind)
		}
	}
}

// one builds a model with a single output of the name and rank.
func one(t testing.TB, output string, rank int) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder("one", 15)
	dims := []any{"N", 3, "H", "W"}[:rank]
	b.Input("x", pb.TensorProto_FLOAT, dims...)
	b.Output(b.Op("Relu", output, []string{"x"}), pb.TensorProto_FLOAT, dims...)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
