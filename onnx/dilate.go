package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Dilate keeps an encoder's maps at outputStride: past it, convolutions and
// pools lose their stride, and every window behind them is spread by the
// strides lost, with its padding. Every outputStride-th pixel of a map then is
// what the original computes there, away from the borders; the pixels between
// are new. An outputStride that no map exceeds changes nothing.
//
// The standard's rules for dilation hold: a MaxPool whose padding exceeds its
// kernel is preceded by a Pad, an AveragePool can be spread from opset 19 on.
// Functions are replaced by their bodies, except those with a kernel.
func Dilate(m *Model, outputStride int) (*Model, error) {
	if outputStride < 1 {
		return nil, &Error{File: m.Path, Err: ErrInvalid, Msg: fmt.Sprintf("output stride %d", outputStride)}
	}
	flat, err := Inline(m, IsKernelFunction)
	if err != nil {
		return nil, err
	}
	f, err := newFlow(flat)
	if err != nil {
		return nil, err
	}
	d := &dilater{flow: f, limit: outputStride, lost: map[string]int{}, flexible: map[string]bool{}, taken: ValueNames(flat.Graph)}
	for _, n := range f.nodes {
		if err := d.node(n); err != nil {
			return nil, err
		}
	}
	flat.Graph.Node = d.nodes
	return restated(flat)
}

// restated returns the model with the output shapes that hold now and no
// value_info, which may be out of date.
func restated(m *Model) (*Model, error) {
	m.Graph.ValueInfo = nil
	for k, o := range m.Graph.Output {
		m.Graph.Output[k] = declare(o.GetName(), Info{DType: declared(o).DType})
	}
	infos, err := Infer(m)
	if err != nil {
		return nil, err
	}
	for k, o := range m.Graph.Output {
		m.Graph.Output[k] = declare(o.GetName(), infos[o.GetName()])
	}
	return m, nil
}

type dilater struct {
	*flow
	limit int
	lost  map[string]int // by value: the product of the strides lost before it, where not 1
	// flexible values have the size of some map, and fit it whatever it lost
	flexible map[string]bool
	nodes    []*pb.NodeProto
	taken    Names
}

func (d *dilater) fail(n *pb.NodeProto, format string, args ...any) error {
	e := d.failure(n, ErrUnsupported, format, args...)
	e.Remedy = "choose a larger output stride"
	return e
}

// before returns the strides lost before a value.
func (d *dilater) before(name string) int { return max(d.lost[name], 1) }

// node adds a node, spread if need be.
func (d *dilater) node(n *pb.NodeProto) error {
	switch OpName(n) {
	case "Conv", "MaxPool", "AveragePool", "LpPool":
		return d.window(n)
	}
	d.nodes = append(d.nodes, n)
	// Values of another rank than a map (a channel shuffle's) carry the loss on;
	// what has been pooled to one element does not.
	lost, stride := 0, 0
	flexible := false
	for _, in := range n.GetInput() {
		if d.flexible[in] {
			flexible = true
			continue
		}
		if d.stride(in) == 0 && d.before(in) == 1 {
			continue
		}
		if lost != 0 && d.before(in) != lost {
			return d.fail(n, "it joins maps that lost strides %d and %d", lost, d.before(in))
		}
		lost = d.before(in)
		stride = max(stride, d.stride(in))
	}
	resized := n.GetOpType() == "Resize" || n.GetOpType() == "Upsample"
	for _, o := range n.GetOutput() {
		s := d.stride(o)
		if v := d.value(o); s == 0 && v.Known && len(v.Dims) == 4 {
			continue
		}
		if s != 0 && stride != 0 && s != stride && !resized && (lost > 1 || s/max(lost, 1) > d.limit) {
			return d.fail(n, "it changes the stride from %d to %d, which cannot be turned into dilation", stride, s)
		}
		if lost > 1 {
			d.lost[o] = lost
		}
		// Resized to the size of another map, whatever that is.
		if resized && len(n.GetInput()) > 3 || flexible && lost == 0 {
			d.flexible[o] = true
		}
	}
	return nil
}

