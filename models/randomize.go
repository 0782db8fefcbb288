package models

import (
	"fmt"
	"math"
	"strings"

	"github.com/graft-onnx/graft/onnx"
)

// Randomize returns a copy of a model in which every parameter whose name
// begins with prefix is drawn anew: convolution weights from He's normal
// distribution (2 / products summed into an output), their biases 0,
// normalisation scale 1, shift 0, stored mean 0 and variance 1. It makes the
// network that fine-tuning a pretrained backbone is compared with.
func Randomize(m *onnx.Model, prefix string, seed int64) (*onnx.Model, error) {
	m = m.Clone()
	fresh := map[string]func(name string, n, first int) []float32{}
	for _, n := range m.GetGraph().GetNode() {
		for i, name := range n.GetInput() {
			if draw := initialOperand(n.GetOpType(), i, seed); draw != nil && strings.HasPrefix(name, prefix) {
				fresh[name] = draw
			}
		}
	}
	if len(fresh) == 0 {
		return nil, fmt.Errorf("%s: no weights named %s*", m.Path, prefix)
	}
	for _, t := range m.GetGraph().GetInitializer() {
		draw := fresh[t.GetName()]
		if draw == nil {
			continue
		}
		n, err := onnx.Len(t)
		if err == nil {
			first := append(onnx.Dims(t), 1)[0]
			err = onnx.SetFloats(t, draw(t.GetName(), n, max(first, 1)))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: parameter %q: %w", m.Path, t.GetName(), err)
		}
	}
	return m, nil
}

// initialOperand returns how operand i of an operator begins, given its name,
// number of elements and first dimension; nil for operands that hold no
// parameter.
func initialOperand(op string, i int, seed int64) func(name string, n, first int) []float32 {
	filled := func(value float32) func(string, int, int) []float32 {
		return func(_ string, n, _ int) []float32 { return constant(n, value) }
	}
	switch {
	case op == "Conv" && i == 1:
		return func(name string, n, first int) []float32 {
			return normal(stream(seed, name), n, math.Sqrt(2/float64(max(n/first, 1))))
		}
	case op == "Conv" && i == 2:
		return filled(0)
	case op == "BatchNormalization" && (i == 1 || i == 4):
		return filled(1)
	case op == "BatchNormalization" && (i == 2 || i == 3):
		return filled(0)
	}
	return nil
}
