package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestAugmentSteps(t *testing.T) {
	file := `DATASET:
  augment:
    - {name: scale, min: 0.75}
    - name: crop
      size: [512, 640]
      category_max_ratio: 0.75
    - {name: blur, sigma: [0.1, 2], p: 0.5}
    - {name: flip}
`
	c, err := Parse([]byte(file), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{StepScale, map[string][]float64{"min": {0.75}}},
		{StepCrop, map[string][]float64{"size": {512, 640}, "category_max_ratio": {0.75}}},
		{StepBlur, map[string][]float64{"sigma": {0.1, 2}, "p": {0.5}}},
		{StepFlip, map[string][]float64{}},
	}
	if !reflect.DeepEqual(c.Dataset.Augment, want) {
		t.Fatalf("got %v, want %v", c.Dataset.Augment, want)
	}
	s := c.Dataset.Augment[0]
	if low, high := s.Number("min"), s.Number("max"); low != 0.75 || high != 2 || s.P() != 1 {
		t.Errorf("scale %v to %v, p %v", low, high, s.P())
	}
	if p := c.Dataset.Augment[3].P(); p != 0.5 {
		t.Errorf("flip has p %v", p)
	}
	if !c.Dataset.HasStep(StepFlip) || c.Dataset.HasStep(StepNoise) {
		t.Error("HasStep")
	}
	back, err := Parse(c.YAML(), "b.yaml")
	if err != nil || !same(c, back) {
		t.Errorf("read back: %v\n%s", err, c)
	}
	// The same list from a command line, and none.
	line, err := Parse(nil, "", "DATASET.augment", formatSteps(want))
	if err != nil || !reflect.DeepEqual(line.Dataset.Augment, want) {
		t.Errorf("command line: %v, %v", line, err)
	}
	for _, none := range []string{"[]", "", "null"} {
		if err := line.Set("DATASET.augment", none); err != nil || len(line.Dataset.Augment) != 0 {
			t.Errorf("%q: %v, %v", none, line.Dataset.Augment, err)
		}
	}
}

func TestAugmentRefusals(t *testing.T) {
	for list, want := range map[string]string{
		"[{name: zoom}]":                          `no step "zoom"; the steps are blur, color, crop`,
		"[{name: flip}, {name: rotate}]":          "step 2: rotate: degrees is missing",
		"[{name: rotate, degrees: 200}]":          "degrees 200 is outside 0..180",
		"[{name: rotate, angle: 5}]":              `rotate has no "angle"; it takes degrees, p`,
		"[{name: crop, size: [1, 2, 3]}]":         "size wants one or two numbers, found 3",
		"[{name: crop, size: 1.5}]":               "size 1.5 is not a whole number",
		"[{name: crop, size: []}]":                "size wants one or two numbers, found 0",
		"[{name: scale, min: 3}]":                 "3 to 2 is no range",
		"[{name: blur, sigma: [2, 1]}]":           "2 to 1 is no range",
		"[{name: flip, p: [0.5, 1]}]":             "p wants one number, found 2",
		"[{name: flip, p: often}]":                `p: want a number, found "often"`,
		"[{name: flip, p: 1, p: 1}]":              "given twice",
		"[{p: 1}]":                                "step 1: name is missing",
		"[flip]":                                  "want a mapping such as {name: flip}",
		"{name: flip}":                            "want a list such as",
		"flip":                                    "want a list such as",
		"[{name: [flip]}]":                        "name: want one of",
		"[{name: noise, std: {a: 1}}]":            "std: want a value",
		"[{name: color, hue: 0.7, contrast: -1}]": "contrast -1 is outside 0..1",
	} {
		_, err := Parse([]byte("DATASET:\n  augment: "+list+"\n"), "a.yaml")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "a.yaml:2: DATASET.augment: ") {
			t.Errorf("%s: got %v, want %q", list, err, want)
		}
	}
}
