package onnx

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Readers in C++ take a value that is not written for no value at all, so a
// zero must be in the file.
func TestZeroAttributesAreWritten(t *testing.T) {
	for field, a := range map[protowire.Number]*pb.AttributeProto{
		2: FloatAttr("ratio", 0), 3: IntAttr("axis", 0), 4: StringAttr("mode", ""),
	} {
		data, err := proto.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for len(data) > 0 {
			number, kind, n := protowire.ConsumeTag(data)
			found = found || number == field
			data = data[n+protowire.ConsumeFieldValue(number, kind, data[n:]):]
		}
		if !found {
			t.Errorf("field %d of attribute %q is not in the file", field, a.GetName())
		}
	}
}
