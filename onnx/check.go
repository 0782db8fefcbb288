package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Check looks for everything that keeps a model from being run as its author
// meant it, and returns all findings at once as a *CheckError: versions, names
// and their order, types and data of initializers, attributes, subgraphs and
// functions. Whether graft has an operator is not its business.
//
// Source: the ONNX IR specification, https://github.com/onnx/onnx/blob/main/docs/IR.md
func Check(m *Model) error {
	c := &checker{model: m}
	if m == nil || m.ModelProto == nil || m.GetGraph() == nil {
		return &CheckError{Findings: []*Error{{Msg: "the model has no graph", Err: ErrInvalid}}}
	}
	c.versions()
	c.functions()
	main := c.graph(m.GetGraph(), nil, place{opsets: m.GetOpsetImport()})
	c.training(main)
	if len(c.findings) == 0 {
		return nil
	}
	for _, f := range c.findings {
		f.File = m.Path
	}
	return &CheckError{File: m.Path, Findings: c.findings}
}

// checker collects the findings of one model.
type checker struct {
	model    *Model
	findings []*Error
}

// place is where in the model the checker stands.
type place struct {
	where    string                   // "the then_branch of node "if"", empty in the main graph
	opsets   []*pb.OperatorSetIdProto // operator sets in force
	function *pb.FunctionProto        // the function whose body this is, or nil
	nested   bool                     // inside a control-flow node
}

// inside completes a message with the place it is about.
func (p place) inside(msg string) string {
	if p.where == "" {
		return msg
	}
	return msg + ", in " + p.where
}

// add records a finding about a node, or about the model where n is nil. The
// sentinel is ErrInvalid unless err has a better one.
func (c *checker) add(p place, n *pb.NodeProto, remedy string, err error) {
	f := &Error{Msg: p.inside(err.Error()), Remedy: remedy, Err: err}
	if n != nil {
		f.Node, f.Op = NodeName(n), OpName(n)
	}
	for _, known := range []error{ErrTensor, ErrUnsupported, ErrExternalData} {
		if errors.Is(err, known) {
			c.findings = append(c.findings, f)
			return
		}
	}
	f.Err = ErrInvalid
	c.findings = append(c.findings, f)
}

func (c *checker) addf(p place, n *pb.NodeProto, format string, args ...any) {
	c.add(p, n, "", fmt.Errorf(format, args...))
}

// versions checks the IR version and the imported operator sets.
func (c *checker) versions() {
	m := c.model
	if ir := m.GetIrVersion(); ir < MinIR || ir > MaxIR {
		c.add(place{}, nil, fmt.Sprintf("versions %d to %d are read", MinIR, MaxIR),
			fmt.Errorf("%w: IR version %d", ErrUnsupported, ir))
	}
	c.opsets(place{}, m.GetOpsetImport())
	if m.Opset("") == 0 && slices.ContainsFunc(m.GetGraph().GetNode(), func(n *pb.NodeProto) bool {
		return NormalDomain(n.GetDomain()) == ""
	}) {
		c.addf(place{}, nil, "no version of the operator set ai.onnx is imported")
	}
	if len(m.GetFunctions()) > 0 && m.GetIrVersion() < irFunctions {
		c.addf(place{}, nil, "functions need IR version %d, the model declares %d", irFunctions, m.GetIrVersion())
	}
}

// opsets checks one list of imports.
func (c *checker) opsets(p place, imports []*pb.OperatorSetIdProto) {
	seen := map[string]int64{}
	for _, o := range imports {
		domain := NormalDomain(o.GetDomain())
		shown := domain
		if shown == "" {
			shown = "ai.onnx"
		}
		if other, dup := seen[domain]; dup && other != o.GetVersion() {
			c.addf(p, nil, "operator set %s is imported as version %d and as version %d", shown, other, o.GetVersion())
		}
		seen[domain] = o.GetVersion()
		switch v := o.GetVersion(); {
		case domain == "" && (v < MinOpset || v > MaxOpset):
			c.add(p, nil, fmt.Sprintf("versions %d to %d are read; export the model again with one of them", MinOpset, MaxOpset),
				fmt.Errorf("%w: operator set ai.onnx version %d", ErrUnsupported, v))
		case v <= 0:
			c.addf(p, nil, "operator set %s has version %d", shown, v)
		}
	}
}

// training checks the graphs of training_info, which see the main graph's
// values.
func (c *checker) training(main *scope) {
	for i, ti := range c.model.GetTrainingInfo() {
		for _, part := range []struct {
			name string
			g    *pb.GraphProto
		}{{"initialization", ti.GetInitialization()}, {"algorithm", ti.GetAlgorithm()}} {
			if part.g != nil {
				c.graph(part.g, main, place{
					where:  fmt.Sprintf("the %s graph of training_info %d", part.name, i),
					opsets: c.model.GetOpsetImport(), nested: true,
				})
			}
		}
	}
}
