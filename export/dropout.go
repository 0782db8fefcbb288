package export

import (
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// removeIdle takes out nodes that pass their input on in inference: Dropout,
// graft's ChannelDropout, and Identity. A Dropout whose mask is read stays and
// loses its training_mode.
func (e *editor) removeIdle() {
	uses := e.uses()
	outputs := map[string]bool{}
	for _, v := range e.g.GetOutput() {
		outputs[v.GetName()] = true
	}
	to := map[string]string{}
	var kept []*pb.NodeProto
	for _, n := range e.g.GetNode() {
		in, out, idle := passes(n, uses)
		// An output of the graph keeps its name, so its node must stay.
		if idle && !outputs[out] {
			to[out] = in
			continue
		}
		if idle {
			n.OpType, n.Domain, n.Input, n.Output, n.Attribute = "Identity", "", []string{in}, []string{out}, nil
		} else if isDropout(n) && len(n.Input) > 2 {
			n.Input = n.Input[:2]
		}
		kept = append(kept, n)
	}
	e.g.Node = kept
	e.rename(to)
}

func isDropout(n *pb.NodeProto) bool {
	return n.GetOpType() == "Dropout" && onnx.NormalDomain(n.GetDomain()) == ""
}

// passes reports whether a node only hands its first input on to its first
// output in inference.
func passes(n *pb.NodeProto, uses map[string]int) (in, out string, idle bool) {
	if len(n.GetInput()) == 0 || len(n.GetOutput()) == 0 {
		return "", "", false
	}
	in, out = n.Input[0], n.Output[0]
	switch {
	case isDropout(n):
		idle = len(n.Output) < 2 || n.Output[1] == "" || uses[n.Output[1]] == 0
	case n.GetOpType() == "ChannelDropout" && n.GetDomain() == onnx.FunctionDomain:
		idle = true
	case n.GetOpType() == "Identity" && onnx.NormalDomain(n.GetDomain()) == "":
		idle = true
	}
	return in, out, idle && in != "" && out != ""
}
