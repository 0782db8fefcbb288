package onnx

// schemaChanges lists the versions of ai.onnx at which an operator appeared or
// changed what a node means: its inputs, attributes, defaults or behaviour.
// Versions that only admit more element types are left out. Operators that are
// not listed have meant the same since version 1.
// Source: the operator changelog of the ONNX standard.
var schemaChanges = map[string][]int64{
	"Add": {1, 7}, "Sub": {1, 7}, "Mul": {1, 7}, "Div": {1, 7}, "Pow": {1, 7},
	"And": {1, 7}, "Or": {1, 7}, "Xor": {1, 7}, "Equal": {1, 7}, "Less": {1, 7}, "Greater": {1, 7},
	"GreaterOrEqual": {12}, "LessOrEqual": {12}, "Mod": {10}, "BitShift": {11},
	"ArgMax": {1, 11, 12}, "ArgMin": {1, 11, 12}, "TopK": {1, 10, 11},
	"AveragePool": {1, 7, 10, 19}, "MaxPool": {1, 8, 10, 12},
	"BatchNormalization": {1, 6, 7, 9, 14},
	"Cast":               {1, 6}, "CastLike": {15}, "Celu": {12}, "Clip": {1, 11}, "Concat": {1, 4},
	"Constant": {1, 11, 12}, "ConstantOfShape": {9}, "CumSum": {11},
	"DepthToSpace": {1, 11}, "DequantizeLinear": {10, 13, 21}, "QuantizeLinear": {10, 13, 21},
	"Dropout": {1, 6, 7, 12}, "Einsum": {12}, "Erf": {9}, "Expand": {8}, "EyeLike": {9},
	"Flatten": {1, 9, 11}, "Gather": {1, 11}, "GatherElements": {11}, "GatherND": {11, 12},
	"Gelu": {20}, "Gemm": {1, 6, 7, 11}, "GridSample": {16, 20}, "GroupNormalization": {18, 21},
	"HardSwish": {14}, "Identity": {1, 16}, "InstanceNormalization": {1, 6},
	"LayerNormalization": {17}, "LogSoftmax": {1, 11, 13}, "Softmax": {1, 11, 13}, "Hardmax": {1, 11, 13},
	"Max": {1, 8}, "Min": {1, 8}, "Mean": {1, 8}, "Sum": {1, 8}, "Mish": {18}, "NonZero": {9}, "OneHot": {9, 11},
	"PRelu": {1, 7, 9}, "Pad": {1, 2, 11, 18, 19}, "Range": {11},
	"ReduceL1": {1, 11, 18}, "ReduceL2": {1, 11, 18}, "ReduceLogSum": {1, 11, 18}, "ReduceLogSumExp": {1, 11, 18},
	"ReduceMax": {1, 11, 18}, "ReduceMean": {1, 11, 18}, "ReduceMin": {1, 11, 18}, "ReduceProd": {1, 11, 18},
	"ReduceSumSquare": {1, 11, 18}, "ReduceSum": {1, 11, 13},
	"Reshape": {1, 5, 14}, "Resize": {10, 11, 13, 18, 19}, "Round": {11}, "Scan": {8, 9},
	"Shape": {1, 15}, "Slice": {1, 10}, "Split": {1, 2, 13, 18},
	"Squeeze": {1, 11, 13}, "Unsqueeze": {1, 11, 13}, "Tile": {1, 6}, "Trilu": {14},
	"Upsample": {1, 7, 9, 10}, "Where": {9},
}

// schemaVersion returns the version whose meaning the operator has in opset,
// 0 where it does not exist yet.
func schemaVersion(op string, opset int64) int64 {
	changes, ok := schemaChanges[op]
	if !ok {
		return 1
	}
	v := int64(0)
	for _, c := range changes {
		if c <= opset {
			v = c
		}
	}
	return v
}
