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
	if m == nil || m.ModelProto == nil || m.GetGraph() == nil {
		return &CheckError{Findings: []*Error{{Msg: "the model has no graph", Err: ErrInvalid}}}
	}
	c := &checker{model: m, called: map[functionID]*pb.FunctionProto{}}
	opsets := c.versions()
	c.metadata()
	c.functions(opsets)
	main := c.graph(m.GetGraph(), nil, place{opsets: opsets})
	c.training(main, opsets)
	if len(c.findings) == 0 {
		return nil
	}
	for _, f := range c.findings {
		f.File = m.Path
	}
	return &CheckError{File: m.Path, Findings: c.findings}
}

// maxFindings bounds what a report holds: past it, a file is rubbish.
const maxFindings = 1000

// checker collects the findings of one model. What it looks up often it keeps
// in maps, so that its time grows with the file and no faster.
type checker struct {
	model    *Model
	called   map[functionID]*pb.FunctionProto
	findings []*Error
}

// place is where in the model the checker stands.
type place struct {
	where      string           // "the then_branch of node "if"", empty in the main graph
	opsets     map[string]int64 // operator sets in force, by domain
	attributes map[string]bool  // in a function body, what its nodes can refer to; else nil
	nested     bool             // inside a control-flow node
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
	if len(c.findings) == maxFindings {
		return
	}
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

// versions checks the IR version and the imported operator sets, which it
// returns by domain.
func (c *checker) versions() map[string]int64 {
	m := c.model
	if ir := m.GetIrVersion(); ir < MinIR || ir > MaxIR {
		c.add(place{}, nil, fmt.Sprintf("versions %d to %d are read", MinIR, MaxIR),
			fmt.Errorf("%w: IR version %d", ErrUnsupported, ir))
	}
	opsets := c.opsets(place{}, m.GetOpsetImport())
	if opsets[""] == 0 && slices.ContainsFunc(m.GetGraph().GetNode(), func(n *pb.NodeProto) bool {
		return NormalDomain(n.GetDomain()) == ""
	}) {
		c.addf(place{}, nil, "no version of the operator set ai.onnx is imported")
	}
	if len(m.GetFunctions()) > 0 && m.GetIrVersion() < irFunctions {
		c.addf(place{}, nil, "functions need IR version %d, the model declares %d", irFunctions, m.GetIrVersion())
	}
	return opsets
}

// metadata checks that no key has two values.
func (c *checker) metadata() {
	seen := map[string]bool{}
	for _, e := range c.model.GetMetadataProps() {
		if seen[e.GetKey()] {
			c.addf(place{}, nil, "the metadata hold two values for %q", e.GetKey())
		}
		seen[e.GetKey()] = true
	}
}

// opsets checks one list of imports and returns it by domain.
func (c *checker) opsets(p place, imports []*pb.OperatorSetIdProto) map[string]int64 {
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
		if _, dup := seen[domain]; !dup { // the first counts, as for Opset
			seen[domain] = o.GetVersion()
		}
		switch v := o.GetVersion(); {
		case domain == "" && (v < MinOpset || v > MaxOpset):
			c.add(p, nil, fmt.Sprintf("versions %d to %d are read; export the model again with one of them", MinOpset, MaxOpset),
				fmt.Errorf("%w: operator set ai.onnx version %d", ErrUnsupported, v))
		case v <= 0:
			c.addf(p, nil, "operator set %s has version %d", shown, v)
		}
	}
	return seen
}

// training checks the graphs of training_info, which see the main graph's
// values.
func (c *checker) training(main *scope, opsets map[string]int64) {
	for i, ti := range c.model.GetTrainingInfo() {
		for _, part := range []struct {
			name string
			g    *pb.GraphProto
		}{{"initialization", ti.GetInitialization()}, {"algorithm", ti.GetAlgorithm()}} {
			if part.g != nil {
				c.graph(part.g, main, place{
					where:  fmt.Sprintf("the %s graph of training_info %d", part.name, i),
					opsets: opsets, nested: true,
				})
			}
		}
	}
}
