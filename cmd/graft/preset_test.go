package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/models"
)

// Every recipe is listed, and what is written for one is a configuration.
func TestPreset(t *testing.T) {
	list := asJSON[[]recipe](t, "preset")
	if len(list) != len(models.PresetNames()) || !strings.Contains(ok(t, "preset").out, "ade20k-hrnetv2-c1") {
		t.Errorf("listed are %v", list)
	}
	file := filepath.Join(t.TempDir(), "city.yaml")
	printed := ok(t, "preset", "Cityscapes-resnet50dilated-ppm_deepsup").out
	ok(t, "preset", "cityscapes-resnet50dilated-ppm_deepsup", "-o", file)
	if read(t, file) != printed || !strings.Contains(printed, "num_class: 19\n") {
		t.Errorf("%s is not what is printed:\n%s", file, printed)
	}
	// It is read; what is missing is the data.
	refused(t, 1, []string{"./data/cityscapes_train.odgt", "no such file"}, "train", "--cfg", file)
	refused(t, 1, []string{"exists", "--force"}, "preset", list[0].Name, "-o", file)
	refused(t, 2, []string{`"ade21k"`, "ade20k-resnet50-upernet"}, "preset", "ade21k")
	refused(t, 2, []string{"-o wants the name"}, "preset", "-o", file)
	refused(t, 2, []string{"--json"}, "preset", list[0].Name, "--json")
}
