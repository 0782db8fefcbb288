package export

import (
	"cmp"
	"slices"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Cost is the work of one evaluation at given input shapes.
type Cost struct {
	Inputs map[string][]int `json:"inputs"`
	// MACs is the number of multiplications with addition in convolutions and
	// matrix products; everything else is small beside them and not counted.
	MACs int64 `json:"macs"`
	// Activations is the number of elements that all nodes put out.
	Activations int64          `json:"activations"`
	Operators   []OperatorMACs `json:"operators"` // most work first
	Largest     []NodeMACs     `json:"largest"`   // the ten nodes with most work
}

// OperatorMACs is the work of all nodes of one operator.
type OperatorMACs struct {
	Operator string `json:"operator"`
	MACs     int64  `json:"macs"`
}

// NodeMACs is the work of one node.
type NodeMACs struct {
	Node     string `json:"node"`
	Operator string `json:"operator"`
	Output   []int  `json:"output"` // shape
	MACs     int64  `json:"macs"`
}

// The size of a picture for counting, where neither the file nor the caller
// gives one: that of ImageNet's classifiers, to compare with published counts.
const defaultSize = 224

// largestShown is how many nodes Cost.Largest holds.
const largestShown = 10

// cost counts the work and returns the graph it counted, or nil.
func (i *Inspection) cost(m *onnx.Model, inputs map[string][]int) *onnx.Model {
	shapes := map[string][]int{}
	for _, v := range m.Inputs() {
		if s, ok := inputs[v.GetName()]; ok {
			shapes[v.GetName()] = s
			continue
		}
		info := declared(v)
		if !info.Known {
			i.Notes = append(i.Notes, "cost: the rank of input "+v.GetName()+" is not known")
			return nil
		}
		for axis, d := range info.Dims {
			size := int(d.Size)
			switch {
			case size >= 0:
			case axis < 2:
				size = 1
			default:
				size = defaultSize
			}
			shapes[v.GetName()] = append(shapes[v.GetName()], size)
		}
	}
	flat, all, err := onnx.Specialize(m, shapes)
	if err != nil {
		i.Notes = append(i.Notes, "cost: "+err.Error())
		return nil
	}
	c := &Cost{Inputs: shapes}
	byOp := map[string]int64{}
	for _, n := range flat.GetGraph().GetNode() {
		for _, o := range n.GetOutput() {
			if o != "" {
				c.Activations += volume(all[o])
			}
		}
		macs := nodeMACs(n, all)
		if macs == 0 {
			continue
		}
		c.MACs += macs
		byOp[onnx.OpName(n)] += macs
		c.Largest = append(c.Largest, NodeMACs{Node: onnx.NodeName(n), Operator: onnx.OpName(n), Output: all[n.Output[0]], MACs: macs})
	}
	for op, macs := range byOp {
		c.Operators = append(c.Operators, OperatorMACs{op, macs})
	}
	slices.SortFunc(c.Operators, func(a, b OperatorMACs) int {
		return cmp.Or(cmp.Compare(b.MACs, a.MACs), cmp.Compare(a.Operator, b.Operator))
	})
	slices.SortStableFunc(c.Largest, func(a, b NodeMACs) int { return cmp.Compare(b.MACs, a.MACs) })
	c.Largest = c.Largest[:min(len(c.Largest), largestShown)]
	i.Cost = c
	return flat
}

// nodeMACs counts the multiplications of one node.
func nodeMACs(n *pb.NodeProto, shapes map[string][]int) int64 {
	if onnx.NormalDomain(n.GetDomain()) != "" || len(n.GetInput()) < 2 {
		return 0
	}
	a, b, y := shapes[n.Input[0]], shapes[n.Input[1]], shapes[n.Output[0]]
	switch n.GetOpType() {
	case "Conv", "ConvInteger":
		if len(b) < 3 {
			return 0
		}
		return volume(y) * volume(b[1:]) // filter (O,I/group,...)
	case "ConvTranspose":
		if len(b) < 3 {
			return 0
		}
		return volume(a) * volume(b[1:]) // filter (I,O/group,...)
	case "Gemm":
		if len(a) != 2 {
			return 0
		}
		inner := a[1]
		if onnx.AttrInt(n, "transA", 0) != 0 {
			inner = a[0]
		}
		return volume(y) * int64(inner)
	case "MatMul", "MatMulInteger":
		if len(a) == 0 {
			return 0
		}
		return volume(y) * int64(a[len(a)-1])
	}
	return 0
}

func volume(shape []int) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return n
}
