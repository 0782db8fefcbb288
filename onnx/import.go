package onnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Tap is a feature map that an imported encoder gives its decoder.
type Tap struct {
	Name     string `json:"name"` // features_0, features_1, ... from fine to coarse
	Channels int    `json:"channels"`
	Stride   int    `json:"stride"` // pixels of the picture between two of its elements
}

// TapsKey is the metadata key of an encoder's taps: a JSON list of Tap.
const TapsKey = "graft.taps"

const (
	maxTaps     = 4             // conv2 to conv5 of a residual network
	importOpset = functionOpset // older files are brought to it
)

// Import makes an encoder of a backbone, such as an image classifier: input
// image (N,C,H,W) of any size, outputs features_0, features_1, ... from fine
// to coarse, at most four.
//
//   - The taps are the last maps of each stride on the trunk: those that every
//     path from the picture to the result passes, before the stride grows. A
//     pointwise convolution that widens such a map for what follows (a
//     bottleneck's expansion, a classifier's last layer) is stepped back over.
//     Of more than four strides the four coarsest count, so that a network that
//     ends at stride 16 gives taps at 2, 4, 8 and 16.
//   - Everything behind the last tap is dropped.
//   - Parameters that an exporter merged get tensors of their own (Unshare),
//     BatchNormalization exported for training becomes plain, sizes that were
//     baked in are freed (Dynamic), strides past outputStride become dilation
//     (Dilate), and files before opset 15 are brought to it.
//   - Parameters are called encoder.*; metadata stays, and TapsKey is added.
func Import(m *Model, outputStride int) (*Model, []Tap, error) {
	if outputStride < 1 || outputStride&(outputStride-1) != 0 {
		return nil, nil, &Error{File: m.Path, Err: ErrInvalid, Msg: fmt.Sprintf("output stride %d", outputStride), Remedy: "use 8, 16 or 32"}
	}
	flat, err := Inline(m, IsKernelFunction)
	if err != nil {
		return nil, nil, err
	}
	dropStoredInputs(flat)
	image, err := imageInput(flat)
	if err != nil {
		return nil, nil, err
	}
	if flat, err = Upgrade(flat, importOpset); err != nil {
		return nil, nil, err
	}
	plainBatchNorm(flat)
	// Constants become initializers, so that weights have one form.
	storeConstants(flat)
	if flat, err = Unshare(flat); err != nil {
		return nil, nil, err
	}
	flat, stuck, err := freed(flat)
	if err != nil {
		return nil, nil, err
	}
	f, err := newFlow(flat)
	if err != nil {
		return nil, nil, err
	}
	names, err := f.taps()
	if err != nil {
		return nil, nil, err
	}
	enc, err := Extract(flat, []string{image.GetName()}, names)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range enc.Graph.Node {
		if err := stuck[n.Output[0]]; err != nil {
			return nil, nil, err
		}
	}
	if enc, err = Dilate(enc, outputStride); err != nil {
		return nil, nil, err
	}
	if err := encoderNames(enc, image.GetName(), names); err != nil {
		return nil, nil, err
	}
	var taps []Tap
	infos, err := Infer(enc)
	if err != nil {
		return nil, nil, err
	}
	for k, name := range names {
		tap := Tap{Name: fmt.Sprint(FeaturePrefix, k), Stride: min(f.stride(name), outputStride)}
		channels := int64(0)
		if dims := infos[tap.Name].Dims; len(dims) == 4 {
			channels = dims[1].Size
		}
		if channels < 1 {
			return nil, nil, f.failure(nil, ErrUnsupported, "the channels of the map %q are not known", name)
		}
		tap.Channels = int(channels)
		taps = append(taps, tap)
	}
	if err := enc.SetMetadataJSON(TapsKey, taps); err != nil {
		return nil, nil, err
	}
	if err := Check(enc); err != nil {
		return nil, nil, err
	}
	return enc, taps, nil
}

// plainBatchNorm turns BatchNormalization as exported for training into what
// it is in inference: one output, no training_mode.
func plainBatchNorm(m *Model) {
	for _, n := range m.Graph.Node {
		if OpName(n) == "BatchNormalization" && len(n.Output) > 0 {
			n.Output = n.Output[:1]
			DeleteAttr(n, "training_mode")
		}
	}
}

// storeConstants turns Constant nodes into initializers.
func storeConstants(m *Model) {
	outputs := map[string]bool{}
	for _, o := range m.Graph.Output {
		outputs[o.GetName()] = true
	}
	m.Graph.Node = slices.DeleteFunc(m.Graph.Node, func(n *pb.NodeProto) bool {
		t := AttrTensor(n, "value")
		if OpName(n) != "Constant" || t == nil || len(n.Output) != 1 || outputs[n.Output[0]] {
			return false
		}
		m.Graph.Initializer = append(m.Graph.Initializer, renameTensor(t, n.Output[0]))
		return true
	})
}

