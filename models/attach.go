package models

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Names in a network's file.
const (
	// InputName is the picture: float32 (N,3,H,W).
	InputName = onnx.ImageName
	// EncoderPrefix and DecoderPrefix begin the names of the parameters of
	// the two parts.
	EncoderPrefix = onnx.EncoderPrefix
	DecoderPrefix = onnx.DecoderPrefix
)

// Metadata keys of a network's file.
const (
	EncoderKey = onnx.EncoderKey // name of the encoder's graph
	DecoderKey = onnx.DecoderKey // name of the decoder
)

// Attach puts a decoder behind an encoder: a model with one input, the
// picture, and outputs features_0, features_1, ..., from fine to coarse, such
// as onnx.Import makes of a backbone. The decoder's widths follow the channels
// of the last taps. The input is called image from then on, the encoder's
// parameters begin with encoder. and the decoder's with decoder.; an encoder
// of an operator set before 15 is brought to 15. Layers behind the last tap
// that the decoder reads are left out.
//
// Errors are *SpecError where the choice cannot be had, *onnx.Error or
// *onnx.CheckError where the encoder is unfit.
func Attach(encoder *onnx.Model, decoder string, classes int, seed int64) (*onnx.Model, error) {
	return attach(encoder, decoder, classes, seed, 1)
}

func attach(encoder *onnx.Model, decoderName string, classes int, seed int64, width int) (*onnx.Model, error) {
	d, err := checkDecoder(decoderName, classes)
	if err != nil {
		return nil, err
	}
	enc, err := onnx.Upgrade(encoder, opset)
	if err != nil {
		return nil, err
	}
	if enc, err = nameParts(enc); err != nil {
		return nil, err
	}
	taps, err := tapsOf(enc)
	if err != nil {
		return nil, err
	}
	if taps, err = d.reads(taps, enc.GetGraph().GetName()); err != nil {
		return nil, err
	}
	dec, err := d.model(taps, enc.Opset(""), classes, seed, width)
	if err != nil {
		return nil, fmt.Errorf("decoder %s: %w", d.name, err)
	}
	wire := map[string]string{}
	for _, tap := range taps {
		wire[tap.name] = tap.name
	}
	m, err := onnx.Join(enc, dec, wire)
	if err != nil {
		return nil, err
	}
	// Layers of the encoder that lead to no tap the decoder reads are left out:
	// nothing would train them.
	if m, err = onnx.Extract(m, []string{InputName}, d.outputs()); err != nil {
		return nil, err
	}
	m.Graph.Name = enc.GetGraph().GetName() + "-" + d.name
	m.SetMetadata(EncoderKey, enc.GetGraph().GetName())
	m.SetMetadata(DecoderKey, d.name)
	return m, onnx.Check(m)
}

// tapsOf returns the encoder's outputs features_0, features_1, ... in order,
// with the channels that inference finds.
func tapsOf(enc *onnx.Model) ([]value, error) {
	infos, err := onnx.Infer(enc)
	// An operator without a shape rule is no trouble unless a tap needs it.
	var unsupported *onnx.UnsupportedError
	if err != nil && !errors.As(err, &unsupported) {
		return nil, err
	}
	byIndex := map[int]value{}
	for _, o := range enc.GetGraph().GetOutput() {
		name := o.GetName()
		i, err := strconv.Atoi(strings.TrimPrefix(name, onnx.FeaturePrefix))
		if !strings.HasPrefix(name, onnx.FeaturePrefix) || err != nil {
			continue
		}
		info := infos[name]
		if !info.Known && unsupported != nil {
			return nil, unsupported
		}
		if len(info.Dims) != 4 || info.Dims[1].Size < 1 || info.DType != pb.TensorProto_FLOAT {
			return nil, &onnx.Error{File: enc.Path, Err: onnx.ErrUnsupported,
				Msg: fmt.Sprintf("output %q is %s, not a float32 feature map (N,C,h,w) of known channels", name, info)}
		}
		byIndex[i] = value{name, int(info.Dims[1].Size)}
	}
	taps := make([]value, len(byIndex))
	for i := range taps {
		tap, ok := byIndex[i]
		if !ok {
			return nil, &onnx.Error{File: enc.Path, Err: onnx.ErrInvalid,
				Msg: fmt.Sprintf("%d outputs are called %sN, but none %s", len(taps), onnx.FeaturePrefix, tapName(i))}
		}
		taps[i] = tap
	}
	if len(taps) == 0 {
		return nil, &onnx.Error{File: enc.Path, Err: onnx.ErrUnsupported, Msg: "the model has no outputs features_0, features_1, ...",
			Remedy: "import the backbone first, which finds its feature maps"}
	}
	return taps, nil
}

// nameParts calls the encoder's only input image and begins every name of a
// parameter with encoder. It may drop inputs of enc.
func nameParts(enc *onnx.Model) (*onnx.Model, error) {
	g := enc.GetGraph()
	initial := map[string]bool{}
	for _, p := range g.GetInitializer() {
		initial[p.GetName()] = true
	}
	// Files of old list parameters among the inputs.
	g.Input = slices.DeleteFunc(g.Input, func(in *pb.ValueInfoProto) bool { return initial[in.GetName()] })
	if len(g.GetInput()) != 1 {
		var names []string
		for _, in := range g.GetInput() {
			names = append(names, in.GetName())
		}
		return nil, &onnx.Error{File: enc.Path, Err: onnx.ErrUnsupported,
			Msg: fmt.Sprintf("the encoder has inputs %q, not the picture alone", names)}
	}
	names := map[string]string{}
	if in := g.Input[0].GetName(); in != InputName {
		names[in] = InputName
	}
	for name := range initial {
		if !strings.HasPrefix(name, EncoderPrefix) {
			names[name] = EncoderPrefix + name
		}
	}
	return onnx.Rename(enc, names)
}
