package onnx

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Join puts a decoder behind an encoder. wire says which value of the encoder
// feeds which input of the decoder: decoder input -> encoder value. The result
// has the encoder's inputs and those of the decoder that are not wired, the
// decoder's outputs, and the metadata of both (the decoder's where both have a
// key). Values and nodes of the decoder whose names the encoder uses are
// renamed; two parameters of one name are an error. The model of the lower
// opset is brought to the higher one. Tensors are shared with both.
func Join(encoder, decoder *Model, wire map[string]string) (*Model, error) {
	fail := func(m *Model, format string, args ...any) error {
		return &Error{File: m.Path, Msg: fmt.Sprintf(format, args...), Err: ErrInvalid}
	}
	encoder, decoder, err := sameOpset(encoder, decoder)
	if err != nil {
		return nil, err
	}
	taken := ValueNames(encoder.Graph)
	names := map[string]string{}
	for _, in := range slices.Sorted(maps.Keys(wire)) {
		if !isInput(decoder.Graph, in) {
			return nil, fail(decoder, "the decoder has no input %q", in)
		}
		if !taken[wire[in]] {
			return nil, fail(encoder, "the encoder has no value %q", wire[in])
		}
		names[in] = wire[in]
	}
	inner := ValueNames(decoder.Graph)
	for name := range taken {
		inner[name] = true
	}
	for _, t := range decoder.Graph.Initializer {
		if taken[t.GetName()] {
			return nil, fail(decoder, "encoder and decoder both have a parameter %q", t.GetName())
		}
	}
	for _, v := range decoder.Graph.Input {
		if name := v.GetName(); taken[name] && names[name] == "" {
			return nil, fail(decoder, "input %q has the name of a value of the encoder", name)
		}
	}
	for _, n := range decoder.Graph.Node {
		for _, o := range n.GetOutput() {
			if o != "" && taken[o] {
				names[o] = inner.Fresh("decoder/" + o)
			}
		}
	}
	for _, o := range decoder.Graph.Output {
		if to := names[o.GetName()]; to != "" && !isInput(decoder.Graph, o.GetName()) {
			return nil, fail(decoder, "output %q has the name of a value of the encoder", o.GetName())
		}
	}
	dec := shell(decoder)
	dec.Graph.Input = slices.DeleteFunc(dec.Graph.Input, func(v *pb.ValueInfoProto) bool { _, wired := wire[v.GetName()]; return wired })
	if err := renameValues(dec, names); err != nil {
		return nil, err
	}

	out := shell(encoder)
	nodeNames := Names{}
	for _, n := range out.Graph.Node {
		nodeNames[n.GetName()] = true
	}
	for _, n := range dec.Graph.Node {
		if n.Name != "" {
			n.Name = nodeNames.Fresh(n.Name)
		}
		out.Graph.Node = append(out.Graph.Node, n)
	}
	out.Graph.Initializer = append(out.Graph.Initializer, dec.Graph.Initializer...)
	out.Graph.SparseInitializer = append(out.Graph.SparseInitializer, dec.Graph.SparseInitializer...)
	out.Graph.Input = append(out.Graph.Input, dec.Graph.Input...)
	kept := map[string]bool{}
	for _, v := range dec.Graph.Output {
		kept[v.GetName()] = true
	}
	// What were outputs of the encoder are values between the two now.
	for _, v := range out.Graph.Output {
		if !kept[v.GetName()] && !isInput(out.Graph, v.GetName()) {
			out.Graph.ValueInfo = append(out.Graph.ValueInfo, v)
		}
	}
	out.Graph.Output = dec.Graph.Output
	stated := map[string]bool{}
	for _, v := range slices.Concat(out.Graph.ValueInfo, out.Graph.Output, out.Graph.Input) {
		stated[v.GetName()] = true
	}
	for _, v := range dec.Graph.ValueInfo {
		if !stated[v.GetName()] {
			out.Graph.ValueInfo = append(out.Graph.ValueInfo, v)
		}
	}
	for _, f := range decoder.GetFunctions() {
		same := out.Function(f.GetDomain(), f.GetName())
		switch {
		case same == nil:
			out.Functions = append(out.Functions, f)
		case !proto.Equal(same, f):
			return nil, fail(decoder, "encoder and decoder have different functions %s.%s", f.GetDomain(), f.GetName())
		}
	}
	for _, o := range decoder.GetOpsetImport() {
		if out.Opset(o.GetDomain()) == 0 {
			out.SetOpset(o.GetDomain(), o.GetVersion())
		}
	}
	for _, p := range decoder.GetMetadataProps() {
		out.SetMetadata(p.GetKey(), p.GetValue())
	}
	out.IrVersion = max(encoder.GetIrVersion(), decoder.GetIrVersion(), IRVersion(out))
	return out, nil
}

// sameOpset brings the older of two models to the operator set of the newer.
func sameOpset(a, b *Model) (*Model, *Model, error) {
	va, vb := a.Opset(""), b.Opset("")
	var err error
	switch {
	case va < vb:
		a, err = Upgrade(a, vb)
	case vb < va:
		b, err = Upgrade(b, va)
	}
	return a, b, err
}
