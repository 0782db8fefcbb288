package graph

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// addLoss adds the loss and the labels that it wants, and returns its total.
func (b *builder) addLoss(l *Loss) (*op.Node, error) {
	terms := l.Terms
	if len(terms) == 0 {
		terms = []LossTerm{{1, kernel.CrossEntropy{}}}
	}
	weights := make([]float32, len(l.Outputs))
	for i, o := range l.Outputs {
		weights[i] = o.Weight
		v := b.values[o.Name]
		if v == nil {
			return nil, fmt.Errorf("%s: no output %q to take the loss of", b.model.Path, o.Name)
		}
		s := v.Shape()
		if len(s) != 4 {
			return nil, fmt.Errorf("%s: output %q has shape %v; the loss wants log-probabilities (N,C,H,W)", b.model.Path, o.Name, s)
		}
		label := b.addLeaf("label "+o.Name, tensor.Int32, []int{s[0], s[2], s[3]}, leaf{input: LabelInput(o.Name)})
		b.inputs[LabelInput(o.Name)] = label
		made := len(b.graph.AllNodes())
		loss, err := b.addTerms(terms, v, label, l.Ignore)
		if err != nil {
			return nil, fmt.Errorf("loss of output %q: %w", o.Name, err)
		}
		b.attribute(made, "loss of "+o.Name)
		b.losses = append(b.losses, loss)
	}
	total, err := op.WeightedSum(weights, b.losses...)
	if err != nil {
		return nil, err
	}
	b.total = total
	b.origins[total.ID()] = "loss"
	return total, nil
}

// addTerms adds the loss of one output.
func (b *builder) addTerms(terms []LossTerm, logprob, label *op.Node, ignore int32) (*op.Node, error) {
	weights, losses := make([]float32, len(terms)), make([]*op.Node, len(terms))
	for i, t := range terms {
		var err error
		if losses[i], err = op.LossOf(t.Loss, logprob, label, ignore); err != nil {
			return nil, err
		}
		weights[i] = t.Weight
	}
	if b.counts == nil {
		b.counts = losses[0]
	}
	return op.WeightedSum(weights, losses...)
}
