package onnx

// rules holds the shape rule of every operator that inference accepts, by the
// name that errors print.
var rules = map[string]rule{
	"graft.AdaptiveAveragePool": adaptivePoolRule,
	"graft.ChannelDropout":      channelDropoutRule,

	"Conv": convRule, "ConvInteger": integerConvRule, "QLinearConv": quantConvRule, "ConvTranspose": convTransposeRule,
	"MaxPool": poolRule, "AveragePool": poolRule, "LpPool": poolRule,
	"GlobalAveragePool": globalPoolRule, "GlobalMaxPool": globalPoolRule, "GlobalLpPool": globalPoolRule,
	"BatchNormalization": batchNormRule, "InstanceNormalization": channelRule(1, 2),
	"LayerNormalization": layerNormRule, "GroupNormalization": sameRule,

	"Dropout": dropoutRule, "Cast": castRule, "CastLike": castLikeRule, "PRelu": preluRule, "Where": whereRule,
	"QuantizeLinear": quantizeRule, "DequantizeLinear": dequantizeRule,

	"Shape": shapeRule, "Size": sizeRule, "Reshape": reshapeRule, "Flatten": flattenRule, "Transpose": transposeRule,
	"Squeeze": squeezeRule, "Unsqueeze": unsqueezeRule, "Concat": concatRule, "Split": splitRule,
	"Expand": expandRule, "Tile": tileRule, "Constant": constantRule, "ConstantOfShape": constantOfShapeRule, "Range": rangeRule,
	"Slice": sliceRule, "Gather": gatherRule, "GatherElements": gatherElementsRule, "GatherND": gatherNDRule,
	"ScatterElements": sameRule, "ScatterND": sameRule, "Scatter": sameRule,
	"Pad": padRule, "DepthToSpace": depthToSpaceRule, "SpaceToDepth": spaceToDepthRule, "Crop": cropRule,
	"Bernoulli": likeRule, "RandomNormalLike": likeRule, "RandomUniformLike": likeRule, "EyeLike": likeRule,
	"NonZero": nonZeroRule, "TopK": topKRule, "OneHot": oneHotRule,

	"MatMul": matMulRule, "Gemm": gemmRule, "ArgMax": argRule, "ArgMin": argRule,
	"Softmax": softmaxRule, "LogSoftmax": softmaxRule, "Hardmax": softmaxRule,
	"Resize": resizeRule, "Upsample": resizeRule, "GridSample": gridSampleRule,
}

func init() {
	for r, ops := range map[*rule][]string{
		ptr(sameRule): {"Identity", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid", "HardSigmoid",
			"HardSwish", "Mish", "Gelu", "Tanh", "ScaledTanh", "Softplus", "ParametricSoftplus", "Softsign", "Clip", "Affine", "ImageScaler",
			"Exp", "Log", "Sqrt", "Abs", "Neg", "Reciprocal", "Erf", "Floor", "Ceil", "Round", "Sign",
			"Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
			"Not", "CumSum", "Trilu", "LRN", "LpNormalization", "MeanVarianceNormalization"},
		ptr(boolRule):      {"IsNaN", "IsInf"},
		ptr(binaryRule):    {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "And", "Or", "Xor", "BitShift"},
		ptr(broadcastRule): {"Sum", "Mean", "Max", "Min"},
		ptr(compareRule):   {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"},
		ptr(reduceRule): {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
			"ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"},
	} {
		for _, op := range ops {
			rules[op] = *r
		}
	}
}

func ptr(r rule) *rule { return &r }
