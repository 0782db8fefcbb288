package onnx

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// minShared is the least raw_data, in bytes, that a model leaves in the buffer
// that it was read from. Smaller tensors are copied, so that they do not keep
// the buffer once the weights are dropped.
const minShared = 4096

// Numbers of the fields on the way to a stored tensor's elements.
const (
	fieldGraph        protowire.Number = 7  // of ModelProto
	fieldTrainingInfo protowire.Number = 20 // of ModelProto
	fieldAlgorithm    protowire.Number = 2  // of TrainingInfoProto
	fieldInitializer  protowire.Number = 5  // of GraphProto
	fieldRawData      protowire.Number = 9  // of TensorProto
)

// unmarshal decodes a serialised model that scan has walked. The raw_data of
// large initializers are not copied but part of data.
func unmarshal(data []byte) (*pb.ModelProto, error) {
	var stored, state slimmer
	slim := slimMessage(data, func(num protowire.Number, value []byte) []byte {
		switch num {
		case fieldGraph:
			return stored.graph(value)
		case fieldTrainingInfo:
			return slimMessage(value, func(num protowire.Number, value []byte) []byte {
				if num == fieldAlgorithm {
					return state.graph(value)
				}
				return value
			})
		}
		return value
	})
	m := &pb.ModelProto{}
	opts := proto.UnmarshalOptions{RecursionLimit: maxDepth + 1}
	if err := opts.Unmarshal(slim, m); err != nil {
		return nil, err
	}
	stored.restore(m.GetGraph().GetInitializer())
	var tensors []*pb.TensorProto
	for _, info := range m.GetTrainingInfo() {
		tensors = append(tensors, info.GetAlgorithm().GetInitializer()...)
	}
	state.restore(tensors)
	return m, nil
}

// slimmer takes large raw_data out of serialised graphs.
type slimmer struct {
	raw [][]byte // of each initializer, nil where it was left in place
}

func (s *slimmer) graph(data []byte) []byte {
	return slimMessage(data, func(num protowire.Number, value []byte) []byte {
		if num != fieldInitializer {
			return value
		}
		var raw []byte
		value = slimMessage(value, func(num protowire.Number, value []byte) []byte {
			if num != fieldRawData {
				return value
			}
			if raw = nil; len(value) < minShared { // the last of several counts
				return value
			}
			raw = value[:len(value):len(value)]
			return nil
		})
		s.raw = append(s.raw, raw)
		return value
	})
}

// restore gives the decoded tensors, which are in the same order, their data.
func (s *slimmer) restore(tensors []*pb.TensorProto) {
	for i, raw := range s.raw {
		if raw != nil {
			tensors[i].RawData = raw
		}
	}
}

// slimMessage returns a serialised message with the values of its fields of
// bytes replaced by what edit makes of them; data itself where all stay. It
// does not copy what edit takes away.
func slimMessage(data []byte, edit func(num protowire.Number, value []byte) []byte) []byte {
	var out []byte
	changed, kept := false, 0 // data[:kept] is in out
	for at := 0; at < len(data); {
		num, typ, tag := protowire.ConsumeTag(data[at:])
		if tag < 0 {
			return data // scan has refused it
		}
		n := protowire.ConsumeFieldValue(num, typ, data[at+tag:])
		if n < 0 {
			return data
		}
		end := at + tag + n
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data[at+tag : end])
			if edited := edit(num, value); len(edited) != len(value) {
				out = append(out, data[kept:at]...)
				out = protowire.AppendTag(out, num, typ)
				out = protowire.AppendBytes(out, edited)
				changed, kept = true, end
			}
		}
		at = end
	}
	if !changed {
		return data
	}
	return append(out, data[kept:]...)
}
