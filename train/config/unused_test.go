package config

import (
	"strings"
	"testing"
)

// The width of the features follows from the encoder where it is not set; one
// that was set to another value is told of, and so is a folder that is not used.
func TestUnusedKeys(t *testing.T) {
	for file, want := range map[string]struct {
		channels int
		told     string
	}{
		"MODEL: {arch_encoder: mobilenetv2dilated}":                              {320, ""},
		"MODEL: {arch_encoder: hrnetv2, fc_dim: 720}":                            {720, ""},
		"MODEL: {arch_encoder: ResNet18dilated, fc_dim: 2048}":                   {2048, "MODEL.fc_dim 2048 is not used: the last feature map of ResNet18dilated has 512 channels"},
		"MODEL: {arch_encoder: resnet18dilated, fc_dim: 2048, file: my.onnx}":    {2048, ""},
		"TRAIN: {ckpt: old/runs}\nDIR: new":                                      {2048, `TRAIN.ckpt "old/runs" is not used: DIR, "new", is the run folder`},
		"MODEL: {arch_encoder: resnext101, width: 4}\nTRAIN: {ckpt: \"./ckpt\"}": {2048, ""},
	} {
		c, err := Parse([]byte(file), "a.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if c.Model.FcDim != want.channels {
			t.Errorf("%s: fc_dim %d, want %d", file, c.Model.FcDim, want.channels)
		}
		if told := strings.Join(c.Unused(), "\n"); told != want.told {
			t.Errorf("%s: told %q, want %q", file, told, want.told)
		}
		// What a run writes down says the same and tells of nothing.
		again, err := Parse(c.YAML(), "config.yaml")
		if err != nil || !same(again, c) {
			t.Errorf("%s: read back as %v, %v", file, again, err)
		}
	}
}
