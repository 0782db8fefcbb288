package models

import "github.com/graft-onnx/graft/onnx"

// NewShortResNeXt is New with the ResNeXt of five blocks that the reference
// trace has.
func NewShortResNeXt(spec Spec) (*onnx.Model, error) {
	return resNeXt("resnext_short", [4]int{1, 1, 2, 1}).network(spec)
}
