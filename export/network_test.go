package export_test

import (
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
)

// TestVerifyAgainstGraft compares deployed files with graft's own evaluation on
// every device of this machine.
func TestVerifyAgainstGraft(t *testing.T) {
	runtime := testutil.OnnxRuntime(t)
	for _, name := range device.Names() {
		if name == device.Auto {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dev, err := device.Open(name)
			if err != nil {
				t.Skip("skipped: ", err)
			}
			defer dev.Close()
			for _, tt := range []struct{ encoder, decoder string }{
				{"MobileNetV2dilated", "C1_deepsup"},
				{"ResNet18dilated", "PPM_deepsup"},
			} {
				m, err := models.New(models.Spec{Encoder: tt.encoder, Decoder: tt.decoder, Classes: 7, Seed: 5, Width: 8})
				if err != nil {
					t.Fatal(err)
				}
				unsettle(t, m)
				network, err := graph.NewNetwork(m, dev)
				if err != nil {
					t.Fatal(err)
				}
				out, err := export.Inference(m, export.DefaultOptions())
				if err != nil {
					t.Fatal(err)
				}
				report, err := export.Verify(save(t, out, "deploy.onnx"), export.NewNetworkEvaluator(network, ""),
					export.VerifyOptions{Runtime: runtime, Threads: 2, Sizes: [][2]int{{64, 64}, {65, 91}}})
				if err != nil {
					t.Fatal(err)
				}
				if err := report.Err(); err != nil {
					t.Errorf("%s %s: %v", tt.encoder, tt.decoder, err)
				}
				if report.MaxAbs > 1e-5 {
					t.Errorf("%s %s: probabilities differ by %.2e, more than 1e-5", tt.encoder, tt.decoder, report.MaxAbs)
				}
			}
		})
	}
}
