package models

import (
	"strconv"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// opset is the ONNX operator set that New writes.
const opset = 15

// encoder is an architecture of this package.
type encoder struct {
	name string
	// taps are the paths of the layers whose values are features_0 ...,
	// strides the distance of their elements in pixels of the picture.
	taps    []string
	strides []int
	// channels are those of the last tap at the published width.
	channels int
	// build adds the layers behind the picture. Channels are divided by
	// width. It returns the values of the taps in order.
	build func(n *network, image value, width int) []value
	init  initialisation
	// momentum is the weight of the old running value in training.
	momentum float32
}

// encoders are the architectures in the order Encoders lists them.
var encoders = []encoder{
	mobileNetV2("mobilenetv2dilated", true),
	resNet("resnet18", basicBlock, [4]int{2, 2, 2, 2}, false),
	resNet("resnet18dilated", basicBlock, [4]int{2, 2, 2, 2}, true),
	resNet("resnet50", bottleneck, [4]int{3, 4, 6, 3}, false),
	resNet("resnet50dilated", bottleneck, [4]int{3, 4, 6, 3}, true),
	resNet("resnet101", bottleneck, [4]int{3, 4, 23, 3}, false),
	resNet("resnet101dilated", bottleneck, [4]int{3, 4, 23, 3}, true),
	resNeXt("resnext101", [4]int{3, 4, 23, 3}),
	highResolution("hrnetv2", highResolutionStagesW48),
}

// tapName is the name of the value and output of the i-th tap.
func tapName(i int) string { return onnx.FeaturePrefix + strconv.Itoa(i) }

// model builds the encoder as a model of its own: input image, outputs
// features_0 ...
func (e encoder) model(seed int64, width int) (*onnx.Model, error) {
	b := onnx.NewBuilder(e.name, opset)
	n := &network{b: b, opset: opset, part: "encoder", seed: seed, init: e.init, momentum: e.momentum, as: map[string]string{}}
	for i, path := range e.taps {
		n.as[path] = tapName(i)
	}
	image := value{b.Input(InputName, pb.TensorProto_FLOAT, "N", 3, "H", "W"), 3}
	taps := make([]onnx.Tap, len(e.taps))
	for i, tap := range e.build(n, image, width) {
		taps[i] = onnx.Tap{Name: tap.name, Channels: tap.channels, Stride: e.strides[i]}
		b.Output(tap.name, pb.TensorProto_FLOAT, "N", tap.channels, tap.name+"_height", tap.name+"_width")
	}
	m, err := n.model()
	if err != nil {
		return nil, err
	}
	return m, m.SetMetadataJSON(onnx.TapsKey, taps)
}

// strides are those of the four taps: dilated encoders stay at 8.
func strides(dilated bool) []int {
	if dilated {
		return []int{4, 8, 8, 8}
	}
	return []int{4, 8, 16, 32}
}

// narrow divides a number of channels by the width divisor, down to 1.
func narrow(channels, width int) int { return max(channels/width, 1) }

// stage says how the convolutions of one stage are laid. With dilate d > 1
// the stage keeps its input's size: what had stride 2 gets stride 1, and
// kernels are spread by d so as to see as far as before; the convolution that
// lost its stride still works on the finer grid's neighbours and is spread by
// half as much.
type stage struct {
	dilate int
	groups int // of the 3x3 convolutions; 0 means 1
}

// layout returns stride and dilation of a 3x3 convolution of the stage that
// would have the given stride.
func (s stage) layout(stride int) (newStride, dilation int) {
	switch {
	case s.dilate <= 1:
		return stride, 1
	case stride == 2:
		return 1, s.dilate / 2
	default:
		return stride, s.dilate
	}
}
