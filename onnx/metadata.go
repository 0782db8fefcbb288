package onnx

import "github.com/graft-onnx/graft/onnx/pb"

// Metadata keys that describe a network, in training and deployed.
const (
	ClassesKey = "graft.classes" // JSON list of name, label and colour (#rrggbb), by channel
	EncoderKey = "graft.encoder" // name of the encoder
	DecoderKey = "graft.decoder" // name of the decoder
)

// Metadata returns the value of a key in the model's metadata.
func (m *Model) Metadata(key string) (string, bool) {
	for _, e := range m.GetMetadataProps() {
		if e.GetKey() == key {
			return e.GetValue(), true
		}
	}
	return "", false
}

// SetMetadata stores a value in the model's metadata, replacing the old one.
func (m *Model) SetMetadata(key, value string) {
	for _, e := range m.MetadataProps {
		if e.GetKey() == key {
			e.Value = value
			return
		}
	}
	m.MetadataProps = append(m.MetadataProps, &pb.StringStringEntryProto{Key: key, Value: value})
}

// DeleteMetadata removes a key; an absent key is no error.
func (m *Model) DeleteMetadata(key string) {
	kept := m.MetadataProps[:0]
	for _, e := range m.MetadataProps {
		if e.GetKey() != key {
			kept = append(kept, e)
		}
	}
	clear(m.MetadataProps[len(kept):])
	m.MetadataProps = kept
}
