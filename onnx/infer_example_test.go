package onnx_test

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Symbolic dimensions go through every operator, shape arithmetic included.
func ExampleInfer() {
	b := onnx.NewBuilder("half", 13)
	x := b.Input("x", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	w := b.Initializer(onnx.NewFloats("w", []int{8, 3, 3, 3}, make([]float32, 216)))
	y := b.Op("Conv", "y", []string{x, w}, onnx.IntsAttr("strides", 2, 2), onnx.IntsAttr("pads", 1, 1, 1, 1))
	flat := b.Initializer(onnx.NewInts("flat", []int{3}, []int64{0, 8, -1}))
	b.Output(b.Op("Reshape", "z", []string{y, flat}), pb.TensorProto_FLOAT, "N", 8, nil)
	m, err := b.Model()
	if err != nil {
		fmt.Println(err)
		return
	}
	infos, err := onnx.Infer(m)
	fmt.Println(infos["y"], infos["z"], err)

	_, shapes, err := onnx.Specialize(m, map[string][]int{"x": {2, 3, 31, 40}})
	fmt.Println(shapes["y"], shapes["z"], err)
	// Output:
	// float32(N,8,floor((H+1)/2),floor((W+1)/2)) float32(N,8,floor((H+1)/2)*floor((W+1)/2)) <nil>
	// [2 8 16 20] [2 8 320] <nil>
}
