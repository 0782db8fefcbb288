package export

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// trunk is a network cut down to one output of scores.
type trunk struct {
	source  *pb.ValueInfoProto // the output that was chosen
	scores  string             // value with the scores before softmax (N,C,h,w)
	classes int                // C, 0 where the file does not say
}

// findOutput chooses the output to build on.
func (e *editor) findOutput(name string) (*pb.ValueInfoProto, error) {
	outputs := e.g.GetOutput()
	names := make([]string, len(outputs))
	for i, v := range outputs {
		names[i] = v.GetName()
	}
	fail := func(msg string) error {
		return &onnx.Error{File: e.m.Path, Msg: msg, Remedy: fmt.Sprintf("name one of the outputs %q", names), Err: onnx.ErrInvalid}
	}
	if want := name; want != "" || slices.Contains(names, onnx.OutputName) {
		if want == "" {
			want = onnx.OutputName
		}
		if i := slices.Index(names, want); i >= 0 {
			return outputs[i], nil
		}
		return nil, fail(fmt.Sprintf("there is no output %q", want))
	}
	if len(outputs) != 1 {
		return nil, fail(fmt.Sprintf("the model has %d outputs", len(outputs)))
	}
	return outputs[0], nil
}

// cut finds the scores behind an output: what its LogSoftmax or Softmax reads,
// or the output itself where it ends in neither.
func (e *editor) cut(output *pb.ValueInfoProto) (trunk, error) {
	t := trunk{source: output, scores: output.GetName()}
	dims := shapeOf(output)
	if s := output.GetType().GetTensorType().GetShape(); s != nil && len(dims) != 4 {
		return t, &onnx.Error{File: e.m.Path, Err: onnx.ErrUnsupported, Remedy: "export a segmentation network, whose output is (N,C,H,W)",
			Msg: fmt.Sprintf("output %q has %d dimensions", output.GetName(), len(dims))}
	}
	if len(dims) == 4 {
		t.classes = int(dims[1].GetDimValue())
	}
	producers := e.producers()
	n := producers[t.scores]
	for n != nil && n.GetOpType() == "Identity" && len(n.Input) == 1 && producers[n.Input[0]] != nil {
		n = producers[n.Input[0]]
	}
	if n == nil || onnx.NormalDomain(n.GetDomain()) != "" || (n.GetOpType() != "LogSoftmax" && n.GetOpType() != "Softmax") {
		return t, nil
	}
	if axis := onnx.AttrInt(n, "axis", -1); axis != 1 && axis != -3 {
		return t, e.fail(n, onnx.ErrUnsupported, "normalise over axis 1, the classes", "output %q is normalised over axis %d", output.GetName(), axis)
	}
	t.scores = n.Input[0]
	return t, nil
}

// pictureInput returns the graph's picture (N,3,H,W).
func (e *editor) pictureInput() (*pb.ValueInfoProto, error) {
	inputs := e.m.Inputs()
	if len(inputs) != 1 {
		return nil, &onnx.Error{File: e.m.Path, Msg: fmt.Sprintf("the network reads %d inputs", len(inputs)),
			Remedy: "export a network that reads one picture (N,3,H,W)", Err: onnx.ErrUnsupported}
	}
	t := inputs[0].GetType().GetTensorType()
	dims := t.GetShape().GetDim()
	if pb.TensorProto_DataType(t.GetElemType()) != pb.TensorProto_FLOAT || len(dims) != 4 || dims[1].GetDimValue() != 3 {
		return nil, &onnx.Error{File: e.m.Path, Msg: fmt.Sprintf("input %q is not a float32 picture (N,3,H,W)", inputs[0].GetName()),
			Remedy: "export a network that reads one picture (N,3,H,W)", Err: onnx.ErrUnsupported}
	}
	return inputs[0], nil
}

// sameSize reports whether the file says that an output has the height and
// width of the input.
func sameSize(input, output *pb.ValueInfoProto) bool {
	in := shapeOf(input)
	out := shapeOf(output)
	if len(in) != 4 || len(out) != 4 {
		return false
	}
	for i := 2; i < 4; i++ {
		if in[i].GetDimParam() != out[i].GetDimParam() || in[i].GetDimValue() != out[i].GetDimValue() ||
			in[i].GetDimParam() == "" && in[i].GetDimValue() == 0 {
			return false
		}
	}
	return true
}

// headBuilder adds nodes behind the trunk.
type headBuilder struct {
	*editor
	opts   Options
	deploy *Deployment
	input  *pb.ValueInfoProto
}

// build puts the head on, and the preprocessing before the trunk where that is
// asked for.
func (h *headBuilder) build(t trunk, mean, std []float32) error {
	if h.opts.Head == ArgMax && h.labels(t.classes) == LabelUint8 && t.classes > 256 {
		return &onnx.Error{File: h.m.Path, Msg: fmt.Sprintf("%d classes do not fit uint8 labels", t.classes), Remedy: "ask for int64 labels", Err: onnx.ErrUnsupported}
	}
	picture, spatial := h.input, int64(2) // first of height and width in picture's shape
	dims := shapeOf(h.input)
	if h.opts.Preprocess != Normalised {
		picture = h.preprocess(mean, std)
		if h.opts.Preprocess == PixelsNHWC {
			spatial = 1
		}
	}
	scores := t.scores
	h.deploy.Upsample = sameSize(h.input, t.source)
	if h.opts.Upsample && !h.deploy.Upsample {
		scores = h.upsample(scores, picture.GetName(), spatial)
		h.deploy.Upsample = true
	}
	size := shapeOf(t.source)
	if h.deploy.Upsample || len(size) != 4 {
		size = dims
	}
	h.output(t, scores, []*pb.TensorShapeProto_Dimension{dims[0], dim(t.classes), size[2], size[3]})
	return nil
}

