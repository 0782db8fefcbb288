package models_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// backbones are classifiers of several exporters, operator sets and modes.
var backbones = []string{
	"onnx/backbone/mobilenetv2_in1k_fp32_dequant.onnx",
	"onnx/backbone/squeezenet_in1k_fp32_from_fp16.onnx",
	"torchvision/resnet18/train_op13.onnx",
	"torchvision/resnet18/train_op16.onnx",
	"torchvision/resnet18/evalfold_op13.onnx",
	"torchvision/mobilenet_v2/train_dyn_op13.onnx",
	"torchvision/mobilenet_v2/evalkeep_op13.onnx",
}

// A decoder fits every imported backbone, and the network runs alike in ONNX
// Runtime and on graft's kernels at a size of its own.
func TestAttachToImportedBackbones(t *testing.T) {
	for i, file := range backbones {
		names := []string{"c1_deepsup"}
		switch i { // wide, so slow: once
		case 0:
			names = append(names, "ppm")
		case 3:
			names = append(names, "upernet_lite")
		}
		for _, decoder := range names {
			stride := 8
			if decoder == "upernet_lite" {
				stride = 32
			}
			t.Run(strings.ReplaceAll(file, "/", "-")+"-"+decoder, func(t *testing.T) {
				enc, taps, err := onnx.Import(load(t, testutil.SharedDir(t, file)), stride)
				if err != nil {
					t.Fatal(err)
				}
				m, err := models.Attach(enc, decoder, 4, 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range m.Graph.Initializer {
					if name := p.GetName(); !strings.HasPrefix(name, models.EncoderPrefix) && !strings.HasPrefix(name, models.DecoderPrefix) {
						t.Errorf("parameter %q is neither encoder's nor decoder's", name)
					}
				}
				last, before := taps[len(taps)-1], taps[len(taps)-2]
				for name, want := range map[string]map[string][]int{
					"c1_deepsup": {
						"decoder.cbr.0.weight":         {last.Channels / 4, last.Channels, 3, 3},
						"decoder.cbr_deepsup.0.weight": {last.Channels / 4, before.Channels, 3, 3},
					},
					"ppm": {"decoder.ppm.2.1.weight": {512, last.Channels, 1, 1}},
					"upernet_lite": {
						"decoder.ppm_conv.2.0.weight":  {512, last.Channels, 1, 1},
						"decoder.fpn_in.0.0.weight":    {256, taps[0].Channels, 1, 1},
						"decoder.fpn_in.2.0.weight":    {256, before.Channels, 1, 1},
						"decoder.conv_last.0.0.weight": {256, 4 * 256, 3, 3},
					},
				}[decoder] {
					if got := onnx.Dims(m.Initializer(name)); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s is %v, want %v", name, got, want)
					}
				}
				// The untrained MobileNetV2 is badly conditioned: ONNX Runtime's
				// own results with and without fusion differ by 1.2e-5.
				compareWithONNXRuntime(t, m, noise(2, 3, 97, 131), 5e-5)
				net, err := graph.NewNetwork(m, native.New(0))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := net.Plan(graph.Spec{
					Inputs: map[string][]int{models.InputName: {2, 3, 64, 96}}, Mode: graph.Train,
					Loss: &graph.Loss{Outputs: []graph.LossOutput{{Name: models.OutputName, Weight: 1}}, Ignore: -1},
				}); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
