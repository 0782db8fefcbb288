package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Loss is one entry of TRAIN.losses.
type Loss struct {
	Name   string  // one of LossNames
	Weight float64 // in the sum of the losses
	// ClassWeights of cross_entropy, one a class; Balanced says that they come
	// from how often the classes occur in the training set.
	ClassWeights   []float64
	Balanced       bool
	LabelSmoothing float64   // of cross_entropy, 0..1
	Threshold      float64   // of ohem: pixels count whose label's probability is below
	MinKept        int       // of ohem: pixels of a batch that count at least, the hardest
	Smooth         float64   // of dice: added to both sides of the quotient
	Gamma          float64   // of focal
	Alpha          []float64 // of focal: one number for all classes, or one a class
}

// lossSetting is one key of an entry of TRAIN.losses.
type lossSetting struct {
	key    string
	set    func(l *Loss, v value) error
	format func(l *Loss) string
}

func number(key string, field func(l *Loss) *float64) lossSetting {
	return lossSetting{key, func(l *Loss, v value) error { return one(v, parseFloat, field(l)) },
		func(l *Loss) string { return formatFloat(*field(l)) }}
}

func numbers(key string, field func(l *Loss) *[]float64) lossSetting {
	return lossSetting{key, func(l *Loss, v value) error { return each(v, parseFloat, field(l)) },
		func(l *Loss) string { return list(*field(l), formatFloat) }}
}

const balanced = "balanced"

var classWeights = lossSetting{"class_weights",
	func(l *Loss, v value) error {
		l.Balanced, l.ClassWeights = false, []float64{}
		if !v.many && strings.TrimSpace(v.text) == balanced {
			l.Balanced = true
			return nil
		}
		if err := each(v, parseFloat, &l.ClassWeights); err != nil {
			return fmt.Errorf("%w; give one number a class, or %s", err, balanced)
		}
		return nil
	},
	func(l *Loss) string {
		if l.Balanced {
			return balanced
		}
		return list(l.ClassWeights, formatFloat)
	}}

// lossKinds lists the losses with their defaults and settings.
var lossKinds = []struct {
	Loss
	settings []lossSetting
}{
	{Loss{Name: "cross_entropy", ClassWeights: []float64{}}, []lossSetting{classWeights, number("label_smoothing", func(l *Loss) *float64 { return &l.LabelSmoothing })}},
	{Loss{Name: "ohem", Threshold: 0.7, MinKept: 1000}, []lossSetting{
		number("threshold", func(l *Loss) *float64 { return &l.Threshold }),
		{"min_kept", func(l *Loss, v value) error { return one(v, parseInt, &l.MinKept) }, func(l *Loss) string { return fmt.Sprint(l.MinKept) }},
	}},
	{Loss{Name: "dice", Smooth: 1}, []lossSetting{number("smooth", func(l *Loss) *float64 { return &l.Smooth })}},
	{Loss{Name: "focal", Gamma: 2, Alpha: []float64{}}, []lossSetting{number("gamma", func(l *Loss) *float64 { return &l.Gamma }),
		numbers("alpha", func(l *Loss) *[]float64 { return &l.Alpha })}},
	{Loss{Name: "lovasz"}, nil},
}

// LossNames lists the losses that TRAIN.losses takes.
func LossNames() []string {
	names := make([]string, len(lossKinds))
	for i, k := range lossKinds {
		names[i] = k.Name
	}
	return names
}

// NewLoss returns a loss of weight 1 with its defaults.
func NewLoss(name string) (l Loss, ok bool) {
	for _, k := range lossKinds {
		if k.Name == name {
			l = k.Loss
			l.Weight = 1
			return l, true
		}
	}
	return l, false
}

// settingsOf returns the keys of a loss behind name and weight.
func settingsOf(name string) []lossSetting {
	for _, k := range lossKinds {
		if k.Name == name {
			return k.settings
		}
	}
	return nil
}

const lossExample = "[{name: cross_entropy, weight: 1}, {name: dice, weight: 0.5}]"

