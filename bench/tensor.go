package bench

import (
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// ReadTensor reads a file that holds one ONNX tensor, and takes its elements
// by values, which is onnx.Floats or onnx.Ints. It returns them row-major with
// their shape.
func ReadTensor[T any](file string, values func(*pb.TensorProto) ([]T, error)) ([]T, []int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var t pb.TensorProto
	if err := proto.Unmarshal(data, &t); err != nil {
		return nil, nil, fmt.Errorf("%s: not an ONNX tensor: %w", file, err)
	}
	v, err := values(&t)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return v, onnx.Dims(&t), nil
}

// WriteTensor writes a file that holds one ONNX tensor.
func WriteTensor(file string, t *pb.TensorProto) error {
	data, err := proto.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
