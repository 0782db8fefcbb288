package onnx

import (
	"fmt"

	"github.com/graft-onnx/graft/onnx/pb"
)

// tensor checks that a tensor's data fit its dimensions and type.
func (c *checker) tensor(p place, n *pb.NodeProto, t *pb.TensorProto) {
	if _, err := checkData(t); err != nil {
		c.add(p, n, "", fmt.Errorf("tensor %q: %w", t.GetName(), err))
	}
}

// sparse checks a sparse tensor: values (NNZ) and their places, either flat
// (NNZ) or one row of coordinates each (NNZ,rank), ascending.
func (c *checker) sparse(p place, n *pb.NodeProto, s *pb.SparseTensorProto) {
	if err := checkSparse(s); err != nil {
		c.add(p, n, "", fmt.Errorf("sparse tensor %q: %w", s.GetValues().GetName(), err))
	}
}

func checkSparse(s *pb.SparseTensorProto) error {
	size, err := elements(s.GetDims())
	if err != nil {
		return err
	}
	if s.GetValues() == nil || len(s.GetValues().GetDims()) != 1 {
		return fmt.Errorf("%w: the values need one dimension", ErrTensor)
	}
	nnz, err := checkData(s.GetValues())
	if err != nil {
		return err
	}
	if s.GetIndices() == nil && nnz == 0 {
		return nil
	}
	rank := len(s.GetDims())
	places := s.GetIndices().GetDims()
	flat := len(places) == 1
	if !(flat || len(places) == 2 && places[1] == int64(rank)) || places[0] != int64(nnz) {
		return fmt.Errorf("%w: indices of dimensions %v for %d values of rank %d", ErrTensor, places, nnz, rank)
	}
	if DataType(s.GetIndices()) != pb.TensorProto_INT64 {
		return fmt.Errorf("%w: indices are %s, int64 is needed", ErrTensor, DataTypeName(DataType(s.GetIndices())))
	}
	indices, err := Ints(s.GetIndices())
	if err != nil {
		return err
	}
	last := int64(-1)
	for i := range nnz {
		at := int64(0)
		if flat {
			at = indices[i]
		} else {
			for axis, x := range indices[i*rank : (i+1)*rank] {
				if x < 0 || x >= s.GetDims()[axis] {
					return fmt.Errorf("%w: index %d is outside dimensions %v", ErrTensor, x, s.GetDims())
				}
				at = at*s.GetDims()[axis] + x
			}
		}
		if at <= last || at >= int64(size) {
			return fmt.Errorf("%w: index %d is out of order or outside dimensions %v", ErrTensor, at, s.GetDims())
		}
		last = at
	}
	return nil
}
