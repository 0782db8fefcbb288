package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
	"github.com/graft-onnx/graft/train/config"
)

func TestClassesOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "classes.txt")
	if err := os.WriteFile(file, []byte("sky\nroad\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	named := models.NamedClasses("car", "tree")
	m := &onnx.Model{ModelProto: &pb.ModelProto{}, Path: "m.onnx"}
	if err := models.SetClasses(m, named); err != nil {
		t.Fatal(err)
	}
	fromZero := models.NamedClasses("sky", "road")
	fromZero[0].Label, fromZero[1].Label = 0, 1
	for name, tc := range map[string]struct {
		file     string
		n, shift int
		want     models.Classes
	}{
		"the configuration's file": {file, 2, 1, models.NamedClasses("sky", "road")},
		"labels from 0":            {file, 2, 0, fromZero},
		"the model's own":          {"", 2, 1, named},
		"another number":           {"", 3, 0, models.NumberedClasses(3, 0)},
	} {
		cfg := config.Default()
		cfg.Dataset.Classes, cfg.Dataset.NumClass, cfg.Dataset.LabelShift = tc.file, tc.n, tc.shift
		if got, err := ClassesOf(cfg, m); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tc.want)
		}
	}
	cfg := config.Default()
	cfg.Dataset.Classes, cfg.Dataset.NumClass = file, 3
	var ce *models.ClassesError
	if _, err := ClassesOf(cfg, m); !errors.As(err, &ce) || ce.File != file {
		t.Errorf("two names for three classes: %v", err)
	}
	m.SetMetadata(onnx.ClassesKey, "{")
	cfg.Dataset.Classes = ""
	if _, err := ClassesOf(cfg, m); !errors.As(err, &ce) || ce.File != "m.onnx" {
		t.Errorf("damaged metadata: %v", err)
	}
}

// The class list of the data set travels with the model from its first step on.
func TestInitialModelCarriesTheClasses(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	files := filepath.Join(cfg.Dataset.RootDataset, "classes.csv")
	cfg.Dataset.Classes = files
	m, err := InitialModel(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want, err := models.LoadClasses(files)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := models.ClassesOf(m); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	cfg.Dataset.Classes = filepath.Join(cfg.Dir, "none.csv")
	if _, err := Run(context.Background(), Options{Config: cfg, Devices: []kernel.Device{nativeDevice(t)}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing class list: %v", err)
	}
}
