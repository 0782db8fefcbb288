package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestRecordGoesOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	r, err := readRecord(file) // not there yet
	if err != nil {
		t.Fatal(err)
	}
	first := exampleTable()
	r.add(first)
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	if r, err = readRecord(file); err != nil {
		t.Fatal(err)
	}
	second := exampleTable()
	measured := second.sides[2].results
	r.recall(second)
	second.sides[2].results = append(second.sides[2].results, measured...)
	var want, got bytes.Buffer
	if err := first.write(&want); err != nil {
		t.Fatal(err)
	}
	if err := second.write(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() || len(second.sides[2].results) != 4 {
		t.Errorf("%d results of one side, want 4; the same measurements twice change the table:\n%s\n%s", len(second.sides[2].results), &want, &got)
	}
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(file); err == nil {
		t.Error("a damaged record is read")
	}
}
