package models_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

func TestPresetsCanBeBuilt(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range models.Presets() {
		if seen[p.Name] {
			t.Errorf("two presets are called %s", p.Name)
		}
		seen[p.Name] = true
		if found, err := models.FindPreset(strings.ToUpper(p.Name)); err != nil || found.Name != p.Name {
			t.Errorf("FindPreset of %s: %q, %v", p.Name, found.Name, err)
		}
		if p.Padding%p.LabelStride != 0 {
			t.Errorf("%s: padding %d is no multiple of the label stride %d", p.Name, p.Padding, p.LabelStride)
		}
		spec := p.Spec()
		spec.Width = 16
		m := build(t, spec)
		// The decoder's first convolution reads the features.
		for _, name := range []string{"decoder.cbr.0.weight", "decoder.ppm.0.1.weight", "decoder.ppm_conv.0.0.weight"} {
			if w := m.Initializer(name); w != nil && int(w.Dims[1]) != p.FeatureChannels/16 {
				t.Errorf("%s: %s reads %d channels, want %d/16", p.Name, name, w.Dims[1], p.FeatureChannels)
			}
		}
		// Labels lie on the network's output.
		_, shapes, err := onnx.Specialize(m, map[string][]int{models.InputName: {1, 3, 2 * p.Padding, 3 * p.Padding}})
		if err != nil {
			t.Fatal(err)
		}
		want := []int{1, p.Classes, 2 * p.Padding / p.LabelStride, 3 * p.Padding / p.LabelStride}
		if got := shapes[models.OutputName]; !slices.Equal(got, want) {
			t.Errorf("%s: the output is %v, want %v", p.Name, got, want)
		}
	}
}

func TestUnknownPreset(t *testing.T) {
	_, err := models.FindPreset("ade21k")
	var e *models.SpecError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "known are ade20k-mobilenetv2dilated-c1_deepsup, ") {
		t.Errorf("error %v does not list the presets", err)
	}
}
