package models

import (
	"encoding/json"
	"fmt"
	"image/color"

	"github.com/graft-onnx/graft/onnx"
)

// storedClass is a class in a model's metadata.
type storedClass struct {
	Name   string `json:"name"`
	Label  int    `json:"label"`
	Colour string `json:"colour"` // #rrggbb
}

// SetClasses stores the class list in the model's metadata, so that names and
// colours travel with the file.
func SetClasses(m *onnx.Model, classes Classes) error {
	stored := make([]storedClass, len(classes))
	for i, c := range classes {
		stored[i] = storedClass{c.Name, c.Label, fmt.Sprintf("#%02x%02x%02x", c.Colour.R, c.Colour.G, c.Colour.B)}
	}
	return m.SetMetadataJSON(onnx.ClassesKey, stored)
}

// ClassesOf returns the class list that the model carries, nil if it has none.
// Errors are *ClassesError.
func ClassesOf(m *onnx.Model) (Classes, error) {
	text, ok := m.Metadata(onnx.ClassesKey)
	if !ok {
		return nil, nil
	}
	fail := func(msg string, err error) (Classes, error) {
		return nil, &ClassesError{File: m.Path, Msg: "metadata " + onnx.ClassesKey + " " + msg, Err: err}
	}
	var stored []storedClass
	if err := json.Unmarshal([]byte(text), &stored); err != nil {
		return fail("is not a class list", err)
	}
	classes := make(Classes, len(stored))
	for i, s := range stored {
		c := color.RGBA{A: 0xFF}
		if n, err := fmt.Sscanf(s.Colour, "#%02x%02x%02x", &c.R, &c.G, &c.B); n != 3 || len(s.Colour) != 7 {
			return fail(fmt.Sprintf("has colour %q, not #rrggbb", s.Colour), err)
		}
		if s.Label < 0 || s.Label > maxLabel {
			return fail(fmt.Sprintf("has label %d, not 0 to %d", s.Label, maxLabel), nil)
		}
		classes[i] = Class{Name: s.Name, Label: s.Label, Colour: c}
	}
	return classes, nil
}
