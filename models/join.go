package models

import "github.com/graft-onnx/graft/onnx"

// join puts the decoder's graph behind the encoder's: what the decoder reads
// has the names that the encoder gives its taps.
func join(enc, dec *onnx.Model) *onnx.Model {
	m := enc.Clone()
	m.Graph.Node = append(m.Graph.Node, dec.Graph.Node...)
	m.Graph.Initializer = append(m.Graph.Initializer, dec.Graph.Initializer...)
	m.Graph.Output = dec.Graph.Output
	m.Functions = append(m.Functions, dec.Functions...)
	for _, o := range dec.OpsetImport {
		m.SetOpset(o.GetDomain(), o.GetVersion())
	}
	m.IrVersion = max(m.IrVersion, onnx.IRVersion(m))
	return m
}
