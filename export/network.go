package export

import (
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/onnx"
)

// NetworkEvaluator evaluates a training graph with graft itself, on the
// network's device.
type NetworkEvaluator struct {
	network *graph.Network
	input   string
}

var _ Evaluator = (*NetworkEvaluator)(nil)

// NewNetworkEvaluator evaluates a network whose picture is the named input;
// empty means "image".
func NewNetworkEvaluator(n *graph.Network, input string) *NetworkEvaluator {
	if input == "" {
		input = onnx.ImageName
	}
	return &NetworkEvaluator{n, input}
}

// Evaluate implements Evaluator.
func (e *NetworkEvaluator) Evaluate(image []float32, shape []int) (map[string][]float32, map[string][]int, error) {
	plan, err := e.network.Plan(graph.Spec{Inputs: map[string][]int{e.input: shape}, Mode: graph.Eval})
	if err != nil {
		return nil, nil, err
	}
	if err := plan.SetInput(e.input, image); err != nil {
		return nil, nil, err
	}
	if err := plan.RunAll(); err != nil {
		return nil, nil, err
	}
	values, shapes := map[string][]float32{}, map[string][]int{}
	for _, name := range plan.Outputs() {
		if values[name], shapes[name], err = plan.Output(name); err != nil {
			return nil, nil, err
		}
	}
	return values, shapes, nil
}
