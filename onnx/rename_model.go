package onnx

// Rename gives values of the graph, parameters among them, new names: old name
// -> new name. Names that the graph does not have are ignored; a new name that
// another value has is an error. The tensors are shared with m.
func Rename(m *Model, names map[string]string) (*Model, error) {
	out := shell(m)
	if err := renameValues(out, names); err != nil {
		return nil, err
	}
	return out, nil
}
