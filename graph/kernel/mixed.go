package kernel

import "slices"

// Mixed is a computation on arguments some of which are stored as BFloat16. It
// is Desc on the numbers that they stand for: computed and summed in float32,
// and each result that is stored as BFloat16 rounded to the nearest once, ties
// to even; a NaN stays one. Beside that a device may round the float32 operands
// of a convolution to BFloat16, and subnormal numbers to zero.
//
// So every description exists in mixed precision, and those without a kernel
// of their own can be computed by widening and narrowing around them. Results
// may share the buffers that Desc allows if both have the same type.
type Mixed struct {
	Desc Desc
	// DTypes are the element types of all arguments: those of Desc, or
	// BFloat16 in place of Float32.
	DTypes []DType
}

func (d Mixed) Args() []Arg {
	args := slices.Clone(d.Desc.Args())
	for i := range args {
		args[i].DType = d.DTypes[i]
	}
	return args
}

// FLOPs counts what Desc counts, 0 if it does not.
func (d Mixed) FLOPs() float64 {
	if c, ok := d.Desc.(Coster); ok {
		return c.FLOPs()
	}
	return 0
}

// FastBFloat16 reports whether a device computes faster in mixed precision than
// in float32. It asks the device's own method of this name, if there is one.
func FastBFloat16(dev Device) bool {
	d, ok := dev.(interface{ FastBFloat16() bool })
	return ok && d.FastBFloat16()
}

// Cast copies between BFloat16 and Float32. Args: x, y.
func Cast(from, to DType, length int) Desc {
	return Mixed{AddN{Inputs: 1, Len: length}, []DType{from, to}}
}
