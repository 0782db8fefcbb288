package onnx

import (
	"encoding/json"
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

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

// MetadataJSON decodes the JSON value of a key; found is false where there is
// none. Errors are *Error.
func (m *Model) MetadataJSON(key string, into any) (found bool, err error) {
	text, found := m.Metadata(key)
	if !found {
		return false, nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return true, &Error{File: m.Path, Msg: fmt.Sprintf("metadata %s cannot be read: %v", key, err), Err: ErrInvalid}
	}
	return true, nil
}

// SetMetadataJSON stores a value as JSON. It fails for what JSON cannot hold.
func (m *Model) SetMetadataJSON(key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return &Error{File: m.Path, Msg: fmt.Sprintf("metadata %s cannot be written: %v", key, err), Err: err}
	}
	m.SetMetadata(key, string(text))
	return nil
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
