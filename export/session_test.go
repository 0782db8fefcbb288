package export_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// Without ONNX Runtime the deployed file runs on graft's own kernels.
func TestVerifyOnDevice(t *testing.T) {
	m, err := models.New(models.Spec{Encoder: "ResNet18dilated", Decoder: "PPM_deepsup", Classes: 3, Seed: 2, Width: 16})
	if err != nil {
		t.Fatal(err)
	}
	unsettle(t, m)
	dev := native.New(2)
	defer dev.Close()
	network, err := graph.NewNetwork(m, dev)
	if err != nil {
		t.Fatal(err)
	}
	reference := export.NewNetworkEvaluator(network, "")
	opts := export.VerifyOptions{Device: dev, Sizes: [][2]int{{48, 64}, {41, 57}}}

	for _, head := range []export.Head{export.Softmax, export.Logits, export.LogProb} {
		o := export.DefaultOptions()
		o.Head = head
		deploy, err := export.Inference(m, o)
		if err != nil {
			t.Fatal(err)
		}
		report, err := export.Verify(save(t, deploy, "deploy.onnx"), reference, opts)
		if err != nil {
			t.Fatalf("%s: %v", head, err)
		}
		if !report.Passed || len(report.Cases) != 4 || report.MaxAbs > 1e-5 || !strings.Contains(report.Runtime, "graft on ") {
			t.Errorf("%s: %+v", head, report)
		}
	}

	// Another reference is told from this one.
	other, err := models.New(models.Spec{Encoder: "ResNet18dilated", Decoder: "PPM_deepsup", Classes: 3, Seed: 3, Width: 16})
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := graph.NewNetwork(other, dev)
	if err != nil {
		t.Fatal(err)
	}
	deploy, err := export.Inference(m, export.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	report, err := export.Verify(save(t, deploy, "deploy.onnx"), export.NewNetworkEvaluator(wrong, ""), opts)
	if err != nil {
		t.Fatal(err)
	}
	if report.Err() == nil {
		t.Error("weights of another seed pass")
	}

	// Files that take bytes need ONNX Runtime.
	o := export.DefaultOptions()
	o.Preprocess = export.PixelsNCHW
	pixels, err := export.Inference(m, o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = export.Verify(save(t, pixels, "pixels.onnx"), reference, opts)
	if !errors.Is(err, onnx.ErrUnsupported) || !strings.Contains(err.Error(), "pixels.onnx") {
		t.Errorf("uint8 input: %v", err)
	}
}
