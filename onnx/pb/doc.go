// Package pb holds the protobuf bindings of the ONNX file format.
//
// It is generated from onnx.proto; everything with behaviour lives one folder
// up, in package onnx.
package pb

//go:generate go run ./gen
