package models

import (
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Batch normalisation as the reference trains most networks: ONNX's momentum is
// the weight of the old running value, one minus PyTorch's.
const (
	normEpsilon  = 1e-5
	normMomentum = 0.999
)

// value is a feature map (N, channels, h, w) in the graph.
type value struct {
	name     string
	channels int
}

// network adds layers to a graph. Layers have dotted paths such as
// layer1.0.conv1; parameters and values are called by part and path.
type network struct {
	b     *onnx.Builder
	opset int64
	part  string // "encoder" or "decoder"
	seed  int64
	init  initialisation
	// momentum is that of batch normalisation: the weight of the old running
	// value.
	momentum float32
	// as renames the value of the layer of some paths: the taps.
	as map[string]string
	// six are the bounds of ReLU6, made when first needed.
	six []string
	// fills draw the parameters' values, each from a stream of its own.
	fills []func() error
}

// model finishes the graph: the parameters get their values, several at a
// time.
func (n *network) model() (*onnx.Model, error) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, fill := range n.fills {
		group.Go(fill)
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return n.b.Model()
}

// valueName is the name of the value that the layer of the path puts out.
func (n *network) valueName(path string) string {
	if name, ok := n.as[path]; ok {
		return name
	}
	return n.part + "." + path
}

// parameter adds an initializer to the layer of the path; fill is called when
// the graph is finished, beside that of other parameters.
func (n *network) parameter(path, name string, dims []int, fill func(size int, full string) []float32) string {
	full := n.part + "." + path + "." + name
	size := 1
	for _, d := range dims {
		size *= d
	}
	t := onnx.NewFloats(full, dims, nil)
	n.fills = append(n.fills, func() error { return onnx.SetFloats(t, fill(size, full)) })
	return n.b.Initializer(t)
}

// convolution describes a square convolution without change of size but by
// its stride: its padding is dilation * (kernel / 2).
type convolution struct {
	outputs, kernel          int
	stride, dilation, groups int // 0 means 1
	bias                     bool
}

func (n *network) conv(path string, x value, c convolution) value {
	stride, dilation, groups := max(c.stride, 1), max(c.dilation, 1), max(c.groups, 1)
	k, pad := int64(c.kernel), int64(dilation*(c.kernel/2))
	dims := []int{c.outputs, x.channels / groups, c.kernel, c.kernel}
	fanIn, fanOut := dims[1]*c.kernel*c.kernel, c.outputs*c.kernel*c.kernel
	inputs := []string{x.name, n.parameter(path, "weight", dims, func(size int, full string) []float32 {
		return n.init.weights(stream(n.seed, full), size, fanIn, fanOut, groups)
	})}
	if c.bias {
		inputs = append(inputs, n.parameter(path, "bias", []int{c.outputs}, func(size int, full string) []float32 {
			return uniform(stream(n.seed, full), size, biasBound(fanIn))
		}))
	}
	out := n.b.Op("Conv", n.valueName(path), inputs,
		onnx.IntsAttr("dilations", int64(dilation), int64(dilation)),
		onnx.IntAttr("group", int64(groups)),
		onnx.IntsAttr("kernel_shape", k, k),
		onnx.IntsAttr("pads", pad, pad, pad, pad),
		onnx.IntsAttr("strides", int64(stride), int64(stride)))
	return value{out, c.outputs}
}

func (n *network) norm(path string, x value) value {
	per := func(name string, v float32) string {
		return n.parameter(path, name, []int{x.channels}, func(size int, _ string) []float32 { return constant(size, v) })
	}
	inputs := []string{x.name, per("weight", 1), per("bias", n.init.shift), per("running_mean", 0), per("running_var", 1)}
	out := n.b.Op("BatchNormalization", n.valueName(path), inputs,
		onnx.FloatAttr("epsilon", normEpsilon), onnx.FloatAttr("momentum", n.momentum))
	return value{out, x.channels}
}

func (n *network) relu(path string, x value) value {
	return value{n.b.Op("Relu", n.valueName(path), []string{x.name}), x.channels}
}

// relu6 is a ReLU that stops at 6.
func (n *network) relu6(path string, x value) value {
	if n.six == nil {
		n.six = []string{n.scalar("relu6_low", 0), n.scalar("relu6_high", 6)}
	}
	return value{n.b.Op("Clip", n.valueName(path), []string{x.name, n.six[0], n.six[1]}), x.channels}
}

func (n *network) add(path string, a, b value) value {
	return value{n.b.Op("Add", n.valueName(path), []string{a.name, b.name}), a.channels}
}

func (n *network) maxPool(path string, x value, kernel, stride int) value {
	k, s, pad := int64(kernel), int64(stride), int64(kernel/2)
	out := n.b.Op("MaxPool", n.valueName(path), []string{x.name},
		onnx.IntsAttr("kernel_shape", k, k), onnx.IntsAttr("pads", pad, pad, pad, pad), onnx.IntsAttr("strides", s, s))
	return value{out, x.channels}
}

// convNormRelu is the unit most decoders are made of: layers path.at,
// path.at+1 and path.at+2.
func (n *network) convNormRelu(path string, at int, x value, c convolution) value {
	layer := func(i int) string { return fmt.Sprintf("%s.%d", path, at+i) }
	return n.relu(layer(2), n.norm(layer(1), n.conv(layer(0), x, c)))
}

// adaptiveAveragePool averages x over a grid of size by size cells that share
// it out evenly, whatever its size.
func (n *network) adaptiveAveragePool(path string, x value, size int) value {
	return n.call(path, onnx.AdaptiveAveragePoolFunction(), x, onnx.IntsAttr("output_size", int64(size), int64(size)))
}

// channelDropout drops whole channels in training and is the identity in
// inference.
func (n *network) channelDropout(path string, x value, ratio float32) value {
	return n.call(path, onnx.ChannelDropoutFunction(), x, onnx.FloatAttr("ratio", ratio))
}

// call adds a function of one input and one output, and the function to the
// model. Its operators mean the same in every operator set from 15 on, so it
// imports that of the model, as the standard wants.
func (n *network) call(path string, f *pb.FunctionProto, x value, attr *pb.AttributeProto) value {
	f.OpsetImport = []*pb.OperatorSetIdProto{{Version: n.opset}}
	n.b.Function(f)
	out := n.b.Call(f.GetDomain(), f.GetName(), []string{x.name}, []string{n.valueName(path)}, attr)
	return value{out[0], x.channels}
}

// scalar adds a constant number.
func (n *network) scalar(path string, v float32) string {
	return n.b.Op("Constant", n.part+"."+path, nil, onnx.TensorAttr("value", onnx.NewFloats("", []int{}, []float32{v})))
}

// ints adds a constant list of whole numbers.
func (n *network) ints(path string, v ...int64) string {
	return n.b.Op("Constant", n.part+"."+path, nil, onnx.TensorAttr("value", onnx.NewInts("", []int{len(v)}, v)))
}

// sizes cuts tensor shapes into their halves: batch and channels, height and
// width.
type sizes struct {
	n                *network
	zero, two, four  string
	heightWidthCache map[string]string
}

func (n *network) sizes(path string) *sizes {
	return &sizes{n: n,
		zero: n.ints(path+".from_0", 0), two: n.ints(path+".from_2", 2), four: n.ints(path+".to_4", 4),
		heightWidthCache: map[string]string{}}
}

func (s *sizes) part(path string, x value, start, end string) string {
	shape := s.n.b.Op("Shape", s.n.part+"."+path+".shape", []string{x.name})
	return s.n.b.Op("Slice", s.n.part+"."+path, []string{shape, start, end, s.zero})
}

// resizeLike brings x to height and width of another value, bilinearly, with
// pixel centres at the halves (PyTorch's align_corners=False).
func (s *sizes) resizeLike(path string, x, like value) value {
	target, ok := s.heightWidthCache[like.name]
	if !ok {
		target = s.part(path+".target", like, s.two, s.four)
		s.heightWidthCache[like.name] = target
	}
	size := s.n.b.Op("Concat", s.n.part+"."+path+".size",
		[]string{s.part(path+".batch_channels", x, s.zero, s.two), target}, onnx.IntAttr("axis", 0))
	out := s.n.b.Op("Resize", s.n.valueName(path), []string{x.name, "", "", size},
		onnx.StringAttr("coordinate_transformation_mode", "half_pixel"), onnx.StringAttr("mode", "linear"))
	return value{out, x.channels}
}

// concat joins values along their channels.
func (n *network) concat(path string, values ...value) value {
	var names []string
	channels := 0
	for _, v := range values {
		names = append(names, v.name)
		channels += v.channels
	}
	return value{n.b.Op("Concat", n.valueName(path), names, onnx.IntAttr("axis", 1)), channels}
}

// output makes an output of the graph: the log-probabilities of x's channels
// at the cells of a feature map.
func (n *network) output(name string, x value) {
	n.b.Op("LogSoftmax", name, []string{x.name}, onnx.IntAttr("axis", 1))
	n.b.Output(name, pb.TensorProto_FLOAT, "N", x.channels, name+"_height", name+"_width")
}
