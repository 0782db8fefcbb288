package graph

import (
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

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

// leastDropped is the least size of a weight, in elements, whose values leave
// the model once the device has them. What a graph computes its shapes and
// settings from is smaller.
const leastDropped = 4 << 10

// uploadModel copies the float initializers of a model to the device and returns
// them with a copy of the model that no longer holds the large weights. The
// values that it does hold are its own, and what a file says of its training is
// left out: a few values must not keep the memory of a whole file.
func uploadModel(m *onnx.Model, dev kernel.Device) ([]*Parameter, *onnx.Model, error) {
	found := roles(m)
	var params []*Parameter
	slim := m.Shallow()
	slim.TrainingInfo = nil
	for i, t := range m.Graph.Initializer {
		if !onnx.IsFloat(onnx.DataType(t)) {
			slim.Graph.Initializer[i] = proto.CloneOf(t)
			continue
		}
		p := &Parameter{Name: t.GetName(), Shape: onnx.Dims(t), Trainable: found[t.GetName()] != constant, Decay: found[t.GetName()] == weight}
		n, err := onnx.Len(t)
		if err != nil {
			return nil, nil, err
		}
		if p.Value, err = dev.Alloc(4 * n); err == nil {
			err = storeTensor(dev, p.Value, p.Shape, t)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: initializer %q: %w", m.Path, p.Name, err)
		}
		params = append(params, p)
		if p.Trainable && n >= leastDropped {
			slim.Graph.Initializer[i] = onnx.WithoutData(t)
		} else {
			slim.Graph.Initializer[i] = proto.CloneOf(t)
		}
	}
	return params, slim, nil
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
	return storeFrom(dev, b, shape, func(from int, part []float32) error {
		copy(part, data[from:])
		return nil
	})
}

// storeTensor is store for the elements of a float tensor of a file.
func storeTensor(dev kernel.Device, b kernel.Buffer, shape []int, t *pb.TensorProto) error {
	return storeFrom(dev, b, shape, func(from int, part []float32) error { return onnx.ReadFloats(t, from, part) })
}

// storeFrom is store for elements that read returns in stretches, from a given
// one on.
func storeFrom(dev kernel.Device, b kernel.Buffer, shape []int, read func(from int, part []float32) error) error {
	return inStretches(shape, func(from int, part, other []float32, order []int) error {
		if err := read(from, part); err != nil {
			return err
		}
		if order != nil {
			toChannelsLast(other, part, order)
			part = other
		}
		return dev.Upload(b.Slice(4*from, 4*len(part)), kernel.Bytes(part))
	})
}

// load copies a buffer into a row-major tensor.
func load(dev kernel.Device, b kernel.Buffer, shape []int) ([]float32, error) {
	data := make([]float32, 0, kernel.Len(shape))
	err := loadTo(dev, b, shape, func(part []float32) error {
		data = append(data, part...)
		return nil
	})
	return data, err
}

// loadTo hands the elements of a buffer to each, row-major, part by part. A part
// is valid until each returns.
func loadTo(dev kernel.Device, b kernel.Buffer, shape []int, each func(part []float32) error) error {
	return inStretches(shape, func(from int, part, other []float32, order []int) error {
		if err := dev.Download(kernel.Bytes(part), b.Slice(4*from, 4*len(part))); err != nil {
			return err
		}
		if order != nil {
			fromChannelsLast(other, part, order)
			part = other
		}
		return each(part)
	})
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

// stretch is how many elements inStretches handles at a time, if the shape
// allows: a MiB.
const stretch = 256 << 10

// rooms keeps what inStretches hands out, which as garbage would come to a good
// part of a model before it is collected.
var rooms = sync.Pool{New: func() any { return new([]float32) }}

// inStretches calls f for every part of a tensor that is as long in memory as
// it is row-major, with the index of its first element and room for its
// elements. Where these are in another order on the device, order is the shape
// of the part, and other is as much room again. The room is used again for the
// next part.
func inStretches(shape []int, f func(from int, part, other []float32, order []int) error) error {
	unit, reorder := 1, reordered(shape)
	if reorder {
		unit = kernel.Len(shape[1:])
	}
	n := kernel.Len(shape)
	step := min(n, max(1, stretch/max(1, unit))*unit)
	room := rooms.Get().(*[]float32)
	defer rooms.Put(room)
	*room = slices.Grow((*room)[:0], 2*step)
	for from := 0; from < n; from += step {
		size := min(step, n-from)
		part := (*room)[:size]
		var other []float32
		var order []int
		if reorder {
			other, order = (*room)[step:step+size], []int{size / unit, shape[1], shape[2], shape[3]}
		}
		if err := f(from, part, other, order); err != nil {
			return err
		}
	}
	return nil
}

// reordered reports whether a tensor lies in another order on a device than
// row-major (N,C,H,W).
func reordered(shape []int) bool {
	return len(shape) == 4 && shape[1] > 1 && shape[2]*shape[3] > 1
}
