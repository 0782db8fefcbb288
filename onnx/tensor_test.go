package onnx

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/graft-onnx/graft/onnx/pb"
)

func TestFloatsReadsEveryForm(t *testing.T) {
	want := []float32{1, -2.5, 0, 65504}
	typed := func(dtype pb.TensorProto_DataType, fill func(*pb.TensorProto)) *pb.TensorProto {
		tt := &pb.TensorProto{Name: "t", Dims: []int64{2, 2}, DataType: int32(dtype)}
		fill(tt)
		return tt
	}
	halves := func(round func(float32) uint16) (out []int32) {
		for _, v := range want {
			out = append(out, int32(round(v)))
		}
		return out
	}
	for name, tt := range map[string]*pb.TensorProto{
		"float_data": typed(pb.TensorProto_FLOAT, func(t *pb.TensorProto) { t.FloatData = want }),
		"double_data": typed(pb.TensorProto_DOUBLE, func(t *pb.TensorProto) {
			for _, v := range want {
				t.DoubleData = append(t.DoubleData, float64(v))
			}
		}),
		"float16 int32_data": typed(pb.TensorProto_FLOAT16, func(t *pb.TensorProto) { t.Int32Data = halves(Float16) }),
	} {
		got, err := Floats(tt)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, dtype := range []pb.TensorProto_DataType{
		pb.TensorProto_FLOAT, pb.TensorProto_DOUBLE, pb.TensorProto_FLOAT16, pb.TensorProto_BFLOAT16,
	} {
		values := want
		if dtype == pb.TensorProto_BFLOAT16 {
			values = []float32{1, -2.5, 0, 65536}
		}
		tt, err := NewTensor("t", dtype, []int{4}, values)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Floats(tt); err != nil || !slices.Equal(got, values) {
			t.Errorf("%s raw: %v, %v", DataTypeName(dtype), got, err)
		}
		// The typed field is replaced, not joined by, new raw data.
		tt = typed(pb.TensorProto_FLOAT, func(t *pb.TensorProto) { t.FloatData = want })
		if err := SetFloats(tt, []float32{4, 3, 2, 1}); err != nil {
			t.Fatal(err)
		}
		if got, err := Floats(tt); err != nil || !slices.Equal(got, []float32{4, 3, 2, 1}) || tt.Name != "t" {
			t.Errorf("after SetFloats: %v, %v", got, err)
		}
	}
	bf := typed(pb.TensorProto_BFLOAT16, func(t *pb.TensorProto) { t.Int32Data = []int32{0x3f80, 0xc020, 0, 0x4780} })
	if got, err := Floats(bf); err != nil || !slices.Equal(got, []float32{1, -2.5, 0, 65536}) {
		t.Errorf("bfloat16 int32_data: %v, %v", got, err)
	}
}

func TestIntsRoundTrip(t *testing.T) {
	for dtype, values := range map[pb.TensorProto_DataType][]int64{
		pb.TensorProto_INT64:  {math.MinInt64, -1, math.MaxInt64},
		pb.TensorProto_UINT64: {0, 1, math.MaxInt64},
		pb.TensorProto_INT32:  {math.MinInt32, -1, math.MaxInt32},
		pb.TensorProto_UINT32: {0, 7, math.MaxUint32},
		pb.TensorProto_INT16:  {-32768, -1, 32767},
		pb.TensorProto_UINT16: {0, 9, 65535},
		pb.TensorProto_INT8:   {-128, -1, 127},
		pb.TensorProto_UINT8:  {0, 200, 255},
		pb.TensorProto_BOOL:   {0, 1, 1},
		pb.TensorProto_INT4:   {-8, -1, 7},
		pb.TensorProto_UINT4:  {0, 9, 15},
	} {
		tt, err := NewIntTensor("t", dtype, []int{3}, values)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Ints(tt); err != nil || !slices.Equal(got, values) {
			t.Errorf("%s raw: %v, %v", DataTypeName(dtype), got, err)
		}
		typed := &pb.TensorProto{Dims: []int64{3}, DataType: int32(dtype)}
		for i, v := range values {
			switch field, kind := typedWants(dtype); {
			case kind == packed && i%2 == 0:
				typed.Int32Data = append(typed.Int32Data, int32(v&0xf))
			case kind == packed:
				typed.Int32Data[i/2] |= int32(v&0xf) << 4
			case field == "int32_data":
				typed.Int32Data = append(typed.Int32Data, int32(v))
			case field == "int64_data":
				typed.Int64Data = append(typed.Int64Data, v)
			case field == "uint64_data":
				typed.Uint64Data = append(typed.Uint64Data, uint64(v))
			}
		}
		if got, err := Ints(typed); err != nil || !slices.Equal(got, values) {
			t.Errorf("%s typed: %v, %v", DataTypeName(dtype), got, err)
		}
		lo, hi := intRange(dtype)
		for _, v := range []int64{lo - 1, hi + 1} {
			if v > lo && v < hi { // wrapped around: the type holds every int64
				continue
			}
			if err := SetInts(tt, []int64{v, 0, 0}); !errors.Is(err, ErrTensor) && DataTypeBits(dtype) < 64 {
				t.Errorf("%d as %s: %v", v, DataTypeName(dtype), err)
			}
		}
	}
	big := &pb.TensorProto{Dims: []int64{1}, DataType: int32(pb.TensorProto_UINT64), Uint64Data: []uint64{1 << 63}}
	if _, err := Ints(big); !errors.Is(err, ErrTensor) {
		t.Errorf("2^63 read as int64: %v", err)
	}
}

func TestScalarAndEmpty(t *testing.T) {
	scalar := NewFloats("s", nil, []float32{3})
	if v, err := Floats(scalar); err != nil || !slices.Equal(v, []float32{3}) || len(Dims(scalar)) != 0 {
		t.Errorf("scalar: %v, %v", v, err)
	}
	empty := NewInts("e", []int{0, 5}, nil)
	if v, err := Ints(empty); err != nil || len(v) != 0 {
		t.Errorf("empty: %v, %v", v, err)
	}
}

func TestTensorsAreRefused(t *testing.T) {
	float := int32(pb.TensorProto_FLOAT)
	for name, tt := range map[string]*pb.TensorProto{
		"negative dimension":     {Dims: []int64{-1}, DataType: float},
		"overflow":               {Dims: []int64{1 << 40, 1 << 40}, DataType: float},
		"overflow in bytes":      {Dims: []int64{1 << 61}, DataType: float},
		"no data":                {Dims: []int64{1 << 50}, DataType: float},
		"short raw data":         {Dims: []int64{2}, DataType: float, RawData: make([]byte, 7)},
		"long raw data":          {Dims: []int64{2}, DataType: float, RawData: make([]byte, 9)},
		"short typed data":       {Dims: []int64{2}, DataType: float, FloatData: []float32{1}},
		"wrong field":            {Dims: []int64{1}, DataType: float, Int32Data: []int32{1}},
		"two fields":             {Dims: []int64{1}, DataType: float, FloatData: []float32{1}, Int32Data: []int32{1}},
		"raw and typed":          {Dims: []int64{1}, DataType: float, FloatData: []float32{1}, RawData: make([]byte, 4)},
		"undefined type":         {Dims: []int64{1}, RawData: make([]byte, 4)},
		"unknown type":           {Dims: []int64{1}, DataType: 99, RawData: make([]byte, 4)},
		"strings in raw data":    {Dims: []int64{1}, DataType: int32(pb.TensorProto_STRING), RawData: make([]byte, 4)},
		"data without dimension": {Dims: []int64{0}, DataType: float, RawData: make([]byte, 4)},
	} {
		if _, err := Floats(tt); !errors.Is(err, ErrTensor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Floats(NewInts("i", []int{1}, []int64{1})); !errors.Is(err, ErrTensor) {
		t.Errorf("integers read as floats: %v", err)
	}
	if _, err := Ints(NewFloats("f", []int{1}, []float32{1})); !errors.Is(err, ErrTensor) {
		t.Errorf("floats read as integers: %v", err)
	}
	if err := SetFloats(NewFloats("f", []int{2}, []float32{1, 2}), []float32{1}); !errors.Is(err, ErrTensor) {
		t.Errorf("one value set for two: %v", err)
	}
	segment := &pb.TensorProto{Dims: []int64{1}, DataType: float, Segment: &pb.TensorProto_Segment{}, RawData: make([]byte, 4)}
	if _, err := Floats(segment); !errors.Is(err, ErrUnsupported) {
		t.Errorf("segment: %v", err)
	}
}

// Whatever field holds the data, the raw form reads the same.
func TestRawData(t *testing.T) {
	for _, tt := range []*pb.TensorProto{
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_FLOAT), FloatData: []float32{1, -2}},
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_DOUBLE), DoubleData: []float64{1, -2}},
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_FLOAT16), Int32Data: []int32{0x3c00, 0xc000}},
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_INT64), Int64Data: []int64{1, -2}},
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_INT32), Int32Data: []int32{1, -2}},
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_INT8), Int32Data: []int32{1, -2}},
		{Dims: []int64{3}, DataType: int32(pb.TensorProto_INT4), Int32Data: []int32{0x21, 0x0e}},
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_UINT32), Uint64Data: []uint64{1, 1 << 31}},
		{Dims: []int64{2}, DataType: int32(pb.TensorProto_UINT64), Uint64Data: []uint64{1, 1 << 62}},
	} {
		raw := &pb.TensorProto{Dims: tt.Dims, DataType: tt.DataType, RawData: rawData(tt)}
		if IsFloat(DataType(tt)) {
			want, errWant := Floats(tt)
			got, errGot := Floats(raw)
			if errWant != nil || errGot != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v and %v, %v, %v", DataTypeName(DataType(tt)), got, want, errGot, errWant)
			}
			continue
		}
		want, errWant := Ints(tt)
		got, errGot := Ints(raw)
		if errWant != nil || errGot != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v and %v, %v, %v", DataTypeName(DataType(tt)), got, want, errGot, errWant)
		}
	}
	text := &pb.TensorProto{Dims: []int64{1}, DataType: int32(pb.TensorProto_STRING), StringData: [][]byte{[]byte("a")}}
	if rawData(text) != nil {
		t.Error("strings have a raw form")
	}
}
