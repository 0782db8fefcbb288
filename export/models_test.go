package export_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// unsettle gives batch normalisations statistics that are not those of a new
// network, so that forgetting them shows.
func unsettle(t testing.TB, m *onnx.Model) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range m.GetGraph().GetInitializer() {
		name := p.GetName()
		mean, variance := strings.HasSuffix(name, ".running_mean"), strings.HasSuffix(name, ".running_var")
		if !mean && !variance {
			continue
		}
		values, err := onnx.Floats(p)
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			if mean {
				values[i] = float32(0.1 * r.NormFloat64())
			} else {
				values[i] = float32(0.5 + r.Float64())
			}
		}
		if err := onnx.SetFloats(p, values); err != nil {
			t.Fatal(err)
		}
	}
}

// TestModels exports graft's own networks and compares the files with the
// training graphs at several sizes, odd ones included.
func TestModels(t *testing.T) {
	tests := []struct{ encoder, decoder string }{
		{"MobileNetV2dilated", "C1_deepsup"},
		{"ResNet18", "C1"},
		{"ResNet18dilated", "PPM_deepsup"},
	}
	for _, tt := range tests {
		t.Run(tt.encoder+" "+tt.decoder, func(t *testing.T) {
			m, err := models.New(models.Spec{Encoder: tt.encoder, Decoder: tt.decoder, Classes: 7, Seed: 5, Width: 8})
			if err != nil {
				t.Fatal(err)
			}
			unsettle(t, m)
			out, err := export.Inference(m, export.DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			if n := count(out, "BatchNormalization"); n != 0 {
				t.Errorf("%d BatchNormalizations are not folded", n)
			}
			if len(out.GetFunctions()) > 0 || count(out, "CastLike") > 0 {
				t.Error("functions, or operators that only they use, are left")
			}
			if out.Opset("") != 15 || out.GetIrVersion() != 8 {
				t.Errorf("operator set %d and IR %d, want 15 and 8", out.Opset(""), out.GetIrVersion())
			}
			report, err := export.Verify(save(t, out, "deploy.onnx"), trained(t, m), export.VerifyOptions{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			if report.MaxAbs > 1e-5 {
				t.Errorf("probabilities differ by %.2e, more than 1e-5", report.MaxAbs)
			}
		})
	}
}

// TestFixedShape exports for one shape: no shape arithmetic is left, and the
// file computes what the dynamic one does.
func TestFixedShape(t *testing.T) {
	m, err := models.New(models.Spec{Encoder: "ResNet18dilated", Decoder: "PPM_deepsup", Classes: 7, Seed: 5, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	reference := trained(t, m)
	for _, layout := range []export.Layout{export.Normalised, export.PixelsNHWC} {
		for _, head := range []export.Head{export.Softmax, export.ArgMax} {
			opts := export.DefaultOptions()
			opts.Shape, opts.Preprocess, opts.Head = []int{2, 70, 51}, layout, head
			out, err := export.Inference(m, opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, op := range []string{"Shape", "Slice", "Gather", "Range"} {
				if n := count(out, op); n > 0 {
					t.Errorf("%d %s are left", n, op)
				}
			}
			report, err := export.Verify(save(t, out, "deploy.onnx"), reference, export.VerifyOptions{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			if c := report.Cases; len(c) != 1 || c[0].Batch != 2 || c[0].Height != 70 || c[0].Width != 51 {
				t.Errorf("compared %+v, want the only shape", c)
			}
		}
	}
}
