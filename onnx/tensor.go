package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/graft-onnx/graft/onnx/pb"
)

// NewFloats returns a float32 tensor; data holds one value an element, row
// major. No dims make a scalar.
func NewFloats(name string, dims []int, data []float32) *pb.TensorProto {
	raw := appendFloats(make([]byte, 0, 4*len(data)), pb.TensorProto_FLOAT, data)
	return &pb.TensorProto{Name: name, Dims: dims64(dims), DataType: int32(pb.TensorProto_FLOAT), RawData: raw}
}

// NewInts returns an int64 tensor; data holds one value an element, row major.
// No dims make a scalar.
func NewInts(name string, dims []int, data []int64) *pb.TensorProto {
	raw := make([]byte, 8*len(data))
	for i, v := range data {
		binary.LittleEndian.PutUint64(raw[8*i:], uint64(v))
	}
	return &pb.TensorProto{Name: name, Dims: dims64(dims), DataType: int32(pb.TensorProto_INT64), RawData: raw}
}

// NewTensor returns a tensor of any type that Floats reads, data rounded to it.
func NewTensor(name string, dtype pb.TensorProto_DataType, dims []int, data []float32) (*pb.TensorProto, error) {
	t := NewEmpty(name, dtype, dims)
	return t, SetFloats(t, data)
}

// NewEmpty returns a tensor that holds no elements: a place for SetFloats, or for
// a Source.
func NewEmpty(name string, dtype pb.TensorProto_DataType, dims []int) *pb.TensorProto {
	return &pb.TensorProto{Name: name, Dims: dims64(dims), DataType: int32(dtype)}
}

// Dims returns a tensor's dimensions.
func Dims(t *pb.TensorProto) []int {
	dims := make([]int, len(t.GetDims()))
	for i, d := range t.GetDims() {
		dims[i] = int(d)
	}
	return dims
}

// Len returns the number of elements that the dimensions promise.
func Len(t *pb.TensorProto) (int, error) {
	n, err := elements(t.GetDims())
	if err != nil {
		return 0, tensorError(t, err)
	}
	return n, nil
}

// DataType returns the element type.
func DataType(t *pb.TensorProto) pb.TensorProto_DataType {
	return pb.TensorProto_DataType(t.GetDataType())
}

func dims64(dims []int) []int64 {
	if len(dims) == 0 {
		return nil
	}
	out := make([]int64, len(dims))
	for i, d := range dims {
		out[i] = int64(d)
	}
	return out
}

func tensorError(t *pb.TensorProto, err error) error {
	return &Error{Msg: fmt.Sprintf("tensor %q: %v", t.GetName(), err), Err: err}
}

// Floats returns the elements of a FLOAT, FLOAT16, BFLOAT16 or DOUBLE tensor,
// row major, from raw_data or the typed field. DOUBLE is rounded. It fails when
// the number of elements is not what the dimensions promise.
func Floats(t *pb.TensorProto) ([]float32, error) {
	n, err := checkData(t)
	if err != nil {
		return nil, tensorError(t, err)
	}
	out := make([]float32, n)
	return out, ReadFloats(t, 0, out)
}

// ReadFloats is Floats for the elements from the given one on, as many as out
// holds.
func ReadFloats(t *pb.TensorProto, from int, out []float32) error {
	n, err := checkData(t)
	if err == nil && (from < 0 || from > n || len(out) > n-from) {
		err = fmt.Errorf("%w: elements %d to %d of %d wanted", ErrTensor, from, from+len(out), n)
	}
	dtype := DataType(t)
	if err == nil && !IsFloat(dtype) {
		err = fmt.Errorf("%w: floats wanted, it holds %s", ErrTensor, DataTypeName(dtype))
	}
	if err != nil {
		return tensorError(t, err)
	}
	raw, le := t.GetRawData(), binary.LittleEndian
	if len(raw) == 0 {
		switch dtype {
		case pb.TensorProto_FLOAT:
			copy(out, t.GetFloatData()[from:])
		case pb.TensorProto_DOUBLE:
			for i := range out {
				out[i] = float32(t.GetDoubleData()[from+i])
			}
		case pb.TensorProto_FLOAT16:
			for i := range out {
				out[i] = FromFloat16(uint16(t.GetInt32Data()[from+i]))
			}
		case pb.TensorProto_BFLOAT16:
			for i := range out {
				out[i] = FromBFloat16(uint16(t.GetInt32Data()[from+i]))
			}
		}
		return nil
	}
	raw = raw[from*DataTypeBits(dtype)/8:]
	switch dtype {
	case pb.TensorProto_FLOAT:
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		}
	case pb.TensorProto_DOUBLE:
		for i := range out {
			out[i] = float32(math.Float64frombits(le.Uint64(raw[8*i:])))
		}
	case pb.TensorProto_FLOAT16:
		for i := range out {
			out[i] = FromFloat16(le.Uint16(raw[2*i:]))
		}
	case pb.TensorProto_BFLOAT16:
		for i := range out {
			out[i] = FromBFloat16(le.Uint16(raw[2*i:]))
		}
	}
	return nil
}

// SetFloats replaces the elements of a FLOAT, FLOAT16, BFLOAT16 or DOUBLE
// tensor, rounding to its type; name, dimensions and type stay. It fails when
// data is not as long as the dimensions promise.
func SetFloats(t *pb.TensorProto, data []float32) error {
	n, err := elements(t.GetDims())
	if err == nil && n != len(data) {
		err = fmt.Errorf("%w: %d values for dimensions %v", ErrTensor, len(data), t.GetDims())
	}
	dtype := DataType(t)
	if err == nil && !IsFloat(dtype) {
		err = fmt.Errorf("%w: floats cannot be stored as %s", ErrTensor, DataTypeName(dtype))
	}
	if err != nil {
		return tensorError(t, err)
	}
	raw := appendFloats(make([]byte, 0, n*DataTypeBits(dtype)/8), dtype, data)
	clearData(t)
	t.RawData = raw
	return nil
}

// WithoutData returns a tensor of the same name, dimensions and type that holds
// no elements.
func WithoutData(t *pb.TensorProto) *pb.TensorProto {
	c := shallow(t)
	clearData(c)
	return c
}

// clearData drops the elements, wherever they are stored.
func clearData(t *pb.TensorProto) {
	t.RawData, t.FloatData, t.DoubleData, t.StringData = nil, nil, nil, nil
	t.Int32Data, t.Int64Data, t.Uint64Data = nil, nil, nil
	t.ExternalData, t.DataLocation = nil, pb.TensorProto_DEFAULT
}
