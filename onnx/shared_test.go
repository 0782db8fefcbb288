package onnx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/internal/testutil"
)

// sharedModels lists the .onnx files of the reference material.
func sharedModels(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(testutil.SharedDir(t), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".onnx") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no models found: %v", err)
	}
	return files
}

func TestSharedModelsPassAndComeBack(t *testing.T) {
	for _, path := range sharedModels(t) {
		if filepath.Base(filepath.Dir(path)) == "edge" {
			continue
		}
		t.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), func(t *testing.T) {
			m, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(m); err != nil {
				t.Error(err)
			}
			again := filepath.Join(t.TempDir(), "again.onnx")
			if err := m.Save(again); err != nil {
				t.Fatal(err)
			}
			back, err := Load(again)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(m.ModelProto, back.ModelProto) {
				t.Error("the saved model differs from the loaded one")
			}
			first, err := os.ReadFile(again)
			if err != nil {
				t.Fatal(err)
			}
			if err := back.Save(again); err != nil {
				t.Fatal(err)
			}
			if second, err := os.ReadFile(again); err != nil || string(first) != string(second) {
				t.Errorf("saving twice gives different bytes (%v)", err)
			}
		})
	}
}

func TestEdgeModels(t *testing.T) {
	for name, want := range map[string]struct {
		load, check error
		says        string
	}{
		"selfie_segmentation_sandy.onnx":    {load: ErrNotONNX, says: "a web page"},
		"mobilenetv2_external_missing.onnx": {load: ErrExternalData, says: "missing"},
		"keras2onnx_test_model_0.onnx":      {check: ErrInvalid, says: "not in topological order"},
		"superres_prepost_op18.onnx":        {}, // well formed: its foreign operators are refused by graph
		"bodypix_mnv1_050_s8.onnx":          {}, // well formed: ONNX Runtime alone cannot run it
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Load(testutil.SharedDir(t, "onnx", "edge", name))
			if !errors.Is(err, want.load) {
				t.Fatalf("Load: %v, want %v", err, want.load)
			}
			if err == nil {
				err = Check(m)
				if !errors.Is(err, want.check) {
					t.Fatalf("Check: %v, want %v", err, want.check)
				}
			}
			if err == nil {
				return
			}
			var e *Error
			if !errors.As(err, &e) || filepath.Base(e.File) != name {
				t.Errorf("%#v names no file", err)
			}
			if !strings.Contains(err.Error(), want.says) {
				t.Errorf("%q does not say %q", err, want.says)
			}
		})
	}
}

// The standard's own node tests are valid models of every operator, which the
// table of signatures must agree with.
func TestStandardModelsPass(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(testutil.OnnxTestData(t), "*", "model.onnx"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no models found: %v", err)
	}
	for _, path := range dirs {
		m, err := Load(path)
		if err == nil {
			err = Check(m)
		}
		if err != nil {
			t.Error(err)
		}
	}
}
