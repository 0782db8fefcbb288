package export

import (
	"github.com/graft-onnx/graft/export/ort"
)

// RuntimeEvaluator evaluates a training graph in ONNX Runtime, every node as
// the file has it. It is a second reference beside graft's own evaluation.
type RuntimeEvaluator struct {
	session *ort.Session
}

var _ Evaluator = (*RuntimeEvaluator)(nil)

// NewRuntimeEvaluator loads a training graph or checkpoint.
func NewRuntimeEvaluator(rt *ort.Runtime, path string, threads int) (*RuntimeEvaluator, error) {
	s, err := rt.Session(path, ort.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	return &RuntimeEvaluator{s}, nil
}

// Evaluate implements Evaluator.
func (e *RuntimeEvaluator) Evaluate(image []float32, shape []int) (map[string][]float32, map[string][]int, error) {
	out, err := e.session.Run(map[string]ort.Tensor{e.session.Inputs()[0].Name: ort.New(image, shape...)})
	if err != nil {
		return nil, nil, err
	}
	values, shapes := map[string][]float32{}, map[string][]int{}
	for name, t := range out {
		if data, ok := t.Data.([]float32); ok {
			values[name], shapes[name] = data, t.Shape
		}
	}
	return values, shapes, nil
}

// Close frees the graph.
func (e *RuntimeEvaluator) Close() error { return e.session.Close() }
