package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/graft-onnx/graft/onnx/pb"
)

// checkData compares the stored elements with dimensions and type and returns
// the number of elements. It allocates nothing, so huge dimensions without
// data cost nothing.
func checkData(t *pb.TensorProto) (int, error) {
	n, err := elements(t.GetDims())
	if err != nil {
		return 0, err
	}
	dtype := DataType(t)
	if _, known := pb.TensorProto_DataType_name[int32(dtype)]; !known || dtype == pb.TensorProto_UNDEFINED {
		return 0, fmt.Errorf("%w: unknown element type %d", ErrTensor, t.GetDataType())
	}
	if t.GetSegment() != nil {
		return 0, fmt.Errorf("%w: segmented tensors", ErrUnsupported)
	}
	if t.GetDataLocation() == pb.TensorProto_EXTERNAL {
		return 0, fmt.Errorf("%w: its external data is not loaded", ErrExternalData)
	}
	field, count := typedField(t)
	if field != "" && len(t.GetRawData()) > 0 {
		return 0, fmt.Errorf("%w: data both in raw_data and in %s", ErrTensor, field)
	}
	if len(t.GetRawData()) > 0 {
		want, err := rawBytes(dtype, n)
		if err != nil {
			return 0, err
		}
		if len(t.GetRawData()) != want {
			return 0, fmt.Errorf("%w: %d bytes of raw_data, %s of dimensions %v needs %d",
				ErrTensor, len(t.GetRawData()), DataTypeName(dtype), t.GetDims(), want)
		}
		return n, nil
	}
	want, perElement := typedWants(dtype)
	if field == "" {
		field = want
	}
	if field != want {
		return 0, fmt.Errorf("%w: %s stored in %s instead of %s", ErrTensor, DataTypeName(dtype), field, want)
	}
	values := n
	switch perElement {
	case packed:
		values = n/2 + n%2
	case double:
		values = 2 * n
	}
	if count != values {
		return 0, fmt.Errorf("%w: %d values in %s, %s of dimensions %v needs %d",
			ErrTensor, count, field, DataTypeName(dtype), t.GetDims(), values)
	}
	return n, nil
}

// typedField names the typed field that holds data and its length. When
// several do, the name lists them, which matches no field a type wants.
func typedField(t *pb.TensorProto) (string, int) {
	name, count := "", 0
	for _, f := range []struct {
		name  string
		count int
	}{
		{"float_data", len(t.GetFloatData())}, {"int32_data", len(t.GetInt32Data())},
		{"string_data", len(t.GetStringData())}, {"int64_data", len(t.GetInt64Data())},
		{"double_data", len(t.GetDoubleData())}, {"uint64_data", len(t.GetUint64Data())},
	} {
		if f.count == 0 {
			continue
		}
		if name != "" {
			name += " and "
		}
		name += f.name
		count = f.count
	}
	return name, count
}

// How many values of a typed field make one element.
type valuesPerElement int

const (
	single valuesPerElement = iota
	double                  // complex: real and imaginary part
	packed                  // 4-bit types: two elements in a value
)

// typedWants is the typed field that the standard assigns to an element type.
func typedWants(dtype pb.TensorProto_DataType) (string, valuesPerElement) {
	switch dtype {
	case pb.TensorProto_FLOAT:
		return "float_data", single
	case pb.TensorProto_COMPLEX64:
		return "float_data", double
	case pb.TensorProto_DOUBLE:
		return "double_data", single
	case pb.TensorProto_COMPLEX128:
		return "double_data", double
	case pb.TensorProto_INT64:
		return "int64_data", single
	case pb.TensorProto_UINT32, pb.TensorProto_UINT64:
		return "uint64_data", single
	case pb.TensorProto_STRING:
		return "string_data", single
	case pb.TensorProto_UINT4, pb.TensorProto_INT4, pb.TensorProto_FLOAT4E2M1:
		return "int32_data", packed
	}
	return "int32_data", single
}

// rawData returns a tensor's elements as raw_data holds them, converted from
// the typed field where they lie there; nil for strings and for tensors whose
// data do not fit their dimensions.
func rawData(t *pb.TensorProto) []byte {
	if len(t.GetRawData()) > 0 {
		return t.GetRawData()
	}
	n, err := checkData(t)
	if err != nil {
		return nil
	}
	dtype := DataType(t)
	size, err := rawBytes(dtype, n)
	if err != nil {
		return nil
	}
	raw := make([]byte, 0, size)
	le := binary.LittleEndian
	for _, v := range t.GetFloatData() {
		raw = le.AppendUint32(raw, math.Float32bits(v))
	}
	for _, v := range t.GetDoubleData() {
		raw = le.AppendUint64(raw, math.Float64bits(v))
	}
	for _, v := range t.GetInt64Data() {
		raw = le.AppendUint64(raw, uint64(v))
	}
	for _, v := range t.GetUint64Data() {
		if dtype == pb.TensorProto_UINT32 {
			raw = le.AppendUint32(raw, uint32(v))
		} else {
			raw = le.AppendUint64(raw, v)
		}
	}
	for _, v := range t.GetInt32Data() {
		switch DataTypeBits(dtype) {
		case 32:
			raw = le.AppendUint32(raw, uint32(v))
		case 16:
			raw = le.AppendUint16(raw, uint16(v))
		default: // bytes, and pairs of 4-bit values
			raw = append(raw, byte(v))
		}
	}
	return raw
}
