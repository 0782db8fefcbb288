package graph

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Parameter is a float initializer of the model in device memory.
type Parameter struct {
	Name  string
	Shape []int // logical, as in the ONNX file
	// Trainable is true for weights that an optimizer may change. Stored
	// statistics and numeric constants of the graph are not.
	Trainable bool
	// Decay is true for the weights of convolutions and matrix products, which
	// weight decay applies to; biases and normalisation scales stay free.
	Decay bool
	// Value and Grad are in the physical layout of package kernel. Grad holds
	// the gradient that the last training Plan computed.
	Value, Grad kernel.Buffer
}

// Len returns the number of elements.
func (p *Parameter) Len() int { return kernel.Len(p.Shape) }

// role says what an operand is to an optimizer.
type role uint8

const (
	constant role = iota
	weight        // decays
	offset        // bias, scale or slope: trained without decay
)

// operandRoles lists, for each operator, the operands that hold weights.
var operandRoles = map[string]map[int]role{
	"Conv":                  {1: weight, 2: offset},
	"ConvTranspose":         {1: weight, 2: offset},
	"BatchNormalization":    {1: offset, 2: offset},
	"InstanceNormalization": {1: offset, 2: offset},
	"Gemm":                  {0: weight, 1: weight, 2: offset},
	"MatMul":                {0: weight, 1: weight},
	"PRelu":                 {1: offset},
}

// roles finds the initializers that hold weights: those that a weight operand
// reads, directly or through Identity, and tensors of several elements that
// Add or Mul combine with an activation (biases and learned scales that
// exporters write out).
func roles(m *onnx.Model) map[string]role {
	alias := map[string]string{}
	name := func(s string) string {
		for alias[s] != "" {
			s = alias[s]
		}
		return s
	}
	size := map[string]int{}
	for _, t := range m.GetGraph().GetInitializer() {
		size[t.GetName()] = kernel.Len(onnx.Dims(t))
	}
	found := map[string]role{}
	for _, n := range m.GetGraph().GetNode() {
		in := n.GetInput()
		switch op := n.GetOpType(); op {
		case "Identity":
			// Identity comes after its operand, so no cycle can arise.
			if len(in) == 1 && len(n.GetOutput()) == 1 && size[name(in[0])] > 0 {
				alias[n.GetOutput()[0]] = in[0]
			}
		case "Add", "Mul":
			for _, s := range in {
				if s = name(s); size[s] > 1 && found[s] == constant {
					found[s] = offset
				}
			}
		default:
			for i, r := range operandRoles[op] {
				if i < len(in) {
					found[name(in[i])] = r
				}
			}
		}
	}
	return found
}

// newParameters uploads the float initializers of a model.
func newParameters(m *onnx.Model, dev kernel.Device) ([]*Parameter, error) {
	found := roles(m)
	var params []*Parameter
	for _, t := range m.GetGraph().GetInitializer() {
		if !onnx.IsFloat(pb.TensorProto_DataType(t.GetDataType())) {
			continue
		}
		data, err := onnx.Floats(t)
		if err != nil {
			return nil, err
		}
		p := &Parameter{Name: t.GetName(), Shape: onnx.Dims(t), Trainable: found[t.GetName()] != constant, Decay: found[t.GetName()] == weight}
		if p.Value, err = upload(dev, p.Shape, data); err != nil {
			return nil, fmt.Errorf("%s: initializer %q: %w", m.Path, p.Name, err)
		}
		params = append(params, p)
	}
	return params, nil
}

// upload copies a row-major tensor into new device memory.
func upload(dev kernel.Device, shape []int, data []float32) (kernel.Buffer, error) {
	if len(data) != kernel.Len(shape) {
		return nil, fmt.Errorf("%w: %d values for shape %v", ErrShape, len(data), shape)
	}
	b, err := dev.Alloc(4 * len(data))
	if err != nil {
		return nil, err
	}
	return b, store(dev, b, shape, data)
}

// store copies a row-major tensor into a buffer, in the physical layout.
func store(dev kernel.Device, b kernel.Buffer, shape []int, data []float32) error {
	if len(data) == 0 {
		return nil
	}
	if reordered(shape) {
		physical := make([]float32, len(data))
		toChannelsLast(physical, data, shape)
		data = physical
	}
	return dev.Upload(b, kernel.Bytes(data))
}

// load copies a buffer into a row-major tensor.
func load(dev kernel.Device, b kernel.Buffer, shape []int) ([]float32, error) {
	data := make([]float32, kernel.Len(shape))
	if !reordered(shape) {
		return data, loadInto(dev, b, shape, data, nil)
	}
	return data, loadInto(dev, b, shape, data, make([]float32, len(data)))
}

// loadInto is load into memory that is there, by way of as much staging where
// the tensor is reordered.
func loadInto(dev kernel.Device, b kernel.Buffer, shape []int, data, staging []float32) error {
	if len(data) == 0 {
		return nil
	}
	if !reordered(shape) {
		return dev.Download(kernel.Bytes(data), b)
	}
	if err := dev.Download(kernel.Bytes(staging), b); err != nil {
		return err
	}
	fromChannelsLast(data, staging, shape)
	return nil
}

// reordered reports whether a tensor lies in another order on a device than
// row-major (N,C,H,W).
func reordered(shape []int) bool {
	return len(shape) == 4 && shape[1] > 1 && shape[2]*shape[3] > 1
}
