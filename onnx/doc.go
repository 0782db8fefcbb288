// Package onnx reads, checks, changes and writes ONNX models.
//
// A Model is the file as it is: protobuf messages of package pb with weights
// in memory. Everything graft knows about a network lives in such a model, at
// rest and between the steps that change it.
//
//	m, err := onnx.Load("net.onnx")      // refuses damaged files, pulls external data in
//	err = onnx.Check(m)                  // names, order, types, opsets: all findings at once
//	w, err := onnx.Floats(m.Initializer("conv1.weight"))
//	err = m.Save("copy.onnx")            // all or nothing
//
// New graphs are made with a Builder, node by node, and come out checked.
// Passes take a model and return another, leaving the first as it was.
//
// Supported are IR versions 3 to 13 and ai.onnx operator sets 7 to 26, of older
// sets the operators that mean the same in 7.
package onnx
