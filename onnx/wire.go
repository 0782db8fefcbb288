package onnx

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/graft-onnx/graft/onnx/pb"
)

// A message in memory is larger than on the wire: an empty node takes two bytes
// of a file and some 250 of memory. scan refuses files that would grow past
// freeMemory + maxGrowth times their size; ordinary files stay below twice.
const (
	freeMemory   = 64 << 20
	maxGrowth    = 32
	messageBytes = 400 // the largest message structure, with what points to it
)

// scan walks a serialised model before it is decoded: it refuses wire data that
// is broken, nests too deep or would not fit in memory once decoded, and
// replaces bytes of text that is not UTF-8. data itself is not written to.
func scan(data []byte) ([]byte, error) {
	s := scanner{data: data, budget: freeMemory + maxGrowth*int64(len(data))}
	err := s.message((&pb.ModelProto{}).ProtoReflect().Descriptor(), 0, len(data), 1)
	return s.data, err
}

type scanner struct {
	data   []byte
	copied bool  // data is our own copy
	budget int64 // bytes of memory that decoding may still take
}

func damaged(at int, format string, args ...any) error {
	return fmt.Errorf("%w: %s at byte %d", ErrDamaged, fmt.Sprintf(format, args...), at)
}

// message walks the message in data[from:to].
func (s *scanner) message(desc protoreflect.MessageDescriptor, from, to, depth int) error {
	if depth > maxDepth {
		return damaged(from, "messages nest deeper than %d", maxDepth)
	}
	if s.budget -= messageBytes; s.budget < 0 {
		return fmt.Errorf("%w: far more messages than a model of %d bytes has", ErrTooLarge, len(s.data))
	}
	fields := desc.Fields()
	for at := from; at < to; {
		num, typ, n := protowire.ConsumeTag(s.data[at:to])
		if n < 0 {
			return damaged(at, "broken or cut field in %s", desc.Name())
		}
		start := at
		at += n
		if typ == protowire.StartGroupType || typ == protowire.EndGroupType {
			return damaged(start, "a field of %s that ONNX does not have", desc.Name())
		}
		n = protowire.ConsumeFieldValue(num, typ, s.data[at:to])
		if n < 0 {
			return damaged(start, "field %d of %s is broken or cut", num, desc.Name())
		}
		fd := fields.ByNumber(num)
		if fd != nil {
			if err := s.field(fd, typ, at, at+n, depth); err != nil {
				return err
			}
		}
		at += n
	}
	return nil
}

// field looks into one known field, whose value is data[from:to].
func (s *scanner) field(fd protoreflect.FieldDescriptor, typ protowire.Type, from, to, depth int) error {
	if !wireTypeFits(fd, typ) {
		return damaged(from, "field %s has wire type %d", fd.FullName(), typ)
	}
	if typ != protowire.BytesType {
		s.budget -= 8
		return nil
	}
	_, prefix := protowire.ConsumeVarint(s.data[from:to])
	from += prefix
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return s.message(fd.Message(), from, to, depth+1)
	case protoreflect.StringKind:
		s.budget -= int64(to - from + 16)
		s.clean(from, to)
	case protoreflect.BytesKind:
		s.budget -= int64(to - from + 24)
	default:
		s.budget -= 8 * int64(to-from) // packed numbers, at least a byte each
	}
	return nil
}

// wireTypeFits reports whether a field may come in that wire type: its own, or
// packed where it is a list of numbers.
func wireTypeFits(fd protoreflect.FieldDescriptor, typ protowire.Type) bool {
	var own protowire.Type
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.StringKind, protoreflect.BytesKind:
		return typ == protowire.BytesType
	case protoreflect.FloatKind:
		own = protowire.Fixed32Type
	case protoreflect.DoubleKind:
		own = protowire.Fixed64Type
	default:
		own = protowire.VarintType
	}
	return typ == own || fd.IsList() && typ == protowire.BytesType
}

// clean replaces the bytes of data[from:to] that are not UTF-8.
func (s *scanner) clean(from, to int) {
	if utf8.Valid(s.data[from:to]) {
		return
	}
	if !s.copied {
		s.data, s.copied = bytes.Clone(s.data), true
	}
	for at := from; at < to; {
		r, n := utf8.DecodeRune(s.data[at:to])
		if r == utf8.RuneError && n == 1 {
			s.data[at] = '?'
		}
		at += n
	}
}

// foreign names a well-known format that is often saved under a model's name.
func foreign(data []byte) string {
	if len(data) >= 8 {
		switch string(data[4:8]) {
		case "TFL3":
			return "a TensorFlow Lite model"
		case "ORTM":
			return "a model in ONNX Runtime's own format"
		}
	}
	head := bytes.TrimLeft(data[:min(len(data), 512)], " \t\r\n\x00")
	for _, f := range []struct{ magic, name string }{
		{"<!DOCTYPE", "a web page"}, {"<html", "a web page"},
		{"version https://git-lfs", "a Git LFS pointer"},
		{"PK\x03\x04", "a zip archive (a PyTorch checkpoint?)"},
		{"\x1f\x8b", "a gzip archive"},
		{"\x89HDF", "an HDF5 file (a Keras model?)"},
		{"<?xml", "an XML file (an OpenVINO model?)"},
		{"\x80\x02", "a pickle (a PyTorch checkpoint?)"},
		{"{", "JSON text"},
	} {
		if bytes.HasPrefix(head, []byte(f.magic)) || bytes.Contains(head, []byte("<!DOCTYPE html")) && f.name == "a web page" {
			return f.name
		}
	}
	return ""
}
