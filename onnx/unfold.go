package onnx

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/onnx/pb"
)

// unfoldEpsilon is that of the BatchNormalization that Unfold adds.
const unfoldEpsilon float32 = 1e-5

// Moments are the mean and the variance of every channel of a map, over
// pictures and places.
type Moments struct{ Mean, Var []float64 }

// BareConv is a convolution that no BatchNormalization follows.
type BareConv struct {
	Node   string // as NodeName has it
	Output string
	// Reason says why Unfold leaves it as it is; "" where it can be unfolded.
	Reason string
}

// BareConvs lists, in topological order, the convolutions that no
// BatchNormalization follows, such as exporters leave behind that fold it. The
// model has one input, a picture (N,C,H,W), and no functions but those with a
// kernel; Import makes such models.
//
// Left as they are: convolutions of what was pooled to single cells (the gates
// of squeeze-and-excitation), whose batch statistics would be those of a few
// numbers; those that end in an output other than a feature map, which is read
// as it is; and those whose weight or bias is computed or not float32.
func BareConvs(m *Model) ([]BareConv, error) {
	f, err := newFlow(m)
	if err != nil {
		return nil, err
	}
	normalised, ends := map[string]bool{}, map[string]bool{}
	for _, n := range m.Graph.Node {
		if OpName(n) == "BatchNormalization" && len(n.Input) > 0 {
			normalised[n.Input[0]] = true
		}
	}
	for _, o := range m.Graph.Output {
		ends[o.GetName()] = !strings.HasPrefix(o.GetName(), FeaturePrefix)
	}
	stored := initializers(m)
	float32s := func(name string) bool { return DataType(stored[name]) == pb.TensorProto_FLOAT }
	var list []BareConv
	for _, n := range f.nodes {
		if OpName(n) != "Conv" || len(n.Input) < 2 || len(n.Output) == 0 || normalised[n.Output[0]] {
			continue
		}
		c := BareConv{Node: NodeName(n), Output: n.Output[0]}
		switch {
		case f.stride(c.Output) == 0:
			c.Reason = "its output is no map of the picture"
		case ends[c.Output]:
			c.Reason = "its output is the network's, and no feature map"
		case !float32s(n.Input[1]):
			c.Reason = "its weight is computed, or not float32"
		case biasOf(n) != "" && !float32s(biasOf(n)):
			c.Reason = "its bias is computed, or not float32"
		}
		list = append(list, c)
	}
	return list, nil
}

// Unfold gives convolutions batch normalisation without changing what the
// network computes in evaluation, rounding aside. moments holds, by the name of
// the convolution's output, the mean and variance of that output, bias
// included, over pictures such as training will see. With b the bias, which
// moves into the normalisation,
//
//	y = W*x + b  becomes  y = scale * (W*x - mean) / sqrt(var+eps) + shift,
//	mean = E[y] - b,  var = Var[y],  scale = sqrt(var+eps),  shift = E[y],
//
// so that in training, with batch statistics like the moments, outputs are
// nearly the same too. A channel that never varies has scale sqrt(eps). The
// value y keeps its name. Parameters are called after the weight: a.weight gets
// a.norm.weight, a.norm.bias, a.norm.running_mean and a.norm.running_var.
//
// Names that BareConvs does not list as fit, moments of another number of
// channels and moments that are no finite float32 are an *Error.
func Unfold(m *Model, moments map[string]Moments) (*Model, error) {
	bare, err := BareConvs(m)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(moments)) {
		if !slices.ContainsFunc(bare, func(c BareConv) bool { return c.Output == name && c.Reason == "" }) {
			return nil, &Error{File: m.Path, Err: ErrInvalid, Msg: fmt.Sprintf("%q is not the output of a convolution that can be unfolded", name)}
		}
	}
	out := m.Shallow()
	u := &unfolder{g: out.Graph, stored: initializers(m), taken: AllNames(m.Graph), biases: map[string]bool{}}
	nodes := u.g.Node
	u.g.Node = nil
	for _, n := range nodes {
		u.g.Node = append(u.g.Node, n)
		if len(n.Output) == 0 || OpName(n) != "Conv" {
			continue
		}
		if mo, ok := moments[n.Output[0]]; ok {
			if err := u.normalise(n, mo); err != nil {
				return nil, &Error{File: m.Path, Node: NodeName(n), Op: OpName(n), Msg: err.Error(), Err: err}
			}
		}
	}
	u.dropBiases()
	return out, Check(out)
}

