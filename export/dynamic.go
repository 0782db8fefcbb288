package export

import (
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// dynamic makes the batch, height and width of a picture symbolic where the
// file fixes one of them and the graph works at other sizes too. A graph with
// its size built in, such as one traced with fixed targets of its resizing,
// stays as it is.
func dynamic(m *onnx.Model) {
	inputs := m.Inputs()
	if len(inputs) != 1 || len(shapeOf(inputs[0])) != 4 {
		return // pictureInput refuses it
	}
	opened := openDims(inputs[0], "N", "H", "W")
	if len(opened) == 0 {
		return
	}
	for _, v := range m.GetGraph().GetOutput() {
		opened = append(opened, openDims(v, "N", "", "")...)
	}
	dims := shapeOf(inputs[0])
	probe := []int{3, int(dims[1].GetDimValue()), 97, 131}
	for _, d := range opened {
		for i := range probe {
			if d.dim == dims[i] && i != 1 {
				probe[i] = 2*int(d.size) + 1
			}
		}
	}
	if _, _, err := onnx.Specialize(m, map[string][]int{inputs[0].GetName(): probe}); err != nil {
		for _, d := range opened {
			d.dim.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: d.size}
		}
	}
}

// maxOpened is the largest size that is taken for one of pictures.
const maxOpened = 1 << 16

// openedDim is a dimension that was fixed.
type openedDim struct {
	dim  *pb.TensorShapeProto_Dimension
	size int64
}

// openDims gives the dimensions of (N,C,H,W) that have a fixed size the names
// n, h and w, and returns them.
func openDims(v *pb.ValueInfoProto, n, h, w string) []openedDim {
	dims := shapeOf(v)
	if len(dims) != 4 {
		return nil
	}
	var opened []openedDim
	for i, name := range []string{n, "", h, w} {
		size := dims[i].GetDimValue()
		if i == 1 || size <= 0 || size > maxOpened {
			continue
		}
		opened = append(opened, openedDim{dims[i], size})
		dims[i].Value = nil
		if name != "" {
			dims[i].Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: name}
		}
	}
	return opened
}

func shapeOf(v *pb.ValueInfoProto) []*pb.TensorShapeProto_Dimension {
	return v.GetType().GetTensorType().GetShape().GetDim()
}
