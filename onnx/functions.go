package onnx

import "github.com/graft-onnx/graft/onnx/pb"

// FunctionDomain is the domain of graft's own model-local functions.
const FunctionDomain = "graft"

// The opset whose operators the bodies of graft's functions use.
const functionOpset = 15

// IsKernelFunction reports whether graft computes a model-local function with
// a kernel of its own, so that the function is kept as a node instead of being
// replaced by its body.
func IsKernelFunction(domain, name string) bool {
	return domain == FunctionDomain && (name == "AdaptiveAveragePool" || name == "ChannelDropout")
}

// AdaptiveAveragePoolFunction returns the function graft.AdaptiveAveragePool:
// X (N,C,H,W) -> Y (N,C,output_size[0],output_size[1]). Cell i of an axis of
// length L with S cells is the mean of the elements floor(i*L/S) up to, not
// including, ceil((i+1)*L/S), as in PyTorch. The body multiplies X from both
// sides with averaging matrices made of its Shape, so that it runs in every
// ONNX runtime and at every input size.
func AdaptiveAveragePoolFunction() *pb.FunctionProto {
	f := &functionBody{}
	f.op("Constant", nil, "sizes", RefAttr("value_ints", pb.AttributeProto_INTS, "output_size"))
	f.op("Constant", nil, "zero", IntAttr("value_int", 0))
	f.op("Constant", nil, "one", IntAttr("value_int", 1))
	f.op("Constant", nil, "first", IntsAttr("value_ints", 0))
	f.op("Constant", nil, "second", IntsAttr("value_ints", 1))
	f.op("Shape", []string{"X"}, "shape")
	// The matrix of the rows is (S,H), that of the columns (W,S): it stands on
	// the other side of the product.
	for _, axis := range []struct {
		name       string
		dim, size  int64
		cell, elem string // where cells and elements get their axis of length 1
	}{
		{"rows", 2, 0, "second", "first"},
		{"cols", 3, 1, "first", "second"},
	} {
		p := axis.name + "_"
		f.op("Constant", nil, p+"dim", IntAttr("value_int", axis.dim))
		f.op("Constant", nil, p+"which", IntAttr("value_int", axis.size))
		f.op("Gather", []string{"shape", p + "dim"}, p+"length", IntAttr("axis", 0))
		f.op("Gather", []string{"sizes", p + "which"}, p+"cells", IntAttr("axis", 0))
		f.op("Range", []string{"zero", p + "cells", "one"}, p+"cell")
		f.op("Mul", []string{p + "cell", p + "length"}, p+"start_times")
		f.op("Div", []string{p + "start_times", p + "cells"}, p+"start")
		f.op("Add", []string{p + "start_times", p + "length"}, p+"end_times")
		f.op("Add", []string{p + "end_times", p + "cells"}, p+"end_above")
		f.op("Sub", []string{p + "end_above", "one"}, p+"end_rounded")
		f.op("Div", []string{p + "end_rounded", p + "cells"}, p+"end")
		f.op("Sub", []string{p + "end", p + "start"}, p+"count")
		f.op("Unsqueeze", []string{p + "start", axis.cell}, p+"start_column")
		f.op("Unsqueeze", []string{p + "end", axis.cell}, p+"end_column")
		f.op("Unsqueeze", []string{p + "count", axis.cell}, p+"count_column")
		f.op("Range", []string{"zero", p + "length", "one"}, p+"element")
		f.op("Unsqueeze", []string{p + "element", axis.elem}, p+"element_row")
		f.op("Less", []string{p + "element_row", p + "start_column"}, p+"before")
		f.op("Not", []string{p + "before"}, p+"from")
		f.op("Less", []string{p + "element_row", p + "end_column"}, p+"until")
		f.op("And", []string{p + "from", p + "until"}, p+"inside")
		f.op("CastLike", []string{p + "inside", "X"}, p+"weight")
		f.op("CastLike", []string{p + "count_column", "X"}, p+"divisor")
		f.op("Div", []string{p + "weight", p + "divisor"}, p+"matrix")
	}
	f.op("MatMul", []string{"rows_matrix", "X"}, "pooled_rows")
	f.op("MatMul", []string{"pooled_rows", "cols_matrix"}, "Y")
	return f.function("AdaptiveAveragePool", "output_size",
		"Mean over output_size[0] x output_size[1] cells of any input (N,C,H,W).")
}

// ChannelDropoutFunction returns the function graft.ChannelDropout: it drops
// whole channels of X (N,C,H,W) with probability ratio and scales the others
// by 1/(1-ratio) in training, and is the identity in inference: the body is a
// standard Dropout over (N,C,1,1) ones, whose training_mode is false.
func ChannelDropoutFunction() *pb.FunctionProto {
	f := &functionBody{}
	f.op("Shape", []string{"X"}, "planes", IntAttr("start", 0), IntAttr("end", 2))
	f.op("Constant", nil, "pixel", IntsAttr("value_ints", 1, 1))
	f.op("Concat", []string{"planes", "pixel"}, "shape", IntAttr("axis", 0))
	f.op("ConstantOfShape", []string{"shape"}, "ones_float", TensorAttr("value", NewFloats("", []int{1}, []float32{1})))
	f.op("CastLike", []string{"ones_float", "X"}, "ones")
	f.op("Constant", nil, "probability", RefAttr("value_float", pb.AttributeProto_FLOAT, "ratio"))
	f.op("Dropout", []string{"ones", "probability"}, "mask")
	f.op("Mul", []string{"X", "mask"}, "Y")
	return f.function("ChannelDropout", "ratio",
		"Dropout of whole channels of (N,C,H,W); the identity in inference.")
}

// functionBody collects the nodes of a function.
type functionBody struct{ nodes []*pb.NodeProto }

func (f *functionBody) op(opType string, in []string, out string, attrs ...*pb.AttributeProto) {
	f.nodes = append(f.nodes, &pb.NodeProto{OpType: opType, Input: in, Output: []string{out}, Name: out, Attribute: attrs})
}

// function wraps the body: one input X, one output Y, one required attribute.
func (f *functionBody) function(name, attribute, doc string) *pb.FunctionProto {
	return &pb.FunctionProto{
		Name: name, Domain: FunctionDomain, DocString: doc,
		Input: []string{"X"}, Output: []string{"Y"}, Attribute: []string{attribute},
		Node:        f.nodes,
		OpsetImport: []*pb.OperatorSetIdProto{{Version: functionOpset}},
	}
}
