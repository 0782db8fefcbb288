package onnx

import (
	"errors"
	"math"
	"testing"

	"github.com/graft-onnx/graft/onnx/pb"
)

func TestMetadataJSON(t *testing.T) {
	m := &Model{ModelProto: &pb.ModelProto{}, Path: "m.onnx"}
	var got []int
	if found, err := m.MetadataJSON("list", &got); found || err != nil {
		t.Errorf("without metadata: %v, %v", found, err)
	}
	if err := m.SetMetadataJSON("list", []int{3, 4}); err != nil {
		t.Fatal(err)
	}
	if found, err := m.MetadataJSON("list", &got); !found || err != nil || len(got) != 2 || got[1] != 4 {
		t.Errorf("%v, %v, %v", got, found, err)
	}
	var e *Error
	if err := m.SetMetadataJSON("list", math.NaN()); !errors.As(err, &e) || e.File != "m.onnx" {
		t.Errorf("a number that JSON has not: %v", err)
	}
	m.SetMetadata("list", "[3,")
	if _, err := m.MetadataJSON("list", &got); !errors.As(err, &e) || e.File != "m.onnx" || !errors.Is(err, ErrInvalid) {
		t.Errorf("cut short: %v", err)
	}
}
