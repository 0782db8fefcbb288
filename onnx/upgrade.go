package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// maxUpgrade is the latest version of ai.onnx that Upgrade knows the way to.
const maxUpgrade = 17

// Upgrade rewrites a model for a later version of ai.onnx, leaving what it
// computes as it is: settings that became inputs become constants, and what
// changed its meaning is expressed anew. A model of that version or a later
// one is returned as a copy. Names of values and nodes stay; the tensors are
// shared with m.
//
// Nodes that it knows no way for come back all at once, as a *CheckError.
func Upgrade(m *Model, opset int64) (*Model, error) {
	out := shell(m)
	from := m.Opset("")
	if from >= opset {
		return out, nil
	}
	if opset > maxUpgrade {
		return nil, &Error{File: m.Path, Err: ErrUnsupported,
			Msg: fmt.Sprintf("cannot be brought to opset %d, at most to %d", opset, maxUpgrade)}
	}
	u := &upgrader{from: from, to: opset, names: AllNames(out.Graph)}
	report := &CheckError{File: m.Path}
	if len(m.GetFunctions()) > 0 {
		report.Findings = append(report.Findings, &Error{File: m.Path, Err: ErrUnsupported,
			Msg: "a model with functions cannot be brought to a later opset", Remedy: "inline the functions first"})
	}
	for _, n := range out.Graph.Node {
		if err := u.upgrade(n); err != nil {
			report.Findings = append(report.Findings, &Error{File: m.Path, Node: NodeName(n), Op: OpName(n), Err: ErrUnsupported,
				Msg: fmt.Sprintf("cannot be brought from opset %d to %d: %v", from, opset, err), Remedy: fmt.Sprintf("export the model with opset %d", opset)})
		}
	}
	if len(report.Findings) > 0 {
		return nil, report
	}
	out.Graph.Node = u.nodes
	out.SetOpset("", opset)
	out.IrVersion = max(out.IrVersion, IRVersion(out))
	return out, nil
}

// upgrader writes the new nodes.
type upgrader struct {
	from, to int64
	nodes    []*pb.NodeProto
	names    Names
}

// add writes a node of one output before the one at work.
func (u *upgrader) add(op string, inputs []string, output string, attrs ...*pb.AttributeProto) string {
	u.nodes = append(u.nodes, &pb.NodeProto{OpType: op, Name: u.names.Fresh(output + "_node"), Input: inputs, Output: []string{output}, Attribute: attrs})
	return output
}

// scalar and list write constants for node n.
func (u *upgrader) scalar(n *pb.NodeProto, what string, v float32) string {
	return u.add("Constant", nil, u.names.Fresh(NodeName(n)+"_"+what), TensorAttr("value", NewFloats("", []int{}, []float32{v})))
}

func (u *upgrader) list(n *pb.NodeProto, what string, v []int64) string {
	return u.add("Constant", nil, u.names.Fresh(NodeName(n)+"_"+what), TensorAttr("value", NewInts("", []int{len(v)}, v)))
}

// upgrade writes the node, changed where it has to be.
func (u *upgrader) upgrade(n *pb.NodeProto) error {
	op := n.GetOpType()
	for _, a := range n.GetAttribute() {
		if a.GetG() != nil || len(a.GetGraphs()) > 0 {
			return fmt.Errorf("it holds a graph of its own")
		}
	}
	old, now := schemaVersion(op, u.from), schemaVersion(op, u.to)
	if NormalDomain(n.GetDomain()) == "" && old != now && !slices.ContainsFunc(growing[op], func(g span) bool { return g.from <= old && now <= g.to }) {
		rule := upgrades[op]
		if rule == nil {
			return fmt.Errorf("the operator has another meaning")
		}
		return rule(u, n, old)
	}
	u.nodes = append(u.nodes, n)
	return nil
}

// span is a range of versions through which an operator only grew: a node
// written for from means the same in to.
type span struct{ from, to int64 }

