package op_test

import "github.com/graft-onnx/graft/graph/op"

// at is shorthand for attributes.
type at = op.Attributes

// gradientCases names every operator that has a gradient.
func gradientCases() []gradientCase {
	var cs []gradientCase
	add := func(c ...gradientCase) { cs = append(cs, c...) }
	img := x(2, 3, 5, 6)

	// Convolutions.
	for _, a := range []at{
		{},
		{"pads": list[int64](1, 1, 1, 1), "strides": list[int64](2, 2)},
		{"pads": list[int64](0, 1, 2, 0), "dilations": list[int64](2, 1)},
		{"auto_pad": "SAME_LOWER", "strides": list[int64](2, 1)},
		{"auto_pad": "SAME_UPPER", "strides": list[int64](1, 2)},
		{"auto_pad": "VALID"},
	} {
		add(gradientCase{op: "Conv", attrs: a, linear: true, inputs: list(img.of(normal), x(4, 3, 2, 3).of(normal), x(4).of(normal))})
	}
	add(
		gradientCase{op: "Conv", attrs: at{"group": int64(2)}, linear: true, inputs: list(x(2, 4, 4, 4).of(normal), x(6, 2, 3, 3).of(normal))},
		gradientCase{op: "Conv", attrs: at{"group": int64(3), "pads": list[int64](1, 1, 1, 1)}, linear: true, inputs: list(img.of(normal), x(3, 1, 3, 3).of(normal), x(3).of(normal))},
		gradientCase{op: "Conv", attrs: at{"pads": list[int64](1, 0)}, linear: true, inputs: list(x(2, 3, 7).of(normal), x(4, 3, 3).of(normal), x(4).of(normal))},
		gradientCase{op: "ConvTranspose", attrs: at{"strides": list[int64](2, 3), "pads": list[int64](1, 0, 0, 1), "output_padding": list[int64](1, 1)},
			linear: true, inputs: list(x(2, 4, 3, 4).of(normal), x(4, 3, 3, 3).of(normal), x(3).of(normal))},
		gradientCase{op: "ConvTranspose", attrs: at{"output_padding": list[int64](0, 2), "strides": list[int64](2, 2), "dilations": list[int64](1, 3)},
			linear: true, inputs: list(x(1, 2, 3, 3).of(normal), x(2, 2, 2, 3).of(normal), x(2).of(normal))},
		gradientCase{op: "ConvTranspose", attrs: at{"group": int64(2), "dilations": list[int64](2, 1)},
			linear: true, inputs: list(x(1, 4, 3, 3).of(normal), x(4, 1, 2, 2).of(normal))},
	)

	// Normalisations.
	for _, shape := range []input{img, x(6, 3), x(4, 3, 5), x(2, 3, 2, 2, 3)} {
		add(
			gradientCase{op: "BatchNormalization", train: true, fixed: list(3, 4),
				inputs: list(shape.of(normal), x(3).of(positive), x(3), x(3), x(3).of(positive))},
			gradientCase{op: "BatchNormalization", fixed: list(3, 4), linear: true,
				inputs: list(shape.of(normal), x(3).of(positive), x(3), x(3), x(3).of(positive))},
		)
	}
	add(
		gradientCase{op: "InstanceNormalization", inputs: list(img.of(normal), x(3).of(positive), x(3))},
		gradientCase{op: "InstanceNormalization", inputs: list(x(2, 3, 7).of(normal), x(3).of(positive), x(3))},
	)

	// Functions of one element.
	for _, name := range []string{"Relu", "Sigmoid", "HardSwish", "Tanh", "Exp", "Abs", "Neg", "Erf", "Softplus",
		"LeakyRelu", "Elu", "HardSigmoid", "Softsign", "Selu", "Celu", "Mish"} {
		add(gradientCase{op: name, opset: 18, inputs: list(x(2, 3, 4, 5))}, gradientCase{op: name, opset: 18, inputs: list(x(7))})
	}
	for _, name := range []string{"Log", "Sqrt", "Reciprocal"} {
		add(gradientCase{op: name, inputs: list(x(2, 3, 4).of(positive))})
	}
	add(
		gradientCase{op: "LeakyRelu", attrs: at{"alpha": float32(0.3)}, inputs: list(img)},
		gradientCase{op: "Elu", attrs: at{"alpha": float32(2)}, inputs: list(img)},
		gradientCase{op: "Celu", attrs: at{"alpha": float32(0.5)}, inputs: list(img)},
		gradientCase{op: "HardSigmoid", attrs: at{"alpha": float32(0.5), "beta": float32(0.25)}, inputs: list(img)},
		gradientCase{op: "Clip", opset: 6, attrs: at{"min": float32(-1), "max": float32(1.5)}, inputs: list(img)},
		gradientCase{op: "Clip", inputs: list(img, scalarConst(0), scalarConst(2))},
		gradientCase{op: "Clip", inputs: list(img, absent(), scalarConst(1))},
		gradientCase{op: "Clip", inputs: list(img, x().of(shifted), scalarConst(2)), fixed: list(1)},
	)

	// Functions of two elements, and of several.
	pairs := [][2]input{
		{img, img}, {img, x(3, 1, 1)}, {img, x(1, 3, 1, 1)}, {x(6), img}, {img, x(3, 5, 6)}, {x(2, 1, 5, 1), x(3, 1, 6)},
		{x(4, 3), x()}, {x(2, 2, 3, 2, 2), x(2, 3, 1, 2)}, {x(3, 1), x(4)}, {x(), x()},
	}
	for _, p := range pairs {
		a, b := p[0], p[1].of(shifted)
		add(
			gradientCase{op: "Add", inputs: list(a, b), linear: true},
			gradientCase{op: "Sub", inputs: list(a, b), linear: true},
			gradientCase{op: "Mul", inputs: list(a.of(normal), b.of(normal)), linear: true},
			gradientCase{op: "Div", inputs: list(a.of(normal), b.of(positive))},
			gradientCase{op: "Pow", inputs: list(a.of(positive), b.of(normal))},
			gradientCase{op: "Max", inputs: list(a, b)},
			gradientCase{op: "Min", inputs: list(a, b)},
			gradientCase{op: "Sum", inputs: list(a, b), linear: true},
			gradientCase{op: "Mean", inputs: list(a, b, a), linear: true},
		)
	}
	add(
		gradientCase{op: "Sum", inputs: list(img, img, img), linear: true},
		gradientCase{op: "Max", inputs: list(x(4, 3), x(4, 3).of(shifted))},
		gradientCase{op: "PRelu", inputs: list(img, x(3, 1, 1).of(normal))},
		gradientCase{op: "PRelu", inputs: list(img, img.of(normal))},
		gradientCase{op: "PRelu", opset: 6, inputs: list(img, x(3).of(normal))},
		gradientCase{op: "Add", opset: 6, attrs: at{"broadcast": int64(1), "axis": int64(1)}, inputs: list(img, x(3)), linear: true},
		gradientCase{op: "Mul", opset: 6, attrs: at{"broadcast": int64(1)}, inputs: list(img.of(normal), x(5, 6).of(normal)), linear: true},
	)
	for _, p := range []float32{-1, 0.5, 1, 2, 3, 1.5} {
		add(gradientCase{op: "Pow", inputs: list(x(3, 4).of(positive), scalarConst(p))})
	}
	add(gradientCase{op: "Pow", inputs: list(x(3, 4).of(positive), scalarIndex(3))})

	return append(cs, moreCases()...)
}

