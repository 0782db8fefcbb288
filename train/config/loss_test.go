package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestLosses(t *testing.T) {
	crossEntropy, _ := NewLoss("cross_entropy")
	smoothed := crossEntropy
	smoothed.LabelSmoothing, smoothed.ClassWeights = 0.1, []float64{1, 2, 0.5}
	weighed := crossEntropy
	weighed.Balanced, weighed.Weight = true, 2
	dice, _ := NewLoss("dice")
	half := dice
	half.Weight = 0.5
	ohem, _ := NewLoss("ohem")
	ohem.Threshold, ohem.MinKept = 0.9, 500
	focal, _ := NewLoss("focal")
	focal.Gamma, focal.Alpha = 1.5, []float64{0.25}
	lovasz, _ := NewLoss("lovasz")
	for text, want := range map[string][]Loss{
		"":                          {},
		"[]":                        {},
		"[{name: cross_entropy}]":   {crossEntropy},
		"[{name: dice, smooth: 1}]": {dice},
		"[{name: cross_entropy, class_weights: [1, 2, 0.5], label_smoothing: 0.1}, {name: dice, weight: 0.5}]": {smoothed, half},
		"[{name: cross_entropy, class_weights: balanced, weight: 2}]":                                          {weighed},
		"[{weight: 1, name: ohem, threshold: 0.9, min_kept: 500}]":                                             {ohem},
		"[{name: focal, gamma: 1.5, alpha: 0.25}, {name: lovasz}]":                                             {focal, lovasz},
	} {
		file, err := Parse([]byte("DATASET:\n  num_class: 3\nTRAIN:\n  losses: "+text+"\n"), "a.yaml")
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		line, err := Parse([]byte("DATASET:\n  num_class: 3\n"), "a.yaml", "TRAIN.losses", text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(file.Train.Losses, want) || !reflect.DeepEqual(line.Train.Losses, want) {
			t.Errorf("%q: file %+v, command line %+v, want %+v", text, file.Train.Losses, line.Train.Losses, want)
		}
		if back, err := Parse(file.YAML(), "b.yaml"); err != nil || !same(back, file) {
			t.Errorf("%q: written as %s, read: %v", text, formatLosses(file.Train.Losses), err)
		}
	}
	block, err := Parse([]byte("DATASET:\n  num_class: 3\nTRAIN:\n  losses:\n    - name: dice\n      weight: 0.5\n    - name: lovasz\n"), "a.yaml")
	if err != nil || !reflect.DeepEqual(block.Train.Losses, []Loss{half, lovasz}) {
		t.Errorf("block form: %v, %v", block, err)
	}
}

func TestLossesRefused(t *testing.T) {
	for text, want := range map[string]string{
		"dice":                                              "want a list such as",
		"[1, 2]":                                            `entry 1: want a mapping such as {name: dice, weight: 0.5}, found "1"`,
		"[[1]]":                                             "found a list",
		"{name: dice}":                                      "want a",
		"[{weight: 1}]":                                     `name "" is not one of cross_entropy, ohem, dice, focal, lovasz`,
		"[{name: Dice}]":                                    `name "Dice" is not one of`,
		"[{name: dice, gamma: 2}]":                          `entry 1: dice has no setting "gamma"; it takes weight, smooth`,
		"[{name: dice, weight: x}]":                         `dice: weight: want a number, found "x"`,
		"[{name: dice, weight: 0}]":                         "dice: weight 0 is outside",
		"[{name: dice, smooth: -1}]":                        "dice: smooth -1 is outside",
		"[{name: dice, weight: 1, weight: 2}]":              "dice: weight is set twice",
		"[{name: dice, weight: [1, 2]}]":                    "want one value, found a list",
		"[{name: dice, weight: {a: 1}}]":                    "want a value, found a mapping",
		"[{name: lovasz}, {name: focal, gamma: -1}]":        "focal: gamma -1 is outside 0..100",
		"[{name: focal, alpha: [1, 2]}]":                    "focal: alpha has 2 numbers for DATASET.num_class 3",
		"[{name: ohem, threshold: 1.5}]":                    "ohem: threshold 1.5 is outside 0..1",
		"[{name: ohem, min_kept: 2.5}]":                     "want a whole number",
		"[{name: cross_entropy, class_weights: even}]":      "give one number a class, or balanced",
		"[{name: cross_entropy, class_weights: [1, 2]}]":    "class_weights has 2 numbers for DATASET.num_class 3",
		"[{name: cross_entropy, class_weights: [0, 0, 0]}]": "class_weights is 0 for every class",
		"[{name: cross_entropy, label_smoothing: 2}]":       "label_smoothing 2 is outside 0..1",
	} {
		_, file := Parse([]byte("DATASET:\n  num_class: 3\nTRAIN:\n  losses: "+text+"\n"), "a.yaml")
		_, line := Parse([]byte("DATASET:\n  num_class: 3\n"), "a.yaml", "TRAIN.losses", text)
		for from, err := range map[string]error{"a.yaml:4: TRAIN.losses: ": file, "command line: TRAIN.losses: ": line} {
			var e *Error
			if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), from) || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %s...%s", text, err, from, want)
			}
		}
	}
}

func TestSchedulesRefused(t *testing.T) {
	for _, tc := range []struct {
		overrides []string
		key       string
	}{
		{[]string{"TRAIN.schedule", "linear"}, "TRAIN.schedule"},
		{[]string{"TRAIN.schedule", "step"}, "TRAIN.milestones"},
		{[]string{"TRAIN.milestones", "(3,)"}, "TRAIN.milestones"},
		{[]string{"TRAIN.schedule", "step", "TRAIN.milestones", "(3, 3)"}, "TRAIN.milestones"},
		{[]string{"TRAIN.schedule", "step", "TRAIN.milestones", "(0, 3)"}, "TRAIN.milestones"},
		{[]string{"TRAIN.lr_gamma", "0"}, "TRAIN.lr_gamma"},
		{[]string{"TRAIN.lr_min", "0.001"}, "TRAIN.lr_min"},
		{[]string{"TRAIN.schedule", "cosine", "TRAIN.lr_min", "0.5"}, "TRAIN.lr_min"},
		{[]string{"TRAIN.warmup_iters", "-1"}, "TRAIN.warmup_iters"},
		{[]string{"TRAIN.warmup_iters", "100001"}, "TRAIN.warmup_iters"},
		{[]string{"TRAIN.warmup_factor", "0"}, "TRAIN.warmup_factor"},
	} {
		_, err := Parse(nil, "", tc.overrides...)
		var e *Error
		if !errors.As(err, &e) || e.Key != tc.key {
			t.Errorf("%v: %v, want an error of %s", tc.overrides, err, tc.key)
		}
	}
	if _, err := Parse(nil, "", "TRAIN.schedule", "step", "TRAIN.milestones", "(3, 7)", "TRAIN.warmup_iters", "100"); err != nil {
		t.Error(err)
	}
}
