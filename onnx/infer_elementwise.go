package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Rules of operators whose output has the shape of their inputs.

// sameRule: output 0 is as input 0.
func sameRule(c *call) error {
	v, err := c.input(0)
	if err != nil {
		return err
	}
	c.same(0, v)
	return nil
}

// same gives an output the type and shape of a value.
func (c *call) same(k int, v *value) {
	if v.Known {
		c.set(k, v.DType, v.Dims)
	} else {
		c.typed(k, v.DType)
	}
}

// likeRule: the shape of input 0, the type of attribute dtype if there is one.
func likeRule(c *call) error {
	if err := sameRule(c); err != nil {
		return err
	}
	if t := AttrInt(c.n, "dtype", 0); t != 0 {
		c.typed(0, pb.TensorProto_DataType(t))
	}
	return nil
}

// boolRule: output 0 has the shape of input 0 and holds booleans.
func boolRule(c *call) error {
	if err := sameRule(c); err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_BOOL)
	return nil
}

// broadcastRule: all inputs broadcast; the type is that of the first.
func broadcastRule(c *call) error {
	v, err := c.input(0)
	if err != nil {
		return err
	}
	c.typed(0, v.DType)
	if AttrInt(c.n, "broadcast", 0) != 0 && c.version < 7 {
		c.same(0, v)
		return nil
	}
	return c.broadcastInputs(0)
}

// broadcastInputs gives output 0 the joint shape of the inputs from the first.
func (c *call) broadcastInputs(first int) error {
	dims := []Dim{}
	for k := first; k < len(c.in); k++ {
		v, ok, err := c.shaped(k, -1)
		if err != nil || !ok {
			return err
		}
		if dims, err = broadcast(dims, v.Dims); err != nil {
			return err
		}
	}
	c.set(0, c.out[0].DType, dims)
	return nil
}

// compareRule: two inputs broadcast to booleans.
func compareRule(c *call) error {
	if _, err := c.input(1); err != nil {
		return err
	}
	if err := broadcastRule(c); err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_BOOL)
	return nil
}

// binaryRule: exactly two inputs broadcast.
func binaryRule(c *call) error {
	if len(c.in) != 2 {
		return fmt.Errorf("%w: %d inputs, want 2", ErrInvalid, len(c.in))
	}
	return broadcastRule(c)
}

func whereRule(c *call) error {
	x, err := c.input(1)
	if err != nil {
		return err
	}
	if _, err := c.input(2); err != nil {
		return err
	}
	c.typed(0, x.DType)
	return c.broadcastInputs(0)
}

// preluRule: the slope broadcasts to the input, never the other way round.
func preluRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil || !ok {
		return err
	}
	slope, ok, err := c.shaped(1, -1)
	if err != nil {
		return err
	}
	if ok && c.version >= 7 {
		dims, err := broadcast(x.Dims, slope.Dims)
		if err != nil {
			return err
		}
		if len(dims) != len(x.Dims) {
			return fmt.Errorf("%w: slope %v for an input %v", ErrInvalid, slope.Dims, x.Dims)
		}
	}
	c.same(0, x)
	return nil
}

// castRule: the shape of input 0, the type of attribute "to".
func castRule(c *call) error {
	if err := sameRule(c); err != nil {
		return err
	}
	a := Attr(c.n, "to")
	if a == nil || a.GetI() <= 0 {
		return fmt.Errorf("%w: attribute to is missing", ErrInvalid)
	}
	c.typed(0, pb.TensorProto_DataType(a.GetI()))
	return nil
}

func castLikeRule(c *call) error {
	like, err := c.input(1)
	if err != nil {
		return err
	}
	if err := sameRule(c); err != nil {
		return err
	}
	c.typed(0, like.DType)
	return nil
}

// dropoutRule: the mask, where named, is boolean (the input's type before
// opset 12).
func dropoutRule(c *call) error {
	x, err := c.input(0)
	if err != nil {
		return err
	}
	c.same(0, x)
	c.same(1, x)
	if c.version >= 10 {
		c.typed(1, pb.TensorProto_BOOL)
	}
	return nil
}

// channelRule checks that the vectors from input first on have one element a
// channel; the output is as input 0.
func channelRule(first, last int) rule {
	return func(c *call) error {
		x, ok, err := c.shaped(0, -3)
		if err != nil || !ok {
			return err
		}
		dims := append([]Dim(nil), x.Dims...)
		for k := first; k <= last; k++ {
			v, ok, err := c.shaped(k, 1)
			if err != nil {
				return err
			}
			if ok {
				if dims[1], err = agree(dims[1], v.Dims[0]); err != nil {
					return fmt.Errorf("input %d: %w", k, err)
				}
			}
		}
		c.set(0, x.DType, dims)
		return nil
	}
}

// batchNormRule: outputs beyond the first are the statistics, one element a
// channel (1 to 5 outputs, by version).
func batchNormRule(c *call) error {
	if err := channelRule(1, 4)(c); err != nil {
		return err
	}
	for k := 1; k < len(c.out); k++ {
		if c.out[0].Known {
			c.set(k, c.in[3].DType, c.out[0].Dims[1:2])
		}
	}
	return nil
}

// layerNormRule: outputs 1 and 2 are the statistics, with 1 on the normalised
// axes.
func layerNormRule(c *call) error {
	x, ok, err := c.shaped(0, -1)
	if err != nil || !ok {
		return err
	}
	c.same(0, x)
	axis, err := normalAxis(AttrInt(c.n, "axis", -1), len(x.Dims))
	if err != nil {
		return err
	}
	dims := append([]Dim(nil), x.Dims...)
	for k := axis; k < len(dims); k++ {
		dims[k] = Dim{Size: 1}
	}
	c.set(1, pb.TensorProto_FLOAT, dims)
	c.set(2, pb.TensorProto_FLOAT, dims)
	return nil
}

// quantizeRule: 8-bit integers of the type of the zero point.
func quantizeRule(c *call) error {
	if err := sameRule(c); err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_UINT8)
	if c.has(2) {
		c.typed(0, c.in[2].DType)
	} else if t := AttrInt(c.n, "output_dtype", 0); t != 0 {
		c.typed(0, pb.TensorProto_DataType(t))
	}
	return nil
}

// dequantizeRule: the type of the scale.
func dequantizeRule(c *call) error {
	scale, err := c.input(1)
	if err != nil {
		return err
	}
	if err := sameRule(c); err != nil {
		return err
	}
	c.typed(0, scale.DType)
	return nil
}
