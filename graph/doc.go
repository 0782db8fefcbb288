// Package graph trains and evaluates an ONNX graph.
//
// A Network owns the parameters of a model on a device. For every input shape
// and mode that is asked for it builds a Plan, in five steps:
//
//  1. onnx.Specialize fixes all shapes and folds shape arithmetic.
//  2. A sanitised skeleton of the graph (structure and typed attributes, no
//     data) is decoded by onnx-go into our Backend, which records nodes and
//     edges (skeleton.go, backend.go).
//  3. The operator builders of package op turn the record into a Gorgonia
//     ExprGraph; tensors join it by name (build.go).
//  4. A walk over SymDiff adds the gradient (gradient.go).
//  5. The graph is lowered to kernel calls over one arena: activations join
//     the kernel before them (fuse.go), buffers are shared by liveness
//     (compile.go, arena.go), maps may be stored as bfloat16 (precision.go).
//     The result is a Plan (plan.go), which satisfies gorgonia.VM.
//
// Plans of one Network share parameters, gradients and one arena, so any
// number of input shapes can be trained in turn. A Network is used by one
// goroutine at a time.
package graph