var growing = map[string][]span{
	"ArgMax": {{1, 12}}, "ArgMin": {{1, 12}}, "AveragePool": {{7, 10}}, "Constant": {{1, 12}}, "DepthToSpace": {{1, 11}},
	"Flatten": {{1, 11}}, "Gather": {{1, 11}}, "GatherND": {{11, 12}}, "Gemm": {{7, 11}}, "Identity": {{1, 16}},
	"MaxPool": {{1, 12}}, "OneHot": {{9, 11}}, "Pad": {{11, 11}}, "PRelu": {{7, 9}}, "Reshape": {{5, 14}}, "Resize": {{11, 13}},
	"ReduceL1": {{1, 11}}, "ReduceL2": {{1, 11}}, "ReduceLogSum": {{1, 11}}, "ReduceLogSumExp": {{1, 11}}, "ReduceMax": {{1, 11}},
	"ReduceMean": {{1, 11}}, "ReduceMin": {{1, 11}}, "ReduceProd": {{1, 11}}, "ReduceSumSquare": {{1, 11}},
	"Shape": {{1, 15}}, "TopK": {{10, 11}}, "DequantizeLinear": {{10, 13}}, "QuantizeLinear": {{10, 13}},
}

// upgrades rewrite nodes whose meaning changed; old is the version that the
// node was written for.
var upgrades = map[string]func(u *upgrader, n *pb.NodeProto, old int64) error{
	"BatchNormalization": upgradeBatchNormalization,
	"Clip":               upgradeClip,
	"Dropout":            upgradeDropout,
	"LogSoftmax":         upgradeSoftmax,
	"Softmax":            upgradeSoftmax,
	"Pad":                upgradePad,
	"ReduceSum":          attributeToInput("axes"),
	"Slice":              upgradeSlice,
	"Split":              attributeToInput("split"),
	"Squeeze":            attributeToInput("axes"),
	"Unsqueeze":          attributeToInput("axes"),
	"Upsample":           upgradeUpsample,
}

// attributeToInput makes a list of whole numbers the second input.
func attributeToInput(name string) func(u *upgrader, n *pb.NodeProto, old int64) error {
	return func(u *upgrader, n *pb.NodeProto, _ int64) error {
		if v := AttrInts(n, name, nil); Attr(n, name) != nil && len(n.Input) == 1 {
			n.Input = append(n.Input, u.list(n, name, v))
			DeleteAttr(n, name)
		}
		u.nodes = append(u.nodes, n)
		return nil
	}
}

// upgradeBatchNormalization: before version 9 a spatial attribute could ask
// for statistics of every pixel; before 14 a node was in training mode when it
// had more than one output, among them the batch's statistics.
func upgradeBatchNormalization(u *upgrader, n *pb.NodeProto, old int64) error {
	if old < 7 {
		return fmt.Errorf("the operator has another meaning")
	}
	if AttrInt(n, "spatial", 1) != 1 {
		return fmt.Errorf("it normalises every pixel by itself (spatial is 0)")
	}
	DeleteAttr(n, "spatial")
	if u.to >= 14 && len(n.Output) > 1 {
		if len(n.Output) > 3 {
			n.Output = n.Output[:3] // the batch's own statistics: only training reads them
		}
		SetAttr(n, IntAttr("training_mode", 1))
	}
	u.nodes = append(u.nodes, n)
	return nil
}

// upgradeClip: bounds were attributes before version 11.
func upgradeClip(u *upgrader, n *pb.NodeProto, _ int64) error {
	lowest, highest := float32(-math.MaxFloat32), float32(math.MaxFloat32)
	low, high := AttrFloat(n, "min", lowest), AttrFloat(n, "max", highest)
	n.Input = append(n.Input[:1:1], "", "")
	if low > lowest {
		n.Input[1] = u.scalar(n, "min", low)
	}
	if high < highest {
		n.Input[2] = u.scalar(n, "max", high)
	}
	DeleteAttr(n, "min")
	DeleteAttr(n, "max")
	u.nodes = append(u.nodes, n)
	return nil
}

