package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Ints returns the elements of a tensor of any integer type or BOOL (0 or 1),
// row major, from raw_data or the typed field. It fails when the number of
// elements is not what the dimensions promise, and on uint64 past int64.
func Ints(t *pb.TensorProto) ([]int64, error) {
	n, err := checkData(t)
	if err != nil {
		return nil, tensorError(t, err)
	}
	dtype := DataType(t)
	if !IsInt(dtype) {
		return nil, tensorError(t, fmt.Errorf("%w: integers wanted, it holds %s", ErrTensor, DataTypeName(dtype)))
	}
	out := make([]int64, n)
	if raw := t.GetRawData(); len(raw) > 0 {
		intsFromRaw(out, raw, dtype)
	} else {
		intsFromFields(out, t, dtype)
	}
	if dtype == pb.TensorProto_UINT64 {
		for _, v := range out {
			if v < 0 {
				return nil, tensorError(t, fmt.Errorf("%w: %d is past the int64 range", ErrTensor, uint64(v)))
			}
		}
	}
	return out, nil
}

func intsFromRaw(out []int64, raw []byte, dtype pb.TensorProto_DataType) {
	le := binary.LittleEndian
	for i := range out {
		switch dtype {
		case pb.TensorProto_INT64, pb.TensorProto_UINT64:
			out[i] = int64(le.Uint64(raw[8*i:]))
		case pb.TensorProto_INT32:
			out[i] = int64(int32(le.Uint32(raw[4*i:])))
		case pb.TensorProto_UINT32:
			out[i] = int64(le.Uint32(raw[4*i:]))
		case pb.TensorProto_INT16:
			out[i] = int64(int16(le.Uint16(raw[2*i:])))
		case pb.TensorProto_UINT16:
			out[i] = int64(le.Uint16(raw[2*i:]))
		case pb.TensorProto_UINT4, pb.TensorProto_INT4:
			out[i] = narrow(int64(raw[i/2]>>(4*(i%2))), dtype)
		default:
			out[i] = narrow(int64(raw[i]), dtype)
		}
	}
}

func intsFromFields(out []int64, t *pb.TensorProto, dtype pb.TensorProto_DataType) {
	for i := range out {
		switch dtype {
		case pb.TensorProto_INT64:
			out[i] = t.Int64Data[i]
		case pb.TensorProto_UINT64:
			out[i] = int64(t.Uint64Data[i])
		case pb.TensorProto_UINT32:
			out[i] = int64(uint32(t.Uint64Data[i]))
		case pb.TensorProto_UINT4, pb.TensorProto_INT4:
			out[i] = narrow(int64(t.Int32Data[i/2]>>(4*(i%2))), dtype)
		default:
			out[i] = narrow(int64(t.Int32Data[i]), dtype)
		}
	}
}

// narrow keeps the bits that a type up to 32 bits has, signed where it is.
func narrow(v int64, dtype pb.TensorProto_DataType) int64 {
	switch dtype {
	case pb.TensorProto_BOOL:
		if v != 0 {
			return 1
		}
		return 0
	case pb.TensorProto_INT4:
		return v << 60 >> 60
	case pb.TensorProto_UINT4:
		return v & 0xf
	case pb.TensorProto_INT8:
		return int64(int8(v))
	case pb.TensorProto_UINT8:
		return int64(uint8(v))
	case pb.TensorProto_INT16:
		return int64(int16(v))
	case pb.TensorProto_UINT16:
		return int64(uint16(v))
	}
	return int64(int32(v))
}

// intRange is the smallest and largest value of an integer type.
func intRange(dtype pb.TensorProto_DataType) (lo, hi int64) {
	bits := DataTypeBits(dtype)
	switch dtype {
	case pb.TensorProto_BOOL:
		return 0, 1
	case pb.TensorProto_UINT4, pb.TensorProto_UINT8, pb.TensorProto_UINT16, pb.TensorProto_UINT32:
		return 0, 1<<bits - 1
	case pb.TensorProto_UINT64:
		return 0, math.MaxInt64
	}
	return -1 << (bits - 1), 1<<(bits-1) - 1
}

// SetInts replaces the elements of an integer or BOOL tensor; name, dimensions
// and type stay. It fails when data is not as long as the dimensions promise
// and on values that the type cannot hold.
func SetInts(t *pb.TensorProto, data []int64) error {
	n, err := elements(t.GetDims())
	if err == nil && n != len(data) {
		err = fmt.Errorf("%w: %d values for dimensions %v", ErrTensor, len(data), t.GetDims())
	}
	dtype := DataType(t)
	if err == nil && !IsInt(dtype) {
		err = fmt.Errorf("%w: integers cannot be stored as %s", ErrTensor, DataTypeName(dtype))
	}
	if err == nil {
		lo, hi := intRange(dtype)
		for _, v := range data {
			if v < lo || v > hi {
				err = fmt.Errorf("%w: %d does not fit %s", ErrTensor, v, DataTypeName(dtype))
				break
			}
		}
	}
	if err != nil {
		return tensorError(t, err)
	}
	clearData(t)
	t.RawData = intsToRaw(data, dtype)
	return nil
}

func intsToRaw(data []int64, dtype pb.TensorProto_DataType) []byte {
	size, _ := rawBytes(dtype, len(data)) // integer types all have a size
	raw, le := make([]byte, size), binary.LittleEndian
	for i, v := range data {
		switch DataTypeBits(dtype) {
		case 64:
			le.PutUint64(raw[8*i:], uint64(v))
		case 32:
			le.PutUint32(raw[4*i:], uint32(v))
		case 16:
			le.PutUint16(raw[2*i:], uint16(v))
		case 8:
			raw[i] = byte(v)
		case 4:
			raw[i/2] |= byte(v&0xf) << (4 * (i % 2))
		}
	}
	return raw
}

// NewIntTensor returns a tensor of any type that Ints reads.
func NewIntTensor(name string, dtype pb.TensorProto_DataType, dims []int, data []int64) (*pb.TensorProto, error) {
	t := &pb.TensorProto{Name: name, Dims: dims64(dims), DataType: int32(dtype)}
	return t, SetInts(t, data)
}
