package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// classifier is an encoder of graft with the head of an ImageNet classifier:
// the mean of its last feature map, a fully connected layer and log-softmax.
// Its log-probabilities are (N,classes,1,1), as one cell of a segmentation.
func classifier(encoder string, classes int) (*onnx.Model, error) {
	// C1 reads the last feature map alone; its layers go with its output.
	whole, err := models.New(models.Spec{Encoder: encoder, Decoder: "c1", Classes: 1, Seed: seed})
	if err != nil {
		return nil, err
	}
	infos, err := onnx.Infer(whole)
	if err != nil {
		return nil, err
	}
	const feature = onnx.FeaturePrefix + "3"
	dims := infos[feature].Dims
	if len(dims) != 4 || dims[1].Size < 1 {
		return nil, fmt.Errorf("%s: the last feature map %s has shape %v", encoder, feature, dims)
	}
	body, err := onnx.Extract(whole, []string{models.InputName}, []string{feature})
	if err != nil {
		return nil, err
	}
	head, err := classifierHead(feature, int(dims[1].Size), classes, body.Opset(""))
	if err != nil {
		return nil, err
	}
	return onnx.Join(body, head, map[string]string{feature: feature})
}

// classifierHead classifies a feature map (N,channels,h,w). Weights begin as
// those of PyTorch's Linear: evenly spread up to 1/sqrt(channels).
func classifierHead(feature string, channels, classes int, opset int64) (*onnx.Model, error) {
	random := rand.New(rand.NewPCG(seed, uint64(classes)))
	spread := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32((2*random.Float64() - 1) / math.Sqrt(float64(channels)))
		}
		return v
	}
	b := onnx.NewBuilder("classifier", opset)
	x := b.Input(feature, pb.TensorProto_FLOAT, "N", channels, "h", "w")
	weight := b.Initializer(onnx.NewFloats(models.DecoderPrefix+"fc.weight", []int{classes, channels}, spread(classes*channels)))
	bias := b.Initializer(onnx.NewFloats(models.DecoderPrefix+"fc.bias", []int{classes}, spread(classes)))
	axes := b.Op("Constant", "decoder.axes", nil, onnx.TensorAttr("value", onnx.NewInts("", []int{2}, []int64{2, 3})))
	x = b.Op("GlobalAveragePool", "decoder.pool", []string{x})
	x = b.Op("Flatten", "decoder.flatten", []string{x}, onnx.IntAttr("axis", 1))
	x = b.Op("Gemm", "decoder.fc", []string{x, weight, bias}, onnx.IntAttr("transB", 1))
	x = b.Op("Unsqueeze", "decoder.cell", []string{x, axes})
	x = b.Op("LogSoftmax", models.OutputName, []string{x}, onnx.IntAttr("axis", 1))
	b.Output(x, pb.TensorProto_FLOAT, "N", classes, 1, 1)
	return b.Model()
}
