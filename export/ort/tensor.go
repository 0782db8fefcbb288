package ort

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// DType is the type of a tensor's elements, numbered as ONNX numbers them.
type DType int32

// The element types a Tensor can hold.
const (
	TypeFloat32  DType = 1
	TypeUint8    DType = 2
	TypeInt8     DType = 3
	TypeUint16   DType = 4
	TypeInt16    DType = 5
	TypeInt32    DType = 6
	TypeInt64    DType = 7
	TypeBool     DType = 9
	TypeFloat16  DType = 10
	TypeFloat64  DType = 11
	TypeUint32   DType = 12
	TypeUint64   DType = 13
	TypeBFloat16 DType = 16
)

// Float16 is the bits of an IEEE 754 half.
type Float16 uint16

// BFloat16 is the upper half of the bits of a float32.
type BFloat16 uint16

var dtypeNames = map[DType]string{
	TypeFloat32: "float32", TypeUint8: "uint8", TypeInt8: "int8", TypeUint16: "uint16", TypeInt16: "int16",
	TypeInt32: "int32", TypeInt64: "int64", 8: "string", TypeBool: "bool", TypeFloat16: "float16",
	TypeFloat64: "float64", TypeUint32: "uint32", TypeUint64: "uint64", 14: "complex64", 15: "complex128", TypeBFloat16: "bfloat16",
}

// String returns the type's name in Go's spelling.
func (t DType) String() string {
	if s, ok := dtypeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", int(t))
}

// Element is a Go type that a tensor's elements may have.
type Element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool | Float16 | BFloat16
}

// Tensor is a dense tensor in host memory.
type Tensor struct {
	Shape []int
	Data  any // a slice of an Element type, row-major, as long as Shape's product
}

// New returns a tensor of the given shape over data, which is not copied.
func New[T Element](data []T, shape ...int) Tensor { return Tensor{Shape: shape, Data: data} }

// DType returns the element type, 0 where Data is none that a tensor can hold.
func (t Tensor) DType() DType {
	_, _, dtype := t.view()
	return dtype
}

// view returns where the elements lie, how many there are, and their type.
func (t Tensor) view() (unsafe.Pointer, int, DType) {
	switch d := t.Data.(type) {
	case []float32:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeFloat32
	case []float64:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeFloat64
	case []int8:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeInt8
	case []int16:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeInt16
	case []int32:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeInt32
	case []int64:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeInt64
	case []uint8:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeUint8
	case []uint16:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeUint16
	case []uint32:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeUint32
	case []uint64:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeUint64
	case []bool:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeBool
	case []Float16:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeFloat16
	case []BFloat16:
		return unsafe.Pointer(unsafe.SliceData(d)), len(d), TypeBFloat16
	}
	return nil, 0, 0
}

// size returns the bytes of one element.
func (t DType) size() int {
	switch t {
	case TypeUint8, TypeInt8, TypeBool:
		return 1
	case TypeUint16, TypeInt16, TypeFloat16, TypeBFloat16:
		return 2
	case TypeFloat32, TypeInt32, TypeUint32:
		return 4
	case TypeFloat64, TypeInt64, TypeUint64:
		return 8
	}
	return 0
}

// valid reports what is wrong with a tensor before the library sees it: it
// trusts the length it is told.
func (t Tensor) valid() error {
	_, n, dtype := t.view()
	if dtype == 0 {
		return fmt.Errorf("data of type %T is none that a tensor can hold", t.Data)
	}
	want, err := elements(t.Shape)
	if err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("shape %v needs %d elements, the data has %d", t.Shape, want, n)
	}
	return nil
}

// elements returns the product of a shape, or an error where a dimension is
// negative or the product does not fit.
func elements(shape []int) (int, error) {
	product := uint64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		hi, lo := bits.Mul64(product, uint64(d))
		if hi != 0 || lo > 1<<62 {
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		}
		product = lo
	}
	return int(product), nil
}

// copyOf copies n elements of a library-owned tensor into a Go slice.
func copyOf(dtype DType, p unsafe.Pointer, n int) (any, error) {
	switch dtype {
	case TypeFloat32:
		return copySlice[float32](p, n), nil
	case TypeFloat64:
		return copySlice[float64](p, n), nil
	case TypeInt8:
		return copySlice[int8](p, n), nil
	case TypeInt16:
		return copySlice[int16](p, n), nil
	case TypeInt32:
		return copySlice[int32](p, n), nil
	case TypeInt64:
		return copySlice[int64](p, n), nil
	case TypeUint8:
		return copySlice[uint8](p, n), nil
	case TypeUint16:
		return copySlice[uint16](p, n), nil
	case TypeUint32:
		return copySlice[uint32](p, n), nil
	case TypeUint64:
		return copySlice[uint64](p, n), nil
	case TypeBool:
		return copySlice[bool](p, n), nil
	case TypeFloat16:
		return copySlice[Float16](p, n), nil
	case TypeBFloat16:
		return copySlice[BFloat16](p, n), nil
	}
	return nil, fmt.Errorf("elements of %s cannot be read", dtype)
}

func copySlice[T Element](p unsafe.Pointer, n int) []T {
	out := make([]T, n)
	if n > 0 {
		copy(out, unsafe.Slice((*T)(p), n))
	}
	return out
}
