package config

import (
	"strings"
	"testing"

	"github.com/graft-onnx/graft/models"
)

// A preset is the reference's file of the name: these are its keys that differ
// between the presets, in the reference's notation.
func TestPresetsAreTheReferences(t *testing.T) {
	const small, large = "(300, 375, 450, 525, 600)", "(600,)"
	for name, keys := range map[string]string{
		"ade20k-mobilenetv2dilated-c1_deepsup":   "150 " + small + " 1000 8 8 mobilenetv2dilated c1_deepsup 320 3 20",
		"ade20k-resnet18dilated-ppm_deepsup":     "150 " + small + " 1000 8 8 resnet18dilated ppm_deepsup 512 2 20",
		"ade20k-resnet50dilated-ppm_deepsup":     "150 " + small + " 1000 8 8 resnet50dilated ppm_deepsup 2048 2 20",
		"ade20k-resnet101dilated-ppm_deepsup":    "150 " + small + " 1000 8 8 resnet101dilated ppm_deepsup 2048 2 25",
		"ade20k-resnet50-upernet":                "150 " + small + " 1000 32 4 resnet50 upernet 2048 2 30",
		"ade20k-resnet101-upernet":               "150 " + small + " 1000 32 4 resnet101 upernet 2048 2 40",
		"ade20k-hrnetv2-c1":                      "150 " + small + " 1000 32 4 hrnetv2 c1 720 2 30",
		"cityscapes-resnet50dilated-ppm_deepsup": "19 " + large + " 1280 8 8 resnet50dilated ppm_deepsup 2048 2 20",
	} {
		p, err := models.FindPreset(name)
		if err != nil {
			t.Fatal(err)
		}
		pairs := []string{"DIR", "ckpt/" + name}
		values := strings.Fields(strings.ReplaceAll(keys, ", ", ","))
		for i, key := range []string{"DATASET.num_class", "DATASET.imgSizes", "DATASET.imgMaxSize", "DATASET.padding_constant", "DATASET.segm_downsampling_rate",
			"MODEL.arch_encoder", "MODEL.arch_decoder", "MODEL.fc_dim", "TRAIN.batch_size_per_gpu", "TRAIN.num_epoch"} {
			pairs = append(pairs, key, values[i])
		}
		if strings.HasPrefix(name, "cityscapes") {
			pairs = append(pairs, "DATASET.list_train", "./data/cityscapes_train.odgt", "DATASET.list_val", "./data/cityscapes_val.odgt")
		}
		want, err := Parse(nil, "", pairs...)
		if err != nil {
			t.Fatal(err)
		}
		got := FromPreset(p)
		if !same(got, want) {
			t.Errorf("%s: %v", name, Changes(want, got))
		}
		if back, err := Parse(got.YAML(), name); err != nil || !same(back, got) {
			t.Errorf("%s: read back: %v", name, err)
		}
		if told := got.Unused(); told != nil {
			t.Errorf("%s: told %q", name, told)
		}
	}
	if n := len(models.Presets()); n != 8 {
		t.Errorf("%d presets, want the 8 above", n)
	}
}
