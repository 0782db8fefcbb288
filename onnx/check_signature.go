package onnx

import "github.com/graft-onnx/graft/onnx/pb"

// signature is filled in by the operator table.
func (c *checker) signature(n *pb.NodeProto, p place, opset int64) {}
