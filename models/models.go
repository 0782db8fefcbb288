package models

import (
	"fmt"
	"strings"

	"github.com/graft-onnx/graft/onnx"
)

// Bounds of a Spec.
const (
	maxWidth   = 16
	maxClasses = 1 << 16
)

// Spec describes a network of this package.
type Spec struct {
	Encoder string // one of Encoders
	Decoder string // one of Decoders
	Classes int    // output channels
	Seed    int64  // of the random initialisation
	// Width divides every width of the network, 0 and 1 for the published
	// one, up to 16: small networks of the same topology for experiments.
	Width int
}

// SpecError is a setting of a network that cannot be had.
type SpecError struct {
	Setting string // "encoder", "decoder", "classes", "width", "taps"
	Msg     string
	Known   []string // what the setting could be
}

// Error implements error.
func (e *SpecError) Error() string {
	s := e.Setting + ": " + e.Msg
	if len(e.Known) > 0 {
		s += "; known are " + strings.Join(e.Known, ", ")
	}
	return s
}

// Encoders returns the names of the encoders.
func Encoders() []string {
	names := make([]string, len(encoders))
	for i, e := range encoders {
		names[i] = e.name
	}
	return names
}

// FeatureChannels returns the width of an encoder's last feature map as
// published, the reference project's fc_dim.
func FeatureChannels(encoder string) (int, error) {
	e, err := findEncoder(encoder)
	return e.channels, err
}

// Decoders returns the names of the decoders.
func Decoders() []string {
	names := make([]string, len(decoders))
	for i, d := range decoders {
		names[i] = d.name
	}
	return names
}

// New builds a network with randomly initialised parameters. The same Spec
// gives the same file. Errors about the Spec are *SpecError.
func New(spec Spec) (*onnx.Model, error) {
	e, err := findEncoder(spec.Encoder)
	if err != nil {
		return nil, err
	}
	return e.network(spec)
}

// network builds the encoder and what else the Spec asks for.
func (e encoder) network(spec Spec) (*onnx.Model, error) {
	width := max(spec.Width, 1)
	if spec.Width < 0 || width > maxWidth {
		return nil, &SpecError{Setting: "width", Msg: fmt.Sprintf("is %d, not 1 to %d", spec.Width, maxWidth)}
	}
	if _, err := checkDecoder(spec.Decoder, spec.Classes); err != nil {
		return nil, err
	}
	enc, err := e.model(spec.Seed, width)
	if err != nil {
		return nil, fmt.Errorf("encoder %s: %w", e.name, err)
	}
	return attach(enc, spec.Decoder, spec.Classes, spec.Seed, width)
}

func findEncoder(name string) (encoder, error) {
	for _, e := range encoders {
		if strings.EqualFold(e.name, name) {
			return e, nil
		}
	}
	return encoder{}, &SpecError{Setting: "encoder", Msg: fmt.Sprintf("%q is not one of graft's", name), Known: Encoders()}
}

// checkDecoder finds a decoder and checks the number of its outputs.
func checkDecoder(name string, classes int) (decoder, error) {
	d, err := findDecoder(name)
	if err == nil && (classes < 1 || classes > maxClasses) {
		err = &SpecError{Setting: "classes", Msg: fmt.Sprintf("is %d, not 1 to %d", classes, maxClasses)}
	}
	return d, err
}

func findDecoder(name string) (decoder, error) {
	for _, d := range decoders {
		if strings.EqualFold(d.name, name) {
			return d, nil
		}
	}
	return decoder{}, &SpecError{Setting: "decoder", Msg: fmt.Sprintf("%q is not one of graft's", name), Known: Decoders()}
}
