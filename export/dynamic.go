package export

import (
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// dynamic makes the batch, height and width of a picture symbolic where the
// file fixes one of them, and forgets the sizes that outputs had with it.
func dynamic(m *onnx.Model) (*onnx.Model, error) {
	fixed := false
	for _, v := range m.Inputs() {
		fixed = fixed || openDims(v, "N", "H", "W")
	}
	if !fixed {
		return m, nil
	}
	for _, v := range m.GetGraph().GetOutput() {
		openDims(v, "N", "", "")
	}
	return m, nil
}

// openDims gives the dimensions of (N,C,H,W) that have a fixed size the names
// n, h and w, and reports whether there were any.
func openDims(v *pb.ValueInfoProto, n, h, w string) bool {
	dims := v.GetType().GetTensorType().GetShape().GetDim()
	if len(dims) != 4 {
		return false
	}
	changed := false
	for i, name := range map[int]string{0: n, 2: h, 3: w} {
		if dims[i].GetDimValue() <= 0 {
			continue
		}
		changed = true
		dims[i].Value = nil
		if name != "" {
			dims[i].Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: name}
		}
	}
	return changed
}
