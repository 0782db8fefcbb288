package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Step is one element of DATASET.augment: what is done to a training picture
// and its mask, and with which numbers. Steps are written as
// {name: crop, size: [512, 512], category_max_ratio: 0.75}.
type Step struct {
	Name string
	// Values are the numbers that were given, by parameter; a single number
	// is a list of one.
	Values map[string][]float64
}

// Names of the augmentation steps.
const (
	StepScale  = "scale"
	StepCrop   = "crop"
	StepFlip   = "flip"
	StepRotate = "rotate"
	StepColor  = "color"
	StepBlur   = "blur"
	StepNoise  = "noise"
)

// parameter is one number, or a few, that a step takes.
type parameter struct {
	low, high float64   // what each number must lie in
	most      int       // numbers at most; fewer may be given
	preset    []float64 // where none is given; nil: it must be
	whole     bool      // whole numbers only
}

// probability is a parameter of every step: the share of pictures it is done to.
const probability = "p"

func one01(preset float64) parameter { return parameter{0, 1, 1, []float64{preset}, false} }

// stepParameters is what each step takes.
var stepParameters = map[string]map[string]parameter{
	StepScale: {
		"min": {1e-2, 16, 1, []float64{0.5}, false},
		"max": {1e-2, 16, 1, []float64{2}, false}, probability: one01(1),
	},
	StepCrop: {
		"size":               {1, 1 << 16, 2, nil, true}, // height, width
		"category_max_ratio": one01(1), probability: one01(1),
	},
	StepFlip:   {probability: one01(0.5)},
	StepRotate: {"degrees": {0, 180, 1, nil, false}, probability: one01(1)},
	StepColor: {
		"brightness": one01(0), "contrast": one01(0), "saturation": one01(0),
		"hue": {0, 0.5, 1, []float64{0}, false}, probability: one01(1),
	},
	StepBlur:  {"sigma": {0, 50, 2, nil, false}, probability: one01(1)},
	StepNoise: {"std": {0, 1, 2, nil, false}, probability: one01(1)},
}

// StepNames lists the steps there are.
func StepNames() []string { return slices.Sorted(maps.Keys(stepParameters)) }

// Numbers returns a parameter's numbers: those given, else the preset ones.
func (s Step) Numbers(key string) []float64 {
	if v, given := s.Values[key]; given {
		return v
	}
	return stepParameters[s.Name][key].preset
}

// Number returns the first of a parameter's numbers, 0 where there is none.
func (s Step) Number(key string) float64 {
	if v := s.Numbers(key); len(v) > 0 {
		return v[0]
	}
	return 0
}

// Range returns a parameter's two numbers, which are equal where one is given.
func (s Step) Range(key string) (low, high float64) {
	v := s.Numbers(key)
	if len(v) == 0 {
		return 0, 0
	}
	return v[0], v[len(v)-1]
}

// P is the share of pictures that the step is done to.
func (s Step) P() float64 { return s.Number(probability) }

// check returns the first thing that is wrong with a step, with what to write
// instead.
func (s Step) check() error {
	known, ok := stepParameters[s.Name]
	if !ok {
		return fmt.Errorf("there is no step %q; the steps are %s", shorten(s.Name), strings.Join(StepNames(), ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Values)) {
		p, ok := known[key]
		values := s.Values[key]
		switch {
		case !ok:
			return fmt.Errorf("%s has no %q; it takes %s", s.Name, shorten(key), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case len(values) == 0 || len(values) > p.most:
			return fmt.Errorf("%s: %s wants %s, found %d", s.Name, key, [...]string{1: "one number", 2: "one or two numbers"}[p.most], len(values))
		}
		for _, v := range values {
			switch {
			case !(v >= p.low && v <= p.high):
				return fmt.Errorf("%s: %s %g is outside %g..%g", s.Name, key, v, p.low, p.high)
			case p.whole && v != float64(int(v)):
				return fmt.Errorf("%s: %s %g is not a whole number", s.Name, key, v)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		if s.Numbers(key) == nil {
			return fmt.Errorf("%s: %s is missing", s.Name, key)
		}
	}
	for _, pair := range [][2]string{{"min", "max"}, {"sigma", "sigma"}, {"std", "std"}} {
		if s.Numbers(pair[0]) == nil {
			continue
		}
		low, _ := s.Range(pair[0])
		if _, high := s.Range(pair[1]); low > high {
			return fmt.Errorf("%s: %g to %g is no range; the lower number comes first", s.Name, low, high)
		}
	}
	return nil
}

// String writes a step as YAML, its parameters sorted.
func (s Step) String() string {
	parts := []string{"name: " + s.Name}
	for _, key := range slices.Sorted(maps.Keys(s.Values)) {
		numbers := make([]string, len(s.Values[key]))
		for i, v := range s.Values[key] {
			numbers[i] = formatFloat(v)
		}
		text := strings.Join(numbers, ", ")
		if len(numbers) != 1 {
			text = "[" + text + "]"
		}
		parts = append(parts, key+": "+text)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// parseSteps reads a list of steps from a YAML node; a command line gives its
// text.
func parseSteps(v value) ([]Step, error) {
	node := v.node
	if node == nil {
		if strings.TrimSpace(v.text) == "" {
			return []Step{}, nil
		}
		var doc yaml.Node
		if err := decodeSafely(yaml.NewDecoder(strings.NewReader(v.text)), &doc); err != nil || len(doc.Content) != 1 {
			return nil, fmt.Errorf("want a list such as [{name: flip}, {name: rotate, degrees: 10}], found %q", shorten(v.text))
		}
		node = doc.Content[0]
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return []Step{}, nil
	}
	if node.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("want a list such as [{name: flip}, {name: rotate, degrees: 10}], found %s", kindName(node))
	}
	steps := make([]Step, 0, len(node.Content))
	for i, element := range node.Content {
		s, err := parseStep(element)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func parseStep(n *yaml.Node) (Step, error) {
	s := Step{Values: map[string][]float64{}}
	if n.Kind != yaml.MappingNode {
		return s, fmt.Errorf("want a mapping such as {name: flip}, found %s", kindName(n))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag == "!!merge":
			return s, fmt.Errorf("want a plain key, found %s", kindName(k))
		case seen[k.Value]:
			return s, fmt.Errorf("%q is given twice", shorten(k.Value))
		}
		seen[k.Value] = true
		if k.Value == "name" {
			if v.Kind != yaml.ScalarNode {
				return s, fmt.Errorf("name: want one of %s, found %s", strings.Join(StepNames(), ", "), kindName(v))
			}
			s.Name = v.Value
			continue
		}
		given, err := fromNode(v)
		if err != nil {
			return s, fmt.Errorf("%s: %w", shorten(k.Value), err)
		}
		var numbers []float64
		if err := each(given, parseFloat, &numbers); err != nil {
			return s, fmt.Errorf("%s: %w", shorten(k.Value), err)
		}
		s.Values[k.Value] = numbers
	}
	if !seen["name"] {
		return s, errors.New("name is missing")
	}
	return s, nil
}

// formatSteps writes a list of steps as YAML.
func formatSteps(steps []Step) string {
	parts := make([]string, len(steps))
	for i, s := range steps {
		parts[i] = s.String()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// HasStep reports whether an augmentation step of that name is in the list.
func (d *Dataset) HasStep(name string) bool {
	return slices.ContainsFunc(d.Augment, func(s Step) bool { return s.Name == name })
}