// window spreads a convolution or a pool.
func (d *dilater) window(n *pb.NodeProto) error {
	if len(n.GetInput()) == 0 || len(n.GetOutput()) == 0 || n.GetOpType() == "Conv" && len(n.GetInput()) < 2 {
		return d.failure(n, ErrInvalid, "inputs or outputs are missing")
	}
	x := n.GetInput()[0]
	in, out := d.stride(x), d.stride(n.GetOutput()[0])
	lost := d.before(x)
	c := &call{a: d.analysis, n: n, version: d.m.Opset(n.GetDomain())}
	if in == 0 || out == 0 || d.flexible[x] {
		d.nodes = append(d.nodes, n)
		for _, o := range n.GetOutput() {
			d.flexible[o] = d.flexible[x]
		}
		return nil
	}
	var kernel []int64
	if n.GetOpType() == "Conv" {
		weight := d.value(n.GetInput()[1])
		if len(weight.Dims) != 4 {
			return d.failure(n, ErrInvalid, "weight %v", weight.Info)
		}
		kernel, _ = sizesOf(weight.Dims[2:])
	}
	w, err := c.window(2, kernel)
	if err != nil {
		return d.failure(n, ErrInvalid, "%v", err)
	}
	if w.auto != "" {
		// As for a length that is a multiple of the stride.
		for k := range w.begin {
			total := max(w.extent(k)-w.strides[k], 0)
			w.begin[k], w.end[k] = total/2, total-total/2
			if w.auto == "SAME_LOWER" {
				w.begin[k], w.end[k] = w.end[k], w.begin[k]
			}
		}
	}
	step := int(max(w.strides[0], w.strides[1]))
	drop := step > 1 && in/lost*step > d.limit
	if lost == 1 && !drop {
		d.nodes = append(d.nodes, n)
		return nil
	}
	if drop && w.strides[0] != w.strides[1] {
		return d.fail(n, "its strides %v differ", w.strides)
	}
	spread := int64(lost)
	n = copyNode(n)
	for k := range w.kernel {
		if drop {
			// The output is as long as the input: windows start where they did,
			// and one at every pixel between.
			w.end[k] = w.extent(k) - 1 - w.begin[k]
			w.strides[k] = 1
		}
		w.begin[k] *= spread
		w.end[k] *= spread
		w.dilations[k] *= spread
		if w.begin[k] < 0 || w.end[k] < 0 {
			return d.fail(n, "its pads exceed its window")
		}
	}
	if drop {
		lost *= step
	}
	DeleteAttr(n, "auto_pad")
	DeleteAttr(n, "ceil_mode")
	SetAttr(n, IntsAttr("kernel_shape", w.kernel...))
	SetAttr(n, IntsAttr("strides", w.strides...))
	if slices.Max(w.kernel) > 1 && (n.GetOpType() == "Conv" || slices.Max(w.dilations) > 1) {
		SetAttr(n, IntsAttr("dilations", w.dilations...))
		need := map[string]int64{"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[n.GetOpType()]
		if v := d.m.Opset(""); v < need {
			return d.fail(n, "%s can be dilated from opset %d on, the model has %d", n.GetOpType(), need, v)
		}
	} else {
		DeleteAttr(n, "dilations")
	}
	if n.GetOpType() == "MaxPool" && (slices.Max(w.begin) >= slices.Min(w.kernel) || slices.Max(w.end) >= slices.Min(w.kernel)) {
		d.pad(n, w)
	}
	SetAttr(n, IntsAttr("pads", slices.Concat(w.begin, w.end)...))
	d.nodes = append(d.nodes, n)
	for _, o := range n.GetOutput() {
		d.lost[o] = lost
	}
	return nil
}

// pad moves the padding of a MaxPool into a Pad before it, with the lowest
// number: runtimes refuse pads as large as the kernel.
func (d *dilater) pad(n *pb.NodeProto, w *window) {
	pads := []int64{0, 0, w.begin[0], w.begin[1], 0, 0, w.end[0], w.end[1]}
	base := NodeName(n)
	name := func(what string) string { return d.taken.Fresh(base + "/" + what) }
	padded := &pb.NodeProto{OpType: "Pad", Name: name("pad"), Input: []string{n.Input[0]}, Output: []string{name("padded")}}
	const lowest = -math.MaxFloat32
	if d.m.Opset("") < 11 {
		padded.Attribute = []*pb.AttributeProto{IntsAttr("pads", pads...), FloatAttr("value", lowest)}
	} else {
		p, v := name("pads"), name("lowest")
		d.m.Graph.Initializer = append(d.m.Graph.Initializer, NewInts(p, []int{8}, pads), NewFloats(v, nil, []float32{lowest}))
		padded.Input = append(padded.Input, p, v)
	}
	d.nodes = append(d.nodes, padded)
	n.Input[0] = padded.Output[0]
	clear(w.begin)
	clear(w.end)
}