func dim(n int) *pb.TensorShapeProto_Dimension {
	d := &pb.TensorShapeProto_Dimension{}
	if n > 0 {
		d.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(n)}
	}
	return d
}

func (h *headBuilder) labels(classes int) LabelType {
	switch {
	case h.opts.Labels != LabelAuto:
		return h.opts.Labels
	case classes > 0 && classes <= 256:
		return LabelUint8
	}
	return LabelInt64
}

// preprocess makes the graph read uint8 pixels: (pixel/255 - mean) / std is
// one product and one sum.
func (h *headBuilder) preprocess(mean, std []float32) *pb.ValueInfoProto {
	factor, offset := make([]float32, 3), make([]float32, 3)
	for c := range 3 {
		factor[c] = float32(1 / (255 * float64(std[c])))
		offset[c] = float32(-float64(mean[c]) / float64(std[c]))
	}
	name := h.names.Fresh("pixels")
	body := h.g.Node
	h.g.Node = nil
	x := h.add("Cast", h.names.Fresh("pixels_float"), []string{name}, onnx.IntAttr("to", int64(pb.TensorProto_FLOAT)))
	dims := shapeOf(h.input)
	shape := []*pb.TensorShapeProto_Dimension{dims[0], dims[1], dims[2], dims[3]}
	if h.opts.Preprocess == PixelsNHWC {
		x = h.add("Transpose", h.names.Fresh("pixels_planar"), []string{x}, onnx.IntsAttr("perm", 0, 3, 1, 2))
		shape = []*pb.TensorShapeProto_Dimension{dims[0], dims[2], dims[3], dims[1]}
	}
	x = h.add("Mul", h.names.Fresh("pixels_scaled"), []string{x, h.constant(onnx.NewFloats("pixels_factor", []int{1, 3, 1, 1}, factor))})
	h.add("Add", h.input.GetName(), []string{x, h.constant(onnx.NewFloats("pixels_offset", []int{1, 3, 1, 1}, offset))})
	h.g.Node = append(h.g.Node, body...)
	picture := tensorValue(name, pb.TensorProto_UINT8, shape)
	for i, v := range h.g.Input {
		if v == h.input {
			h.g.Input[i] = picture
		}
	}
	return picture
}

// upsample resizes scores to the picture's height and width, bilinearly with
// pixel centres at the halves (PyTorch's align_corners=False).
func (h *headBuilder) upsample(scores, picture string, spatial int64) string {
	at := func(name string, v int64) string { return h.constant(onnx.NewInts(name, []int{1}, []int64{v})) }
	pictureShape := h.add("Shape", h.names.Fresh("picture_shape"), []string{picture})
	size := h.add("Slice", h.names.Fresh("picture_size"), []string{pictureShape, at("picture_size_from", spatial), at("picture_size_to", spatial+2)})
	scoresShape := h.add("Shape", h.names.Fresh("scores_shape"), []string{scores})
	planes := h.add("Slice", h.names.Fresh("scores_planes"), []string{scoresShape, at("scores_planes_from", 0), at("scores_planes_to", 2)})
	target := h.add("Concat", h.names.Fresh("target_shape"), []string{planes, size}, onnx.IntAttr("axis", 0))
	return h.add("Resize", h.names.Fresh("scores_full"), []string{scores, "", "", target},
		onnx.StringAttr("coordinate_transformation_mode", "half_pixel"), onnx.StringAttr("mode", "linear"))
}

// output adds the last node and declares the graph's only output.
func (h *headBuilder) output(t trunk, scores string, shape []*pb.TensorShapeProto_Dimension) {
	name := h.opts.Head.OutputName()
	if moved := h.claim(name); scores == name {
		scores = moved
	}
	dtype := pb.TensorProto_FLOAT
	switch h.opts.Head {
	case Softmax:
		h.add("Softmax", name, []string{scores}, onnx.IntAttr("axis", 1))
	case LogProb:
		h.add("LogSoftmax", name, []string{scores}, onnx.IntAttr("axis", 1))
	case Logits:
		if n := h.producers()[scores]; n != nil {
			h.move(scores, name)
		} else {
			h.add("Identity", name, []string{scores})
		}
	case ArgMax:
		shape = []*pb.TensorShapeProto_Dimension{shape[0], shape[2], shape[3]}
		h.deploy.Labels = h.labels(t.classes)
		dtype = pb.TensorProto_INT64
		index := name
		if h.deploy.Labels == LabelUint8 {
			index = h.names.Fresh(name + "_index")
		}
		h.add("ArgMax", index, []string{scores}, onnx.IntAttr("axis", 1), onnx.IntAttr("keepdims", 0))
		if index != name {
			dtype = pb.TensorProto_UINT8
			h.add("Cast", name, []string{index}, onnx.IntAttr("to", int64(dtype)))
		}
	}
	h.g.Output = []*pb.ValueInfoProto{tensorValue(name, dtype, shape)}
}

func tensorValue(name string, dtype pb.TensorProto_DataType, shape []*pb.TensorShapeProto_Dimension) *pb.ValueInfoProto {
	return &pb.ValueInfoProto{Name: name, Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
		TensorType: &pb.TypeProto_Tensor{ElemType: int32(dtype), Shape: &pb.TensorShapeProto{Dim: shape}}}}}
}