// parseLosses reads TRAIN.losses, from a file's node or a command line's text.
func parseLosses(v value) ([]Loss, error) {
	n := v.node
	if n == nil {
		var doc yaml.Node
		if err := decodeSafely(yaml.NewDecoder(strings.NewReader(v.text)), &doc); err != nil || len(doc.Content) != 1 {
			if strings.TrimSpace(v.text) == "" {
				return []Loss{}, nil
			}
			return nil, fmt.Errorf("want a list such as %s, found %q", lossExample, shorten(v.text))
		}
		n = doc.Content[0]
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return []Loss{}, nil
	}
	if n.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("want a list such as %s, found %s", lossExample, kindName(n))
	}
	losses := make([]Loss, 0, len(n.Content))
	for i, e := range n.Content {
		l, err := parseLoss(e)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		losses = append(losses, l)
	}
	return losses, nil
}

func parseLoss(n *yaml.Node) (Loss, error) {
	if n.Kind != yaml.MappingNode {
		return Loss{}, fmt.Errorf("want a mapping such as {name: dice, weight: 0.5}, found %s", kindName(n))
	}
	name := ""
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "name" {
			name = n.Content[i+1].Value
		}
	}
	l, ok := NewLoss(name)
	if !ok {
		return l, fmt.Errorf("name %q is not one of %s", shorten(name), strings.Join(LossNames(), ", "))
	}
	settings := append([]lossSetting{number("weight", func(l *Loss) *float64 { return &l.Weight })}, settingsOf(name)...)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if seen[key] {
			return l, fmt.Errorf("%s: %s is set twice", name, shorten(key))
		}
		if seen[key] = true; key == "name" {
			continue
		}
		at := slices.IndexFunc(settings, func(s lossSetting) bool { return s.key == key })
		if at < 0 {
			known := make([]string, len(settings))
			for i, s := range settings {
				known[i] = s.key
			}
			return l, fmt.Errorf("%s has no setting %q; it takes %s", name, shorten(key), strings.Join(known, ", "))
		}
		v, err := fromNode(n.Content[i+1])
		if err == nil {
			err = settings[at].set(&l, v)
		}
		if err != nil {
			return l, fmt.Errorf("%s: %s: %w", name, key, err)
		}
	}
	return l, nil
}

// formatLosses writes what parseLosses reads, on one line.
func formatLosses(losses []Loss) string {
	return list(losses, func(l Loss) string {
		text := "{name: " + l.Name + ", weight: " + formatFloat(l.Weight)
		for _, s := range settingsOf(l.Name) {
			text += ", " + s.key + ": " + s.format(&l)
		}
		return text + "}"
	})
}

// faults lists what is wrong with a loss for a number of classes.
func (l *Loss) faults(classes int) []string {
	var out []string
	within := func(key string, v, low, high float64) {
		if !(v >= low && v <= high) {
			out = append(out, fmt.Sprintf("%s: %s %g is outside %g..%g", l.Name, key, v, low, high))
		}
	}
	perClass := func(key string, v []float64, one bool) {
		if len(v) != 0 && len(v) != classes && !(one && len(v) == 1) {
			out = append(out, fmt.Sprintf("%s: %s has %d numbers for DATASET.num_class %d", l.Name, key, len(v), classes))
		}
		for _, x := range v {
			within(key, x, 0, 1e6)
		}
		if len(v) > 0 && slices.Max(v) == 0 {
			out = append(out, fmt.Sprintf("%s: %s is 0 for every class", l.Name, key))
		}
	}
	if !(l.Weight > 0 && l.Weight <= 1e6) {
		out = append(out, fmt.Sprintf("%s: weight %g is outside 0 < weight <= 1e6", l.Name, l.Weight))
	}
	perClass("class_weights", l.ClassWeights, false)
	perClass("alpha", l.Alpha, true)
	within("label_smoothing", l.LabelSmoothing, 0, 1)
	within("threshold", l.Threshold, 0, 1)
	within("min_kept", float64(l.MinKept), 0, 1<<31)
	within("smooth", l.Smooth, 0, 1e6)
	within("gamma", l.Gamma, 0, 100)
	return out
}
