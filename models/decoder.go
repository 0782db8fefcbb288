package models

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Names of a network's outputs: log-probabilities (N, classes, h, w) at the
// cells of the last feature map, with UPerNet of the first; those of deep
// supervision are for training alone.
const (
	OutputName        = onnx.OutputName
	DeepSupOutputName = onnx.DeepSupOutputName
)

// decoder is a way from feature maps to classes.
type decoder struct {
	name            string
	deepSupervision bool
	allTaps         bool // it reads every tap, of which there must be two
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
	upernet("upernet_lite", 256),
	upernet("upernet", 512),
}

// reads returns those of the encoder's taps that the decoder reads: the last
// ones, or all.
func (d decoder) reads(taps []value, encoder string) ([]value, error) {
	need, which := 1, "the last 1"
	switch {
	case d.deepSupervision:
		need, which = 2, "the last 2"
	case d.allTaps:
		need, which = 2, "at least 2"
	}
	if len(taps) < need {
		return nil, &SpecError{Setting: "decoder", Msg: fmt.Sprintf("%s reads %s taps, the encoder %q has %d", d.name, which, encoder, len(taps))}
	}
	if d.allTaps {
		return taps, nil
	}
	return taps[len(taps)-need:], nil
}

// outputs are the names of the decoder's outputs.
func (d decoder) outputs() []string {
	if d.deepSupervision {
		return []string{OutputName, DeepSupOutputName}
	}
	return []string{OutputName}
}

// model builds the decoder as a model of its own: inputs called as the taps,
// outputs logprob and logprob_deepsup.
func (d decoder) model(taps []value, opset int64, classes int, seed int64, width int) (*onnx.Model, error) {
	b := onnx.NewBuilder(d.name, opset)
	n := &network{b: b, opset: opset, part: "decoder", seed: seed, init: decoderInit, momentum: normMomentum}
	for _, tap := range taps {
		b.Input(tap.name, pb.TensorProto_FLOAT, "N", tap.channels, tap.name+"_height", tap.name+"_width")
	}
	logits, deep := d.build(n, taps, classes, width)
	for i, name := range d.outputs() {
		n.output(name, []value{logits, deep}[i])
	}
	return n.model()
}
