package onnx

import (
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/graft-onnx/graft/onnx/pb"
)

// DataTypeName is an element type as errors print it: "float32", "int64".
func DataTypeName(dtype pb.TensorProto_DataType) string {
	switch dtype {
	case pb.TensorProto_FLOAT:
		return "float32"
	case pb.TensorProto_DOUBLE:
		return "float64"
	}
	if name, ok := pb.TensorProto_DataType_name[int32(dtype)]; ok {
		return strings.ToLower(name)
	}
	return fmt.Sprintf("data type %d", dtype)
}

// DataTypeBits returns the size of one element in raw_data in bits, 0 for
// strings and for types unknown to this version of ONNX.
func DataTypeBits(dtype pb.TensorProto_DataType) int {
	switch dtype {
	case pb.TensorProto_UINT4, pb.TensorProto_INT4, pb.TensorProto_FLOAT4E2M1:
		return 4
	case pb.TensorProto_UINT8, pb.TensorProto_INT8, pb.TensorProto_BOOL,
		pb.TensorProto_FLOAT8E4M3FN, pb.TensorProto_FLOAT8E4M3FNUZ,
		pb.TensorProto_FLOAT8E5M2, pb.TensorProto_FLOAT8E5M2FNUZ:
		return 8
	case pb.TensorProto_UINT16, pb.TensorProto_INT16, pb.TensorProto_FLOAT16, pb.TensorProto_BFLOAT16:
		return 16
	case pb.TensorProto_FLOAT, pb.TensorProto_INT32, pb.TensorProto_UINT32:
		return 32
	case pb.TensorProto_INT64, pb.TensorProto_UINT64, pb.TensorProto_DOUBLE, pb.TensorProto_COMPLEX64:
		return 64
	case pb.TensorProto_COMPLEX128:
		return 128
	}
	return 0
}

// IsFloat reports whether Floats reads the type.
func IsFloat(dtype pb.TensorProto_DataType) bool {
	switch dtype {
	case pb.TensorProto_FLOAT, pb.TensorProto_FLOAT16, pb.TensorProto_BFLOAT16, pb.TensorProto_DOUBLE:
		return true
	}
	return false
}

// IsInt reports whether Ints reads the type.
func IsInt(dtype pb.TensorProto_DataType) bool {
	switch dtype {
	case pb.TensorProto_UINT4, pb.TensorProto_INT4, pb.TensorProto_UINT8, pb.TensorProto_INT8,
		pb.TensorProto_UINT16, pb.TensorProto_INT16, pb.TensorProto_UINT32, pb.TensorProto_INT32,
		pb.TensorProto_UINT64, pb.TensorProto_INT64, pb.TensorProto_BOOL:
		return true
	}
	return false
}

// elements multiplies dims; it fails on negative dims and past the int range.
// One dim of zero makes the tensor empty whatever the others are.
func elements(dims []int64) (int, error) {
	n, empty := uint64(1), false
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("%w: negative dimension in %v", ErrTensor, dims)
		}
		if d == 0 {
			empty = true
		}
	}
	if empty {
		return 0, nil
	}
	for _, d := range dims {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64/16 {
			return 0, fmt.Errorf("%w: dimensions %v overflow", ErrTensor, dims)
		}
		n = lo
	}
	return int(n), nil
}

// rawBytes is the length of raw_data for n elements.
func rawBytes(dtype pb.TensorProto_DataType, n int) (int, error) {
	b := DataTypeBits(dtype)
	if b == 0 {
		return 0, fmt.Errorf("%w: %s cannot be stored in raw_data", ErrTensor, DataTypeName(dtype))
	}
	if b == 4 {
		return n/2 + n%2, nil
	}
	return n * (b / 8), nil // elements leaves room for 16 bytes each
}
