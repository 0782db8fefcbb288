package onnx_test

import (
	"errors"
	"fmt"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

func ExampleBuilder() {
	b := onnx.NewBuilder("head", 15)
	x := b.Input("x", pb.TensorProto_FLOAT, "N", 2, "H", "W")
	w := b.Initializer(onnx.NewFloats("head.weight", []int{1, 2, 1, 1}, []float32{0.5, -0.5}))
	y := b.Op("Conv", "y", []string{x, w}, onnx.IntsAttr("kernel_shape", 1, 1))
	b.Output(y, pb.TensorProto_FLOAT, "N", 1, "H", "W")
	m, err := b.Model()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.IrVersion, m.Opset(""), onnx.OpName(m.Graph.Node[0]))
	// Output: 8 15 Conv
}

func ExampleCheck() {
	m := &onnx.Model{Path: "net.onnx", ModelProto: &pb.ModelProto{
		IrVersion:   8,
		OpsetImport: []*pb.OperatorSetIdProto{{Version: 15}},
		Graph: &pb.GraphProto{
			Node: []*pb.NodeProto{
				{Name: "conv1", OpType: "Conv", Input: []string{"image"}, Output: []string{"features"}},
				{Name: "relu1", OpType: "Relu", Input: []string{"feature"}, Output: []string{"y"}},
			},
			Input: []*pb.ValueInfoProto{{Name: "image", Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
				TensorType: &pb.TypeProto_Tensor{ElemType: int32(pb.TensorProto_FLOAT)}}}}},
		},
	}}
	err := onnx.Check(m)
	fmt.Println(err)
	fmt.Println(errors.Is(err, onnx.ErrInvalid))
	// Output:
	// net.onnx: 3 findings:
	//   node "conv1" (Conv): 1 inputs, the operator takes 2 to 3
	//   node "relu1" (Relu): input 0 reads "feature", which nothing makes
	//   the graph has no outputs
	// true
}

func ExampleFloats() {
	t := onnx.NewFloats("w", []int{2, 2}, []float32{1, 2, 3, 4})
	if err := onnx.SetFloats(t, []float32{4, 3, 2, 1}); err != nil {
		fmt.Println(err)
	}
	v, err := onnx.Floats(t)
	fmt.Println(v, onnx.Dims(t), err)
	// Output: [4 3 2 1] [2 2] <nil>
}