// encoderNames gives input, outputs and stored tensors the names of an
// encoder.
func encoderNames(m *Model, image string, taps []string) error {
	names := map[string]string{}
	for _, t := range m.Graph.Initializer {
		if !strings.HasPrefix(t.GetName(), EncoderPrefix) {
			names[t.GetName()] = EncoderPrefix + t.GetName()
		}
	}
	// Whatever else has one of the names that the encoder gives makes way.
	taken := ValueNames(m.Graph)
	want := map[string]string{image: ImageName}
	for k, name := range taps {
		want[name] = fmt.Sprint(FeaturePrefix, k)
	}
	for from, to := range want {
		if taken[to] && want[to] == "" && from != to {
			names[to] = taken.Fresh(to + "_inner")
		}
		names[from] = to
	}
	return renameValues(m, names)
}

// taps returns the maps that an encoder gives away, from fine to coarse.
func (f *flow) taps() ([]string, error) {
	trunk := f.trunk()
	producer := map[string]*pb.NodeProto{}
	for _, n := range f.nodes {
		for _, o := range n.GetOutput() {
			producer[o] = n
		}
	}
	place := map[string]int{}
	for k, n := range f.nodes {
		for _, o := range n.GetOutput() {
			place[o] = k
		}
	}
	// The last map of each stride, as long as strides grow.
	var names []string
	reached := 1
	for _, name := range trunk {
		s := f.stride(name)
		switch {
		case s < reached:
			continue // a decoder on its way back up
		case s == reached && len(names) > 0:
			names[len(names)-1] = name
		case s > reached:
			names = append(names, name)
			reached = s
		}
	}
	if len(names) > maxTaps {
		names = names[len(names)-maxTaps:]
	}
	if len(names) < 2 {
		return nil, &Error{File: f.m.Path, Err: ErrUnsupported,
			Msg:    fmt.Sprintf("no backbone was recognised: of the maps between picture and result only %q have a stride above 1", names),
			Remedy: "an image classifier that halves the picture several times is expected"}
	}
	last := len(names) - 1
	for k, name := range names {
		names[k] = f.narrow(producer, name, k == last && !f.weighted(place[name]))
	}
	return names, nil
}

// weighted reports whether a convolution or matrix product follows node k.
func (f *flow) weighted(k int) bool {
	return slices.ContainsFunc(f.nodes[k+1:], func(n *pb.NodeProto) bool {
		switch n.GetOpType() {
		case "Conv", "Gemm", "MatMul":
			return true
		}
		return false
	})
}

// narrow steps back from a map over what only prepares it for the next layer:
// Dropout, and a pointwise convolution that at least doubles the channels,
// with its normalisation and activation; any pointwise convolution where it is
// the classifier itself.
func (f *flow) narrow(producer map[string]*pb.NodeProto, name string, classifier bool) string {
	skip := func(name string) string {
		for n := producer[name]; n != nil && len(n.GetInput()) > 0 && (OpName(n) == "Dropout" || OpName(n) == "Identity"); n = producer[name] {
			name = n.GetInput()[0]
		}
		return name
	}
	name = skip(name)
	at := name
	for steps := 0; steps < 8; steps++ {
		n := producer[at]
		if n == nil || len(n.GetInput()) == 0 {
			return name
		}
		switch OpName(n) {
		case "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Sigmoid", "HardSwish", "HardSigmoid", "BatchNormalization", "Dropout", "Identity":
			at = n.GetInput()[0]
			continue
		case "Mul": // x * sigmoid(x): swish
			for _, in := range n.GetInput() {
				if p := producer[in]; p != nil && len(p.GetInput()) > 0 && (OpName(p) == "Sigmoid" || OpName(p) == "HardSigmoid") && slices.Contains(n.GetInput(), p.GetInput()[0]) {
					at = p.GetInput()[0]
				}
			}
			if at == n.GetOutput()[0] || producer[at] == n {
				return name
			}
			continue
		case "Conv":
			if len(n.GetInput()) < 2 {
				return name
			}
			x, w := f.value(n.GetInput()[0]), f.value(n.GetInput()[1])
			pointwise := AttrInt(n, "group", 1) == 1 && len(w.Dims) == 4 && w.Dims[2].Size == 1 && w.Dims[3].Size == 1 &&
				!slices.ContainsFunc(AttrInts(n, "strides", nil), func(s int64) bool { return s != 1 })
			if pointwise && len(x.Dims) == 4 && (classifier || w.Dims[0].Size >= 2*x.Dims[1].Size) && f.stride(n.GetInput()[0]) == f.stride(name) {
				return skip(n.GetInput()[0])
			}
		}
		return name
	}
	return name
}
