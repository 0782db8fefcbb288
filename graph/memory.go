package graph

import (
	"fmt"
	"math/bits"

	"github.com/graft-onnx/graft/onnx"
)

// SetMemoryLimit bounds the bytes of activations that a Plan may have; without
// it they are the machine's memory.
func (n *Network) SetMemoryLimit(bytes int) { n.memory = bytes }

// checkValues refuses a graph of which a single value is larger than the
// memory, before anything is made for it.
func (n *Network) checkValues(m *onnx.Model, shapes map[string][]int) error {
	for _, node := range m.GetGraph().GetNode() {
		for _, name := range node.GetOutput() {
			size := floatBytes(shapes[name])
			if size > uint64(n.memory) {
				return &onnx.Error{File: n.model.Path, Node: onnx.NodeName(node), Op: onnx.OpName(node),
					Msg:    fmt.Sprintf("%v: its output of shape %v takes %.1f GiB, the limit is %.1f", ErrMemory, shapes[name], float64(size)/(1<<30), gib(n.memory)),
					Remedy: "use a smaller batch or picture", Err: ErrMemory}
			}
		}
	}
	return nil
}

// floatBytes is the size of a float32 tensor, the largest number where it
// overflows.
func floatBytes(shape []int) uint64 {
	size := uint64(4)
	for _, d := range shape {
		high, low := bits.Mul64(size, uint64(max(d, 0)))
		if high != 0 {
			return ^uint64(0)
		}
		size = low
	}
	return size
}
