package onnx

import (
	"bytes"
	"slices"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// What unmarshal returns is what protobuf's own decoder does, in whatever order
// and however often the fields come.
func TestUnmarshalIsThatOfProtobuf(t *testing.T) {
	tensor := func(name string, n int) *pb.TensorProto {
		return NewFloats(name, []int{n}, slices.Repeat([]float32{float32(len(name)) + 0.5}, n))
	}
	bytesOf := func(m proto.Message) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	small, large := tensor("small", minShared/4-1), tensor("large", minShared/4)
	graph := &pb.GraphProto{Name: "g", Initializer: []*pb.TensorProto{small, large, {Name: "empty"}, tensor("larger", 3000)}}
	state := &pb.GraphProto{Initializer: []*pb.TensorProto{tensor("velocity", 2000), small}}
	training := bytesOf(&pb.TrainingInfoProto{Algorithm: state, Initialization: &pb.GraphProto{Initializer: []*pb.TensorProto{large}}})
	version := bytesOf(&pb.ModelProto{IrVersion: 8, ProducerName: "test"})
	raw := func(n int) []byte { return field(bytesOf(&pb.TensorProto{Name: "twice"}), 9, make([]byte, n)) }
	for name, data := range map[string][]byte{
		"plain":              slices.Concat(version, field(nil, 7, bytesOf(graph))),
		"graph twice":        slices.Concat(field(nil, 7, bytesOf(graph)), version, field(nil, 7, bytesOf(state))),
		"training info":      slices.Concat(version, field(nil, 20, training), field(nil, 7, bytesOf(graph)), field(nil, 20, training)),
		"algorithm twice":    field(nil, 20, slices.Concat(training, training)),
		"raw_data twice":     field(nil, 7, field(nil, 5, field(raw(5000), 9, make([]byte, 8)))),
		"raw_data grows":     field(nil, 7, field(nil, 5, field(raw(8), 9, make([]byte, 5000)))),
		"in an attribute":    bytesOf(&pb.ModelProto{Graph: &pb.GraphProto{Node: []*pb.NodeProto{{OpType: "Constant", Attribute: []*pb.AttributeProto{TensorAttr("value", large)}}}}}),
		"unknown fields too": field(field(version, 26, make([]byte, 5000)), 7, field(bytesOf(graph), 999, []byte("later"))),
		"nothing":            nil,
	} {
		want := &pb.ModelProto{}
		if err := proto.Unmarshal(data, want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before := bytes.Clone(data)
		got, err := unmarshal(data)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: decoded differently (%v)", name, err)
		}
		if !bytes.Equal(data, before) {
			t.Errorf("%s: written to", name)
		}
		for _, i := range got.GetGraph().GetInitializer() {
			r := i.GetRawData()
			if shared := within(r, data); shared != (len(r) >= minShared) || shared && cap(r) != len(r) {
				t.Errorf("%s: %d bytes of %q in the file's memory: %v", name, len(r), i.GetName(), shared)
			}
		}
	}
}

// within says whether part is a stretch of whole's memory.
func within(part, whole []byte) bool {
	if len(part) == 0 || len(whole) == 0 {
		return false
	}
	at, from := uintptr(unsafe.Pointer(&part[0])), uintptr(unsafe.Pointer(&whole[0]))
	return from <= at && at < from+uintptr(len(whole))
}
