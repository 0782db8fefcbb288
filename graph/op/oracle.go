package op

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Oracle is the device on which Gorgonia's own machines run graft's operators
// (Op.Do). Plans never use it; tests set it to check a Plan against
// gorgonia.TapeMachine on small graphs.
var Oracle kernel.Device

// Do implements gorgonia.Op: it lowers the operator for its arguments alone
// and runs it on Oracle. Tensors are row-major on both sides.
func (o *Op) Do(values ...gorgonia.Value) (gorgonia.Value, error) {
	if Oracle == nil {
		return nil, errors.New("op: graft's operators run in a Plan; set op.Oracle to run them in a Gorgonia machine")
	}
	shapes := make([][]int, len(values))
	in := make([]kernel.Buffer, len(values))
	for i, v := range values {
		shapes[i] = v.Shape()
		var err error
		if in[i], err = upload(v); err != nil {
			return nil, fmt.Errorf("%s: input %d: %w", o, i, err)
		}
	}
	block := NewBlock(shapes, o.shape)
	if err := o.Lower(block); err != nil {
		return nil, err
	}
	temps := make([]kernel.Buffer, len(block.Temps))
	for i, n := range block.Temps {
		var err error
		if temps[i], err = Oracle.Alloc(n); err != nil {
			return nil, err
		}
	}
	out, err := Oracle.Alloc(kernel.Len(o.shape) * 4)
	if err != nil {
		return nil, err
	}
	if block.Aliased >= 0 {
		out = in[block.Aliased]
	}
	rng, err := Oracle.Alloc(16)
	if err != nil {
		return nil, err
	}
	args := Arguments[kernel.Buffer]{In: in, Temps: temps, Out: out, RNG: rng}
	err = Oracle.Do(func() error {
		for _, c := range block.Calls {
			if err := run(c, args); err != nil {
				return fmt.Errorf("%s: %T: %w", o, c.Desc, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return download(out, o.shape)
}

func run(c Call, a Arguments[kernel.Buffer]) error {
	k, err := Oracle.Compile(c.Desc)
	if err != nil {
		return err
	}
	args := make([]kernel.Buffer, 0, len(c.Args)+1)
	for _, r := range c.Args {
		args = append(args, a.Resolve(r))
	}
	if n := k.Scratch(); n > 0 {
		s, err := Oracle.Alloc(n)
		if err != nil {
			return err
		}
		args = append(args, s)
	}
	return k.Run(args)
}

// upload moves a row-major tensor into device memory in the physical layout.
func upload(v gorgonia.Value) (kernel.Buffer, error) {
	shape := []int(v.Shape())
	raw := make([]byte, kernel.Len(shape)*4)
	put := func(i int, bits uint32) { binary.LittleEndian.PutUint32(raw[4*i:], bits) }
	switch data := v.Data().(type) {
	case []float32:
		kernel.Walk(shape, func(logical, physical int) { put(physical, math.Float32bits(data[logical])) })
	case float32:
		put(0, math.Float32bits(data))
	case []int32:
		kernel.Walk(shape, func(logical, physical int) { put(physical, uint32(data[logical])) })
	default:
		return nil, fmt.Errorf("values of type %T are not supported", v.Data())
	}
	b, err := Oracle.Alloc(len(raw))
	if err != nil {
		return nil, err
	}
	return b, Oracle.Upload(b, raw)
}

func download(b kernel.Buffer, shape tensor.Shape) (gorgonia.Value, error) {
	raw := make([]byte, b.Size())
	if err := Oracle.Download(raw, b); err != nil {
		return nil, err
	}
	data := make([]float32, kernel.Len(shape))
	kernel.Walk(shape, func(logical, physical int) {
		data[logical] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*physical:]))
	})
	if len(shape) == 0 {
		v := gorgonia.F32(data[0])
		return &v, nil
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data)), nil
}
