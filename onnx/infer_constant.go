package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Rules of operators that make tensors.

// constantRule: the tensor itself, from any of the attributes.
func constantRule(c *call) error {
	name := ""
	if len(c.n.GetOutput()) > 0 {
		name = c.n.GetOutput()[0]
	}
	var p *pb.TensorProto
	for _, a := range c.n.GetAttribute() {
		switch a.GetName() {
		case "value":
			p = a.GetT()
		case "value_int":
			p = NewInts("", nil, []int64{a.GetI()})
		case "value_ints":
			p = NewInts("", []int{len(a.GetInts())}, a.GetInts())
		case "value_float":
			p = NewFloats("", nil, []float32{a.GetF()})
		case "value_floats":
			p = NewFloats("", []int{len(a.GetFloats())}, a.GetFloats())
		case "value_string", "value_strings":
			c.typed(0, pb.TensorProto_STRING)
			return nil
		}
	}
	if p == nil {
		return fmt.Errorf("%w: no dense value", ErrUnsupported)
	}
	if _, err := checkData(p); err != nil {
		return err
	}
	if len(c.out) == 0 {
		return nil
	}
	c.set(0, DataType(p), dimsOf(p.GetDims()))
	c.out[0].proto, c.out[0].param = renameTensor(p, name), isParam(p)
	return nil
}

func constantOfShapeRule(c *call) error {
	if _, err := c.input(0); err != nil {
		return err
	}
	c.typed(0, pb.TensorProto_FLOAT)
	if t := AttrTensor(c.n, "value"); t != nil {
		c.typed(0, DataType(t))
	}
	sizes, ok := c.sizes(0)
	if !ok {
		return nil
	}
	for _, f := range sizes {
		if f != nil && len(f.terms) == 0 && (f.c < 0 || f.den != 1) {
			return fmt.Errorf("%w: dimension %s in the shape", ErrInvalid, f.text())
		}
	}
	dims, err := c.a.dimsFrom(sizes)
	if err != nil {
		return err
	}
	c.set(0, c.out[0].DType, dims)
	return nil
}

// rangeRule: ceil((limit-start)/delta) elements.
func rangeRule(c *call) error {
	start, err := c.input(0)
	if err != nil {
		return err
	}
	c.set(0, start.DType, []Dim{{Size: -1}})
	at := make([]*form, 3)
	var exact [3]float64
	numbers := true
	for k := range at {
		v, err := c.input(k)
		if err != nil {
			return err
		}
		t := v.known()
		if t == nil || t.len() != 1 {
			return nil
		}
		at[k] = t.at(0)
		switch {
		case t.i != nil:
			exact[k] = float64(t.i[0])
		case t.f != nil:
			exact[k] = float64(t.f[0])
		default:
			numbers = false
		}
	}
	if numbers {
		if exact[2] == 0 {
			return fmt.Errorf("%w: a step of 0", ErrInvalid)
		}
		n := max((exact[1]-exact[0])/exact[2], 0)
		if !(n <= sizeLimit) {
			return fmt.Errorf("%w: a range of %g elements", ErrTooLarge, n)
		}
		size := int64(n)
		if float64(size) < n {
			size++
		}
		c.set(0, start.DType, []Dim{{Size: size}})
		return nil
	}
	length := c.a.ceil(c.a.div(c.a.add(at[1], at[0], -1), at[2], false))
	c.set(0, start.DType, []Dim{c.a.dim(length)})
	return nil
}
