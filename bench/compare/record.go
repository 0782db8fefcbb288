package main

import (
	"encoding/json"
	"errors"
	"os"

	"github.com/graft-onnx/graft/bench"
)

// record holds what was measured by table and side, in a file, so that a long
// comparison can be made in several sittings.
type record map[string]map[string][]*bench.Result

// readRecord reads a file that write wrote; none is an empty record.
func readRecord(file string) (record, error) {
	r := record{}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(data, &r)
}

// add puts a table's measurements in the place of those recorded under its
// title, which recall has given it before.
func (r record) add(t *table) {
	sides := map[string][]*bench.Result{}
	for _, s := range t.measured() {
		sides[s.name] = s.results
	}
	r[t.title] = sides
}

// recall gives a table what was measured before.
func (r record) recall(t *table) {
	for _, s := range t.sides {
		s.results = r[t.title][s.name]
	}
}

func (r record) write(file string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
