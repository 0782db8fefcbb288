package onednn

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/internal/dl"
)

func TestLoad(t *testing.T) {
	t.Setenv(EnvLibrary, "")
	version, path, err := Available()
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	t.Logf("oneDNN %v, %s", version, path)
	if version.Major != 2 && version.Major != 3 {
		t.Errorf("version %v", version)
	}
	t.Setenv(EnvLibrary, path)
	again, _, err := Available()
	if err != nil || again != version {
		t.Errorf("by its name: %v, %v", again, err)
	}
}

func TestLoadFails(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "libdnnl.so.text")
	if err := os.WriteFile(text, []byte("not a library"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, asked, says string }{
		{"missing", filepath.Join(dir, "libdnnl.so.9"), "libdnnl.so.9"},
		{"not a library", text, "libdnnl.so.text"},
		{"off", "off", EnvLibrary + "=off"},
	}
	if dl.Possible && runtime.GOOS == "linux" {
		tests = append(tests, struct{ name, asked, says string }{"another library", "libm.so.6", "dnnl_version"})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(EnvLibrary, test.asked)
			d, err := New(1)
			var load *LoadError
			if !errors.As(err, &load) {
				t.Fatalf("New: %v, %v; want a *LoadError", d, err)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q does not say %q", err, test.says)
			}
			if hint := strings.Contains(err.Error(), InstallHint()); hint != (test.asked != "off") {
				t.Errorf("%q: hint %v", err, hint)
			}
		})
	}
}