func moreCases() []gradientCase {
	var cs []gradientCase
	add := func(c ...gradientCase) { cs = append(cs, c...) }
	img := x(2, 3, 5, 6)

	// Poolings.
	for _, a := range []at{
		{"kernel_shape": list[int64](2, 3)},
		{"kernel_shape": list[int64](3, 3), "strides": list[int64](2, 2), "pads": list[int64](1, 1, 1, 1)},
		{"kernel_shape": list[int64](3, 2), "strides": list[int64](2, 2), "ceil_mode": int64(1), "pads": list[int64](0, 1, 1, 0)},
		{"kernel_shape": list[int64](3, 3), "auto_pad": "SAME_UPPER", "strides": list[int64](2, 2)},
		{"kernel_shape": list[int64](2, 2), "dilations": list[int64](2, 3)},
	} {
		add(gradientCase{op: "MaxPool", attrs: a, inputs: list(img)})
		for _, count := range []int64{0, 1} {
			b := at{"count_include_pad": count}
			for k, v := range a {
				b[k] = v
			}
			add(gradientCase{op: "AveragePool", opset: 19, attrs: b, inputs: list(img.of(normal)), linear: true})
		}
	}
	add(
		gradientCase{op: "MaxPool", attrs: at{"kernel_shape": list[int64](3)}, inputs: list(x(2, 3, 8))},
		gradientCase{op: "AveragePool", attrs: at{"kernel_shape": list[int64](3)}, inputs: list(x(2, 3, 8)), linear: true},
		gradientCase{op: "MaxPool", attrs: at{"kernel_shape": list[int64](2, 3, 2), "pads": list[int64](1, 0, 0, 0, 1, 1)}, inputs: list(x(2, 3, 3, 4, 5))},
		gradientCase{op: "AveragePool", attrs: at{"kernel_shape": list[int64](2, 3, 2), "strides": list[int64](2, 1, 1), "pads": list[int64](1, 0, 0, 0, 1, 1)},
			inputs: list(x(2, 3, 3, 4, 5)), linear: true},
		gradientCase{op: "GlobalAveragePool", inputs: list(img), linear: true},
		gradientCase{op: "GlobalMaxPool", inputs: list(img)},
		gradientCase{op: "graft.AdaptiveAveragePool", opset: 15, attrs: at{"output_size": list[int64](3, 2)}, inputs: list(img), linear: true},
		gradientCase{op: "graft.AdaptiveAveragePool", opset: 15, attrs: at{"output_size": list[int64](7, 6)}, inputs: list(img), linear: true},
	)

	// Reductions.
	for _, name := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp"} {
		linear := name == "ReduceSum" || name == "ReduceMean"
		for _, keep := range []int64{0, 1} {
			for _, axes := range []input{ints(1), ints(2, 3), ints(0, -2), ints(-1)} {
				c := gradientCase{op: name, opset: 18, attrs: at{"keepdims": keep}, inputs: list(img, axes), linear: linear}
				if name == "ReduceLogSumExp" || name == "ReduceL2" {
					c.inputs[0] = img.of(normal)
				}
				add(c)
			}
			add(gradientCase{op: name, opset: 11, attrs: at{"keepdims": keep, "axes": list[int64](1)}, inputs: list(x(4, 3, 5)), linear: linear})
			add(gradientCase{op: name, opset: 11, attrs: at{"keepdims": keep}, inputs: list(x(4, 5)), linear: linear})
		}
	}
	add(gradientCase{op: "ReduceLogSum", attrs: at{"axes": list[int64](1)}, inputs: list(x(4, 5).of(positive))})

	// Moves of elements.
	add(
		gradientCase{op: "Reshape", inputs: list(img, ints(0, -1)), linear: true},
		gradientCase{op: "Reshape", inputs: list(img, ints(3, 2, 6, 5)), linear: true},
		gradientCase{op: "Reshape", inputs: list(x(6, 10), ints(2, 3, 5, 2)), linear: true},
		gradientCase{op: "Reshape", inputs: list(x(2, 3, 1, 1), ints(2, 3)), linear: true},
		gradientCase{op: "Flatten", inputs: list(img), linear: true},
		gradientCase{op: "Flatten", attrs: at{"axis": int64(-2)}, inputs: list(img), linear: true},
		gradientCase{op: "Unsqueeze", inputs: list(x(3, 4, 5), ints(0, -1)), linear: true},
		gradientCase{op: "Unsqueeze", opset: 11, attrs: at{"axes": list[int64](2)}, inputs: list(x(3, 4, 5)), linear: true},
		gradientCase{op: "Squeeze", inputs: list(x(3, 1, 4, 5), ints(1)), linear: true},
		gradientCase{op: "Squeeze", inputs: list(x(1, 4, 1, 5)), linear: true},
		gradientCase{op: "Identity", inputs: list(img), linear: true},
		gradientCase{op: "Cast", attrs: at{"to": int64(1)}, inputs: list(img), linear: true},
		gradientCase{op: "Transpose", attrs: at{"perm": list[int64](0, 2, 3, 1)}, inputs: list(img), linear: true},
		gradientCase{op: "Transpose", attrs: at{"perm": list[int64](3, 1, 0, 2)}, inputs: list(img), linear: true},
		gradientCase{op: "Transpose", inputs: list(x(3, 4, 5)), linear: true},
		gradientCase{op: "Transpose", attrs: at{"perm": list[int64](1, 0, 2)}, inputs: list(x(3, 1, 5)), linear: true},
		gradientCase{op: "DepthToSpace", attrs: at{"blocksize": int64(2)}, inputs: list(x(2, 8, 2, 3)), linear: true},
		gradientCase{op: "DepthToSpace", attrs: at{"blocksize": int64(2), "mode": "CRD"}, inputs: list(x(2, 8, 2, 3)), linear: true},
		gradientCase{op: "SpaceToDepth", attrs: at{"blocksize": int64(2)}, inputs: list(x(2, 3, 4, 6)), linear: true},
		gradientCase{op: "Expand", inputs: list(x(3, 1, 6), ints(2, 1, 5, 1)), linear: true},
		gradientCase{op: "Expand", inputs: list(x(2, 3, 1, 1), ints(2, 3, 4, 5)), linear: true},
		gradientCase{op: "Concat", attrs: at{"axis": int64(1)}, inputs: list(img, x(2, 2, 5, 6), x(2, 1, 5, 6)), linear: true},
		gradientCase{op: "Concat", attrs: at{"axis": int64(-1)}, inputs: list(img, x(2, 3, 5, 2)), linear: true},
		gradientCase{op: "Concat", attrs: at{"axis": int64(0)}, inputs: list(x(3, 4), x(2, 4)), linear: true},
		gradientCase{op: "Slice", inputs: list(img, ints(1, -3), ints(3, 100), ints(1, -1), ints(1, 2)), linear: true},
		gradientCase{op: "Slice", inputs: list(img, ints(4, 5), ints(-100, 0), ints(2, 3), ints(-1, -2)), linear: true},
		gradientCase{op: "Slice", opset: 9, attrs: at{"starts": list[int64](1), "ends": list[int64](9), "axes": list[int64](1)}, inputs: list(x(3, 4)), linear: true},
		gradientCase{op: "Split", attrs: at{"axis": int64(1)}, outputs: 2, inputs: list(img, ints(1, 2)), linear: true},
		gradientCase{op: "Split", attrs: at{"axis": int64(3)}, outputs: 3, inputs: list(img), linear: true},
		gradientCase{op: "Split", opset: 18, attrs: at{"axis": int64(2), "num_outputs": int64(3)}, outputs: 3, inputs: list(img), linear: true},
		gradientCase{op: "Gather", attrs: at{"axis": int64(1)}, inputs: list(img, ints(2, 0, 0, -1)), linear: true},
		gradientCase{op: "Gather", attrs: at{"axis": int64(2)}, inputs: list(img, scalarIndex(1)), linear: true},
		gradientCase{op: "Pad", inputs: list(img, ints(0, 0, 1, 2, 0, 1, 0, 3), scalarConst(1.5)), linear: true},
		gradientCase{op: "Pad", inputs: list(img, ints(0, 0, -1, 2, 0, 0, 1, -2)), linear: true},
		gradientCase{op: "Pad", opset: 18, attrs: at{"mode": "reflect"}, inputs: list(img, ints(2, 1, 1, 3), absent(), ints(2, 3)), linear: true},
		gradientCase{op: "Pad", attrs: at{"mode": "edge"}, inputs: list(img, ints(0, 1, 2, 0, 1, 0, 0, 3)), linear: true},
		gradientCase{op: "Pad", opset: 19, attrs: at{"mode": "wrap"}, inputs: list(x(3, 4), ints(1, 5, 2, 0)), linear: true},
		gradientCase{op: "Dropout", train: true, inputs: list(img, scalarConst(0.4)), linear: true},
		gradientCase{op: "Dropout", inputs: list(img, scalarConst(0.4)), linear: true},
		gradientCase{op: "Dropout", opset: 7, train: true, attrs: at{"ratio": float32(0.3)}, inputs: list(x(40)), linear: true},
		gradientCase{op: "graft.ChannelDropout", opset: 15, train: true, attrs: at{"ratio": float32(0.5)}, inputs: list(x(2, 8, 2, 2)), linear: true},
	)

	// Softmax and products.
	for _, name := range []string{"Softmax", "LogSoftmax"} {
		for _, axis := range []int64{0, 1, 2, -1} {
			for _, opset := range []int{11, 13} {
				add(gradientCase{op: name, opset: opset, attrs: at{"axis": axis}, inputs: list(x(2, 3, 4, 2).of(normal))})
			}
		}
		add(gradientCase{op: name, inputs: list(x(4, 5).of(normal))})
	}
	products := [][2]input{
		{x(3, 4), x(4, 5)}, {x(2, 3, 4), x(4, 5)}, {x(2, 3, 4), x(2, 4, 5)}, {x(2, 3, 4, 2), x(2, 3, 2, 5)}, {x(2, 3, 4, 5), x(5, 2)},
		{x(3, 4), x(2, 4, 5)}, {x(2, 1, 3, 4), x(3, 4, 2)}, {x(4), x(4, 3)}, {x(3, 4), x(4)}, {x(4), x(2, 4, 3)}, {x(2, 3, 4), x(4)},
	}
	for _, p := range products {
		add(gradientCase{op: "MatMul", linear: true, inputs: list(p[0].of(normal), p[1].of(normal))})
	}
	for _, ta := range []int64{0, 1} {
		for _, tb := range []int64{0, 1} {
			a, b := x(3, 4), x(4, 5)
			if ta == 1 {
				a = x(4, 3)
			}
			if tb == 1 {
				b = x(5, 4)
			}
			add(gradientCase{op: "Gemm", linear: true, attrs: at{"transA": ta, "transB": tb, "alpha": float32(0.5), "beta": float32(2)},
				inputs: list(a.of(normal), b.of(normal), x(5).of(normal))})
		}
	}
	add(
		gradientCase{op: "Gemm", linear: true, inputs: list(x(3, 4).of(normal), x(4, 5).of(normal))},
		gradientCase{op: "Gemm", linear: true, inputs: list(x(3, 4).of(normal), x(4, 5).of(normal), x(3, 1).of(normal))},
	)

	// Resize.
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		for _, coord := range []string{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"} {
			a := at{"mode": mode, "coordinate_transformation_mode": coord}
			add(
				gradientCase{op: "Resize", attrs: a, linear: true, inputs: list(img, absent(), absent(), ints(2, 3, 8, 11))},
				gradientCase{op: "Resize", attrs: a, linear: true, inputs: list(img, absent(), consts(1, 1, 0.6, 1.7))},
			)
		}
		add(
			gradientCase{op: "Resize", opset: 10, attrs: at{"mode": mode}, linear: true, inputs: list(img, consts(1, 1, 2, 2))},
			gradientCase{op: "Resize", linear: true, attrs: at{"mode": mode, "exclude_outside": int64(1)}, inputs: list(img, absent(), consts(1, 1, 2, 0.7))},
			gradientCase{op: "Resize", linear: true, opset: 18, attrs: at{"mode": mode, "antialias": int64(1), "axes": list[int64](2, 3)}, inputs: list(img, absent(), consts(0.4, 0.7))},
			gradientCase{op: "Resize", linear: true, attrs: at{"mode": mode}, inputs: list(x(2, 3, 7), absent(), absent(), ints(2, 6, 4))},
		)
	}
	add(
		gradientCase{op: "Resize", linear: true, attrs: at{"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": float32(3)},
			inputs: list(img, consts(0, 0, 0.2, -0.3, 1, 1, 0.9, 1.1), absent(), ints(2, 3, 4, 7))},
		gradientCase{op: "Resize", linear: true, opset: 18, attrs: at{"mode": "linear", "keep_aspect_ratio_policy": "not_larger", "axes": list[int64](2, 3)},
			inputs: list(img, absent(), absent(), ints(9, 9))},
		gradientCase{op: "Upsample", linear: true, opset: 9, attrs: at{"mode": "linear"}, inputs: list(img, consts(1, 1, 2, 3))},
		gradientCase{op: "Upsample", linear: true, opset: 7, attrs: at{"mode": "nearest", "scales": list[float32](1, 1, 2, 1.5)}, inputs: list(img)},
	)
	return cs
}
