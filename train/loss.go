package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// lossTerms is TRAIN.losses as a Plan wants it.
func lossTerms(cfg *config.Config) ([]graph.LossTerm, error) {
	var terms []graph.LossTerm
	for _, l := range cfg.Train.Losses {
		var loss kernel.Loss
		switch l.Name {
		case "cross_entropy":
			if l.Balanced && len(l.ClassWeights) == 0 {
				return nil, fmt.Errorf("TRAIN.losses: the balanced class weights of cross_entropy are not known; Balance counts the classes")
			}
			loss = kernel.CrossEntropy{Weights: singles(l.ClassWeights), Smoothing: float32(l.LabelSmoothing)}
		case "ohem":
			loss = kernel.OHEM{Threshold: float32(l.Threshold), MinKept: l.MinKept}
		case "dice":
			loss = kernel.Dice{Smooth: float32(l.Smooth)}
		case "focal":
			alpha := singles(l.Alpha)
			if len(alpha) == 1 {
				alpha = slices.Repeat(alpha, cfg.Dataset.NumClass)
			}
			loss = kernel.Focal{Gamma: float32(l.Gamma), Alpha: alpha}
		case "lovasz":
			loss = kernel.Lovasz{}
		default:
			return nil, fmt.Errorf("TRAIN.losses: no loss %q", l.Name)
		}
		terms = append(terms, graph.LossTerm{Weight: float32(l.Weight), Loss: loss})
	}
	return terms, nil
}

// Balance returns a configuration whose balanced class weights are filled in
// from the masks of the training set; without any it is the same one.
func Balance(ctx context.Context, cfg *config.Config, set *data.Set) (*config.Config, error) {
	if !slices.ContainsFunc(cfg.Train.Losses, func(l config.Loss) bool { return l.Balanced }) {
		return cfg, nil
	}
	frequencies, err := data.Frequencies(ctx, set, data.OptionsFrom(cfg))
	if err != nil {
		return nil, err
	}
	if slices.Max(frequencies) == 0 {
		return nil, fmt.Errorf("TRAIN.losses: %s has no labelled pixel to balance classes by; %s", set.Name, labelRemedy)
	}
	weights := medianWeights(frequencies)
	filled := *cfg
	filled.Train.Losses = slices.Clone(cfg.Train.Losses)
	for i := range filled.Train.Losses {
		if l := &filled.Train.Losses[i]; l.Balanced {
			l.ClassWeights = weights
		}
	}
	return &filled, nil
}

// medianWeights is median frequency balancing (Eigen and Fergus, 2015): the
// median of the frequencies of the classes that occur, over a class's own. A
// class that does not occur weighs 1.
func medianWeights(frequencies []float64) []float64 {
	var occurring []float64
	for _, f := range frequencies {
		if f > 0 {
			occurring = append(occurring, f)
		}
	}
	slices.Sort(occurring)
	weights := make([]float64, len(frequencies))
	for c, f := range frequencies {
		weights[c] = 1
		if n := len(occurring); f > 0 {
			weights[c] = (occurring[(n-1)/2] + occurring[n/2]) / 2 / f
		}
	}
	return weights
}

// balancedWeights tells of the weights that Balance filled in, "" if none.
func balancedWeights(cfg *config.Config) string {
	for _, l := range cfg.Train.Losses {
		if l.Balanced && len(l.ClassWeights) > 0 {
			return fmt.Sprintf("balanced class weights: %.3g to %.3g", slices.Min(l.ClassWeights), slices.Max(l.ClassWeights))
		}
	}
	return ""
}