type unfolder struct {
	g      *pb.GraphProto
	stored map[string]*pb.TensorProto
	taken  Names
	biases map[string]bool // that moved
}

// normalise puts a BatchNormalization behind a convolution.
func (u *unfolder) normalise(conv *pb.NodeProto, mo Moments) error {
	weight := conv.Input[1]
	channels := Dims(u.stored[weight])[0]
	bias := make([]float32, channels)
	if name := biasOf(conv); name != "" {
		var err error
		if bias, err = Floats(u.stored[name]); err != nil {
			return err
		}
		u.biases[name] = true
	}
	if len(mo.Mean) != channels || len(mo.Var) != channels || len(bias) != channels {
		return fmt.Errorf("%w: moments of %d and %d channels for %d", ErrInvalid, len(mo.Mean), len(mo.Var), channels)
	}
	scale, shift := make([]float32, channels), make([]float32, channels)
	mean, variance := make([]float32, channels), make([]float32, channels)
	for c := range channels {
		variance[c] = float32(mo.Var[c])
		scale[c] = float32(math.Sqrt(float64(variance[c]) + float64(unfoldEpsilon)))
		mean[c] = float32(mo.Mean[c] - float64(bias[c]))
		// What evaluation adds to W*x is then the bias, up to one rounding.
		shift[c] = float32(float64(mean[c]) + float64(bias[c]))
		if variance[c] < 0 || scale[c]-scale[c] != 0 || mean[c]-mean[c] != 0 || shift[c]-shift[c] != 0 {
			return fmt.Errorf("%w: channel %d has mean %g and variance %g", ErrInvalid, c, mo.Mean[c], mo.Var[c])
		}
	}
	stem := weight
	if k := strings.LastIndex(weight, ".weight"); k > 0 {
		stem = weight[:k]
	}
	store := func(name string, data []float32) string {
		t := NewFloats(u.taken.Fresh(stem+".norm."+name), []int{channels}, data)
		u.g.Initializer = append(u.g.Initializer, t)
		return t.GetName()
	}
	y := conv.Output[0]
	conv.Input = conv.Input[:2]
	conv.Output[0] = u.taken.Fresh(y + "_conv")
	u.g.Node = append(u.g.Node, &pb.NodeProto{
		Name: u.taken.Fresh(NodeName(conv) + "_norm"), OpType: "BatchNormalization",
		Input:     []string{conv.Output[0], store("weight", scale), store("bias", shift), store("running_mean", mean), store("running_var", variance)},
		Output:    []string{y},
		Attribute: []*pb.AttributeProto{FloatAttr("epsilon", unfoldEpsilon)},
	})
	return nil
}

// dropBiases removes the biases that moved and that nothing else reads.
func (u *unfolder) dropBiases() {
	for _, n := range u.g.Node {
		for v := range reads(n) {
			delete(u.biases, v)
		}
	}
	u.g.Initializer = slices.DeleteFunc(u.g.Initializer, func(t *pb.TensorProto) bool { return u.biases[t.GetName()] })
}

// biasOf names a convolution's bias, "" without one.
func biasOf(conv *pb.NodeProto) string {
	if len(conv.Input) < 3 {
		return ""
	}
	return conv.Input[2]
}

// initializers holds a graph's stored tensors by name.
func initializers(m *Model) map[string]*pb.TensorProto {
	stored := map[string]*pb.TensorProto{}
	for _, t := range m.Graph.Initializer {
		stored[t.GetName()] = t
	}
	return stored
}
