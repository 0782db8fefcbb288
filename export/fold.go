package export

import (
	"math"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// settleBN makes every BatchNormalization one of inference: it uses its stored
// statistics, whatever training_mode or the number of its outputs say.
func (e *editor) settleBN() error {
	uses := e.uses()
	for _, n := range e.g.GetNode() {
		if !isBN(n) {
			continue
		}
		if len(n.Input) != 5 || len(n.Output) == 0 {
			return e.fail(n, onnx.ErrInvalid, "", "has %d inputs and %d outputs; 5 and at least 1 are needed", len(n.Input), len(n.Output))
		}
		for _, o := range n.Output[1:] {
			if o != "" && uses[o] > 0 {
				return e.fail(n, onnx.ErrUnsupported, "remove what reads it before export", "the batch statistics %q are read by the graph", o)
			}
		}
		n.Output = n.Output[:1]
		onnx.DeleteAttr(n, "training_mode")
	}
	return nil
}

func isBN(n *pb.NodeProto) bool {
	return n.GetOpType() == "BatchNormalization" && onnx.NormalDomain(n.GetDomain()) == ""
}

// foldBN multiplies every BatchNormalization whose input comes from a
// convolution that nothing else reads into that convolution, and returns how
// many it folded.
//
//	y = scale * (W*x + b - mean) / sqrt(var+eps) + shift
//	  = (k W)*x + (k (b - mean) + shift),   k = scale / sqrt(var+eps)
//
// The products are formed in float64 and rounded once. Only float32 is folded:
// half floats can overflow, and doubles would lose digits.
func (e *editor) foldBN() (int, error) {
	producers, uses := e.producers(), e.uses()
	stored := map[string]*pb.TensorProto{}
	for _, t := range e.g.GetInitializer() {
		stored[t.GetName()] = t
	}
	tensor := func(name string) *pb.TensorProto {
		t := stored[name]
		if n := producers[name]; n != nil && n.GetOpType() == "Constant" {
			t = onnx.AttrTensor(n, "value")
		}
		if t == nil || onnx.DataType(t) != pb.TensorProto_FLOAT {
			return nil
		}
		return t
	}
	folded := map[*pb.NodeProto]bool{}
	for _, bn := range e.g.GetNode() {
		if !isBN(bn) {
			continue
		}
		conv := producers[bn.Input[0]]
		if conv == nil || conv.GetOpType() != "Conv" || onnx.NormalDomain(conv.GetDomain()) != "" || len(conv.Input) < 2 || uses[bn.Input[0]] != 1 {
			continue
		}
		weight := tensor(conv.Input[1])
		var statistics [4]*pb.TensorProto // scale, shift, mean, variance
		complete := weight != nil
		for i := range statistics {
			statistics[i] = tensor(bn.Input[i+1])
			complete = complete && statistics[i] != nil
		}
		var bias *pb.TensorProto
		if len(conv.Input) > 2 && conv.Input[2] != "" {
			bias = tensor(conv.Input[2])
			complete = complete && bias != nil
		}
		if !complete {
			continue
		}
		w, b, err := product(weight, bias, statistics, onnx.AttrFloat(bn, "epsilon", 1e-5))
		if err != nil {
			return 0, e.fail(bn, onnx.ErrInvalid, "", "cannot be folded into %s: %v", onnx.NodeName(conv), err)
		}
		if len(w) == 0 {
			continue
		}
		conv.Input = []string{
			conv.Input[0],
			e.replace(onnx.NewFloats(conv.Input[1], onnx.Dims(weight), w), uses),
			e.foldedBias(conv.Input, bn.Input, b, uses),
		}
		// A second BatchNormalization may follow: it must find the new tensors.
		for _, name := range conv.Input[1:] {
			stored[name], uses[name] = e.m.Initializer(name), 1
		}
		conv.Output[0] = bn.Output[0]
		producers[bn.Output[0]] = conv
		folded[bn] = true
	}
	e.g.Node = slices.DeleteFunc(e.g.Node, func(n *pb.NodeProto) bool { return folded[n] })
	return len(folded), nil
}

// foldedBias stores the bias of a folded convolution: as the convolution's own,
// or beside its weight, or in place of the normalisation's shift.
func (e *editor) foldedBias(conv, bn []string, data []float32, uses map[string]int) string {
	dims := []int{len(data)}
	if len(conv) > 2 && conv[2] != "" {
		return e.replace(onnx.NewFloats(conv[2], dims, data), uses)
	}
	if stem, ok := strings.CutSuffix(conv[1], ".weight"); ok {
		return e.constant(onnx.NewFloats(stem+".bias", dims, data))
	}
	return e.replace(onnx.NewFloats(bn[2], dims, data), uses)
}

// replace stores a folded tensor in place of the initializer of its name where
// only one node reads that, else under a new name.
func (e *editor) replace(t *pb.TensorProto, uses map[string]int) string {
	if uses[t.GetName()] == 1 {
		for i, old := range e.g.GetInitializer() {
			if old.GetName() == t.GetName() {
				e.g.Initializer[i] = t
				return t.GetName()
			}
		}
	}
	return e.constant(t)
}

// product returns a convolution's weight (O,...) and bias (O) after folding.
func product(weight, bias *pb.TensorProto, statistics [4]*pb.TensorProto, epsilon float32) ([]float32, []float32, error) {
	w, err := onnx.Floats(weight)
	if err != nil {
		return nil, nil, err
	}
	dims := onnx.Dims(weight)
	if len(dims) < 3 || dims[0] == 0 || len(w) == 0 {
		return nil, nil, nil // nothing that could be folded
	}
	channels := dims[0]
	per := func(t *pb.TensorProto) []float32 {
		if t == nil {
			return make([]float32, channels)
		}
		v, ferr := onnx.Floats(t)
		if ferr == nil && len(v) != channels {
			ferr = &onnx.Error{Msg: "tensor " + t.GetName() + " does not have one value a channel", Err: onnx.ErrTensor}
		}
		if ferr != nil && err == nil {
			err = ferr
		}
		return v
	}
	b, scale, shift, mean, variance := per(bias), per(statistics[0]), per(statistics[1]), per(statistics[2]), per(statistics[3])
	if err != nil {
		return nil, nil, err
	}
	outW, outB := make([]float32, len(w)), make([]float32, channels)
	size := len(w) / channels
	for c := range channels {
		k := float64(scale[c]) / math.Sqrt(float64(variance[c])+float64(epsilon))
		for i := c * size; i < (c+1)*size; i++ {
			outW[i] = float32(float64(w[i]) * k)
		}
		outB[c] = float32((float64(b[c])-float64(mean[c]))*k + float64(shift[c]))
	}
	return outW, outB, nil
}
