package onnx

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// A Source hands the elements of a tensor, row-major, to each, part by part. A
// part is valid until each returns.
type Source func(each func(part []float32) error) error

// Sources are the elements of tensors of a model that hold none themselves.
type Sources map[*pb.TensorProto]Source

// stream is a serialised message in pieces, so that the elements of large
// tensors need not be copied together.
type stream struct {
	pieces []piece
	size   int // bytes
}

// piece is bytes, or else the elements of a tensor that has a source.
type piece struct {
	bytes  []byte
	tensor *pb.TensorProto
	source Source
}

func (s *stream) bytes(b []byte) {
	s.pieces = append(s.pieces, piece{bytes: b})
	s.size += len(b)
}

// field adds a field of bytes.
func (s *stream) field(num protowire.Number, value *stream) {
	head := protowire.AppendTag(nil, num, protowire.BytesType)
	s.bytes(protowire.AppendVarint(head, uint64(value.size)))
	s.pieces = append(s.pieces, value.pieces...)
	s.size += value.size
}

// serialise returns a model as proto.Marshal would write it, deterministically.
// What the tensors of its graph and of its training algorithms hold, or have
// from sources, is left where it is.
func serialise(m *pb.ModelProto, sources Sources) (*stream, error) {
	slim := shallow(m)
	var stored, state filler
	var err error
	if slim.Graph, err = stored.empty(m.GetGraph(), sources); err != nil {
		return nil, err
	}
	slim.TrainingInfo = nil
	for _, info := range m.GetTrainingInfo() {
		info = shallow(info)
		if info.Algorithm, err = state.empty(info.GetAlgorithm(), sources); err != nil {
			return nil, err
		}
		slim.TrainingInfo = append(slim.TrainingInfo, info)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(slim)
	if err != nil {
		return nil, err
	}
	return splice(data, func(num protowire.Number, value []byte) *stream {
		switch num {
		case fieldGraph:
			return stored.graph(value)
		case fieldTrainingInfo:
			return splice(value, func(num protowire.Number, value []byte) *stream {
				if num == fieldAlgorithm {
					return state.graph(value)
				}
				return nil
			})
		}
		return nil
	}), nil
}

// filler puts elements into the serialised initializers of graphs, in order.
type filler struct {
	elements []*stream // of each initializer, nil where it is complete
}

// empty returns a graph without the elements that graph puts back.
func (f *filler) empty(g *pb.GraphProto, sources Sources) (*pb.GraphProto, error) {
	if g == nil {
		return nil, nil
	}
	g = shallow(g)
	tensors := make([]*pb.TensorProto, len(g.GetInitializer()))
	for i, t := range g.GetInitializer() {
		var elements *stream
		if source := sources[t]; source != nil {
			n, err := Len(t)
			if err == nil && !IsFloat(DataType(t)) {
				err = fmt.Errorf("%w: floats cannot be stored as %s", ErrTensor, DataTypeName(DataType(t)))
			}
			if err != nil {
				return nil, tensorError(t, err)
			}
			if n > 0 {
				elements = &stream{[]piece{{tensor: t, source: source}}, n * DataTypeBits(DataType(t)) / 8}
			}
			t = WithoutData(t)
		} else if raw := t.GetRawData(); len(raw) >= minShared {
			elements = &stream{}
			elements.bytes(raw)
			t = shallow(t)
			t.RawData = nil
		}
		tensors[i], f.elements = t, append(f.elements, elements)
	}
	g.Initializer = tensors
	return g, nil
}

// graph fills a serialised graph that was emptied.
func (f *filler) graph(data []byte) *stream {
	return splice(data, func(num protowire.Number, value []byte) *stream {
		if num != fieldInitializer {
			return nil
		}
		elements := f.elements[0]
		if f.elements = f.elements[1:]; elements == nil {
			return nil
		}
		// Fields are written in the order of their numbers.
		at := 0
		for at < len(value) {
			num, _, n := protowire.ConsumeField(value[at:])
			if num > fieldRawData {
				break
			}
			at += n
		}
		t := &stream{}
		t.bytes(value[:at])
		t.field(fieldRawData, elements)
		t.bytes(value[at:])
		return t
	})
}

// splice returns a serialised message in which the values of fields of bytes are
// those that replace returns, where it returns any.
func splice(data []byte, replace func(num protowire.Number, value []byte) *stream) *stream {
	out, kept := &stream{}, 0 // data[:kept] is in out
	for at := 0; at < len(data); {
		num, typ, tag := protowire.ConsumeTag(data[at:])
		end := at + tag + protowire.ConsumeFieldValue(num, typ, data[at+tag:])
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data[at+tag : end])
			if other := replace(num, value); other != nil {
				out.bytes(data[kept:at])
				out.field(num, other)
				kept = end
			}
		}
		at = end
	}
	out.bytes(data[kept:])
	return out
}

// write writes everything in order.
func (s *stream) write(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<20)
	var raw []byte // of a part
	for _, p := range s.pieces {
		if p.source == nil {
			if _, err := b.Write(p.bytes); err != nil {
				return err
			}
			continue
		}
		n := 0
		err := p.source(func(part []float32) error {
			n += len(part)
			raw = appendFloats(raw[:0], DataType(p.tensor), part)
			_, err := b.Write(raw)
			return err
		})
		if want, _ := Len(p.tensor); err == nil && n != want {
			err = fmt.Errorf("%w: %d values for dimensions %v", ErrTensor, n, p.tensor.GetDims())
		}
		if err != nil {
			return tensorError(p.tensor, err)
		}
	}
	return b.Flush()
}

// appendFloats appends numbers as raw_data of a floating-point type holds them.
func appendFloats(raw []byte, dtype pb.TensorProto_DataType, data []float32) []byte {
	le := binary.LittleEndian
	switch dtype {
	case pb.TensorProto_FLOAT:
		for _, v := range data {
			raw = le.AppendUint32(raw, math.Float32bits(v))
		}
	case pb.TensorProto_DOUBLE:
		for _, v := range data {
			raw = le.AppendUint64(raw, math.Float64bits(float64(v)))
		}
	case pb.TensorProto_FLOAT16:
		for _, v := range data {
			raw = le.AppendUint16(raw, Float16(v))
		}
	case pb.TensorProto_BFLOAT16:
		for _, v := range data {
			raw = le.AppendUint16(raw, BFloat16(v))
		}
	}
	return raw
}
