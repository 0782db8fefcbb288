package models

import (
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Names of a network's outputs: log-probabilities (N, classes, h, w) at the
// cells of the last feature map; those of deep supervision are for training
// alone.
const (
	OutputName        = "logprob"
	DeepSupOutputName = "logprob_deepsup"
)

// decoder is a way from feature maps to classes.
type decoder struct {
	name            string
	deepSupervision bool
	// build adds the layers behind the taps, ordered from fine to coarse.
	// width divides channels that do not follow from the taps. It returns the
	// scores of the classes, deep only with deepSupervision.
	build func(n *network, taps []value, classes, width int) (logits, deep value)
}

// decoders are those of this package in the order Decoders lists them.
var decoders = []decoder{
	c1("c1", false),
	c1("c1_deepsup", true),
	ppm("ppm", false),
	ppm("ppm_deepsup", true),
}

// taps is how many of the encoder's last taps the decoder reads.
func (d decoder) taps() int {
	if d.deepSupervision {
		return 2
	}
	return 1
}

// model builds the decoder as a model of its own: inputs called as the taps,
// outputs logprob and logprob_deepsup.
func (d decoder) model(taps []value, opset int64, classes int, seed int64, width int) (*onnx.Model, error) {
	b := onnx.NewBuilder(d.name, opset)
	n := &network{b: b, opset: opset, part: "decoder", seed: seed, init: decoderInit}
	for _, tap := range taps {
		b.Input(tap.name, pb.TensorProto_FLOAT, "N", tap.channels, tap.name+"_height", tap.name+"_width")
	}
	logits, deep := d.build(n, taps, classes, width)
	n.output(OutputName, logits)
	if d.deepSupervision {
		n.output(DeepSupOutputName, deep)
	}
	return b.Model()
}
