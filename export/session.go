package export

import (
	"fmt"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// session runs a deployed file.
type session interface {
	Inputs() []ort.Value
	Outputs() []ort.Value
	Run(inputs map[string]ort.Tensor, outputs ...string) (map[string]ort.Tensor, error)
	Close() error
}

var (
	_ session = (*ort.Session)(nil)
	_ session = (*ownSession)(nil)
)

// openSession opens a file as the options ask, and says what runs it.
func openSession(m *onnx.Model, opts VerifyOptions) (session, string, error) {
	if opts.Device != nil {
		s, err := newOwnSession(m, opts.Device)
		return s, "graft on " + opts.Device.String(), err
	}
	rt, err := ort.Open(opts.Runtime)
	if err != nil {
		return nil, "", err
	}
	s, err := rt.Session(m.Path, ort.Options{Threads: opts.Threads, Optimize: true})
	return s, "ONNX Runtime " + rt.Version(), err
}

// ownSession runs a file on graft's kernels, in float32.
type ownSession struct {
	network         *graph.Network
	inputs, outputs []ort.Value
}

func newOwnSession(m *onnx.Model, dev kernel.Device) (*ownSession, error) {
	in, out := m.Inputs(), m.GetGraph().GetOutput()
	if len(in) != 1 || len(out) != 1 || pb.TensorProto_DataType(in[0].GetType().GetTensorType().GetElemType()) != pb.TensorProto_FLOAT {
		return nil, &onnx.Error{File: m.Path, Msg: "graft runs exported files of one float32 input and one output",
			Remedy: "export without preprocessing inside, or verify in ONNX Runtime", Err: onnx.ErrUnsupported}
	}
	network, err := graph.NewNetwork(m, dev)
	if err != nil {
		return nil, err
	}
	s := &ownSession{network: network, outputs: []ort.Value{{Name: out[0].GetName()}}}
	input := ort.Value{Name: in[0].GetName()}
	for _, d := range in[0].GetType().GetTensorType().GetShape().GetDim() {
		size := int(d.GetDimValue())
		if size == 0 {
			size = -1
		}
		input.Shape = append(input.Shape, size)
	}
	s.inputs = []ort.Value{input}
	return s, nil
}

// Inputs implements session.
func (s *ownSession) Inputs() []ort.Value { return s.inputs }

// Outputs implements session.
func (s *ownSession) Outputs() []ort.Value { return s.outputs }

// Close implements session; the device is the caller's.
func (s *ownSession) Close() error { return nil }

// Run implements session.
func (s *ownSession) Run(inputs map[string]ort.Tensor, outputs ...string) (map[string]ort.Tensor, error) {
	name := s.inputs[0].Name
	in := inputs[name]
	pixels, ok := in.Data.([]float32)
	if !ok {
		return nil, fmt.Errorf("input %q has element type %v; float32 is needed", name, in.DType())
	}
	values, shapes, err := NewNetworkEvaluator(s.network, name).Evaluate(pixels, in.Shape)
	if err != nil {
		return nil, err
	}
	got := map[string]ort.Tensor{}
	for _, o := range outputs {
		got[o] = ort.New(values[o], shapes[o]...)
	}
	return got, nil
}
