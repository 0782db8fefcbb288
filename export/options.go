package export

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx"
)

// Head is what a deployed network puts out.
type Head string

// The heads. The value's name in the file is Head.OutputName.
const (
	Softmax Head = "softmax" // probability of every class, float32 (N,C,H,W)
	ArgMax  Head = "argmax"  // index of the likeliest class, (N,H,W)
	Logits  Head = "logits"  // scores before softmax, float32 (N,C,H,W)
	LogProb Head = "logprob" // logarithm of the probability, float32 (N,C,H,W)
)

// Heads lists every head.
func Heads() []Head { return []Head{Softmax, ArgMax, Logits, LogProb} }

// OutputName returns what the output is called in the file.
func (h Head) OutputName() string {
	switch h {
	case Softmax:
		return "probability"
	case ArgMax:
		return "label"
	}
	return string(h)
}

// Layout says what kind of picture a deployed network takes.
type Layout string

const (
	// Normalised is float32 (N,3,H,W), already normalised: as in training.
	Normalised Layout = ""
	// PixelsNCHW is uint8 (N,3,H,W), red, green, blue; the file normalises.
	PixelsNCHW Layout = "nchw"
	// PixelsNHWC is uint8 (N,H,W,3), as pictures lie in memory; the file
	// normalises.
	PixelsNHWC Layout = "nhwc"
)

// LabelType is the element type of labels.
type LabelType string

const (
	// LabelAuto is uint8 up to 256 classes and int64 above.
	LabelAuto  LabelType = ""
	LabelUint8 LabelType = "uint8"
	LabelInt64 LabelType = "int64"
)

// Options says what to export. DefaultOptions returns the usual.
type Options struct {
	// Output names the log-probabilities (or scores) to build on. Empty means
	// "logprob" or, where there is none of that name, the only output.
	Output string
	// Head is what the file puts out; empty means Softmax.
	Head Head
	// Upsample brings the scores to the input's height and width, bilinearly,
	// before softmax or argmax.
	Upsample bool
	// FoldBN multiplies every BatchNormalization that follows a convolution
	// into the convolution's weights.
	FoldBN bool
	// KeepFunctions leaves calls of model-local functions in the graph. By
	// default they are replaced by their bodies.
	KeepFunctions bool
	// Preprocess makes the file take uint8 pixels and normalise them itself.
	Preprocess Layout
	// Labels is the element type of the ArgMax head.
	Labels LabelType
	// Shape fixes batch, height and width of the picture (N,H,W), for targets
	// that want them so: shape arithmetic is computed and gone from the file.
	// No value may have more than 2^31-1 elements then. nil leaves all three
	// symbolic.
	Shape []int
	// Mean and Std are the normalisation of the input, one value for each of
	// red, green and blue, on pixels scaled to 0..1: (pixel/255 - Mean) / Std.
	// They are recorded in the metadata, and applied where Preprocess asks for
	// it. Nil keeps those of the model or, without any, takes ImageNet's.
	Mean, Std []float32
}

// DefaultOptions returns a full-size softmax with BatchNormalization folded.
func DefaultOptions() Options { return Options{Head: Softmax, Upsample: true, FoldBN: true} }

// check fills in defaults and refuses what makes no sense.
func (o Options) check(file string) (Options, error) {
	fail := func(msg, remedy string) (Options, error) {
		return o, &onnx.Error{File: file, Msg: msg, Remedy: remedy, Err: onnx.ErrUnsupported}
	}
	if o.Head == "" {
		o.Head = Softmax
	}
	switch o.Head {
	case Softmax, ArgMax, Logits, LogProb:
	default:
		return fail(fmt.Sprintf("head %q is unknown", o.Head), fmt.Sprintf("choose one of %v", Heads()))
	}
	switch o.Preprocess {
	case Normalised, PixelsNCHW, PixelsNHWC:
	default:
		return fail(fmt.Sprintf("picture layout %q is unknown", o.Preprocess), `choose "nchw" or "nhwc", or none for normalised floats`)
	}
	switch o.Labels {
	case LabelAuto, LabelUint8, LabelInt64:
	default:
		return fail(fmt.Sprintf("label type %q is unknown", o.Labels), `choose "uint8" or "int64"`)
	}
	if o.Shape != nil && (len(o.Shape) != 3 || min(o.Shape[0], o.Shape[1], o.Shape[2]) < 1) {
		return fail(fmt.Sprintf("shape %v is none of a batch of pictures", o.Shape), "give batch, height and width")
	}
	for _, v := range []struct {
		name   string
		values []float32
	}{{"mean", o.Mean}, {"std", o.Std}} {
		if v.values != nil && len(v.values) != 3 {
			return fail(fmt.Sprintf("%s has %d values", v.name, len(v.values)), "give one each for red, green and blue")
		}
	}
	for _, s := range o.Std {
		if !(s > 0) {
			return fail(fmt.Sprintf("std holds %v", s), "a standard deviation is above 0")
		}
	}
	return o, nil
}