// upgradeDropout: the ratio was an attribute before version 12.
func upgradeDropout(u *upgrader, n *pb.NodeProto, old int64) error {
	if old < 7 {
		return fmt.Errorf("the operator has another meaning")
	}
	n.Input = append(n.Input[:1:1], u.scalar(n, "ratio", AttrFloat(n, "ratio", 0.5)))
	DeleteAttr(n, "ratio")
	u.nodes = append(u.nodes, n)
	return nil
}

// upgradeSoftmax: before version 13 everything from axis on was one axis.
func upgradeSoftmax(u *upgrader, n *pb.NodeProto, _ int64) error {
	axis := AttrInt(n, "axis", 1)
	SetAttr(n, IntAttr("axis", -1))
	if axis == -1 {
		u.nodes = append(u.nodes, n)
		return nil
	}
	name, out := NodeName(n), n.Output[0]
	shape := u.add("Shape", n.Input[:1:1], u.names.Fresh(name+"_shape"))
	flat := u.add("Flatten", n.Input[:1:1], u.names.Fresh(name+"_flat"), IntAttr("axis", axis))
	result := u.names.Fresh(name + "_flat_result")
	n.Input, n.Output = []string{flat}, []string{result}
	u.nodes = append(u.nodes, n)
	u.add("Reshape", []string{result, shape}, out)
	return nil
}

// upgradePad: pads and value were attributes before version 11.
func upgradePad(u *upgrader, n *pb.NodeProto, old int64) error {
	if old < 2 || u.to >= 18 {
		return fmt.Errorf("the operator has another meaning")
	}
	n.Input = append(n.Input[:1:1], u.list(n, "pads", AttrInts(n, "pads", nil)))
	if AttrString(n, "mode", "constant") == "constant" {
		n.Input = append(n.Input, u.scalar(n, "value", AttrFloat(n, "value", 0)))
	}
	DeleteAttr(n, "pads")
	DeleteAttr(n, "value")
	u.nodes = append(u.nodes, n)
	return nil
}

// upgradeSlice: bounds were attributes before version 10.
func upgradeSlice(u *upgrader, n *pb.NodeProto, _ int64) error {
	starts, ends := AttrInts(n, "starts", nil), AttrInts(n, "ends", nil)
	axes := AttrInts(n, "axes", nil)
	n.Input = append(n.Input[:1:1], u.list(n, "starts", starts), u.list(n, "ends", ends))
	if axes != nil {
		n.Input = append(n.Input, u.list(n, "axes", axes))
	}
	for _, name := range []string{"starts", "ends", "axes"} {
		DeleteAttr(n, name)
	}
	u.nodes = append(u.nodes, n)
	return nil
}

// upgradeUpsample: Resize took Upsample's place. Its coordinates were
// output/scale, rounded down for nearest neighbours.
func upgradeUpsample(u *upgrader, n *pb.NodeProto, old int64) error {
	if old < 7 || u.to < 11 {
		return fmt.Errorf("the operator has another meaning")
	}
	scales := ""
	if old == 7 {
		a := AttrFloats(n, "scales", nil)
		scales = u.add("Constant", nil, u.names.Fresh(NodeName(n)+"_scales"), TensorAttr("value", NewFloats("", []int{len(a)}, a)))
	} else if len(n.Input) == 2 {
		scales = n.Input[1]
	}
	if scales == "" {
		return fmt.Errorf("it has no scales")
	}
	roi := ""
	if u.to < 13 { // obligatory until 13, unread in this mode
		roi = u.add("Constant", nil, u.names.Fresh(NodeName(n)+"_roi"), TensorAttr("value", NewFloats("", []int{0}, nil)))
	}
	mode := AttrString(n, "mode", "nearest")
	if mode == "bilinear" {
		mode = "linear"
	}
	n.OpType, n.Input = "Resize", []string{n.Input[0], roi, scales}
	n.Attribute = []*pb.AttributeProto{
		StringAttr("coordinate_transformation_mode", "asymmetric"), StringAttr("mode", mode), StringAttr("nearest_mode", "floor"),
	}
	u.nodes = append(u.nodes, n)
	return nil
}
