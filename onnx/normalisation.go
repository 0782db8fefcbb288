package onnx

import (
	"fmt"
	"strconv"
	"strings"
)

// Metadata keys of the normalisation of a model's input: JSON, three numbers
// for red, green and blue.
const (
	MeanKey = "graft.mean"
	StdKey  = "graft.std"
)

// The mean and standard deviation of ImageNet's pixels, red, green, blue, on
// the scale 0..1: the normalisation that published backbones expect.
var (
	ImageNetMean = []float32{0.485, 0.456, 0.406}
	ImageNetStd  = []float32{0.229, 0.224, 0.225}
)

// SetNormalisation records how a picture becomes the model's input:
// (pixel/255 - mean) / std, three numbers each for red, green and blue.
func SetNormalisation(m *Model, mean, std []float32) {
	m.SetMetadata(MeanKey, numbers(mean))
	m.SetMetadata(StdKey, numbers(std))
}

// numbers writes a JSON list. Unlike package json it has no numbers to refuse.
func numbers(values []float32) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = strconv.FormatFloat(float64(v), 'g', -1, 32)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Normalisation returns the mean and standard deviation recorded in a model,
// or ImageNet's where there are none.
func Normalisation(m *Model) (mean, std []float32, err error) {
	if mean, err = threeNumbers(m, MeanKey, ImageNetMean); err != nil {
		return nil, nil, err
	}
	if std, err = threeNumbers(m, StdKey, ImageNetStd); err != nil {
		return nil, nil, err
	}
	for _, s := range std {
		if !(s > 0) {
			return nil, nil, &Error{File: m.Path, Msg: fmt.Sprintf("metadata %s holds %v", StdKey, s), Err: ErrInvalid}
		}
	}
	return mean, std, nil
}

func threeNumbers(m *Model, key string, def []float32) ([]float32, error) {
	var values []float32
	found, err := m.MetadataJSON(key, &values)
	if err != nil {
		return nil, err
	}
	if !found {
		return def, nil
	}
	if len(values) != 3 {
		return nil, &Error{File: m.Path, Msg: fmt.Sprintf("metadata %s has %d values, not 3", key, len(values)), Err: ErrInvalid}
	}
	return values, nil
}
