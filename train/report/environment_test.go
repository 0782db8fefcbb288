package report

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

func TestEnvironmentHasNoPaths(t *testing.T) {
	home, _ := os.UserHomeDir()
	host, _ := os.Hostname()
	for _, f := range NewEnvironment([]string{"graft"}, "v1.2.3", "native").Facts() {
		if strings.Contains(f.Value, string(filepath.Separator)+"home") || (len(home) > 1 && strings.Contains(f.Value, home)) || (len(host) > 3 && strings.Contains(f.Value, host)) {
			t.Errorf("%s: %s", f.Name, f.Value)
		}
	}
}

func TestEnvironmentFacts(t *testing.T) {
	e := &Environment{Version: "v1", Go: "go1", System: "linux/amd64", Processors: 4, Used: 2, Features: []string{"AVX2", "FMA"}, Revision: "abc", Changed: true}
	want := []Fact{{"graft", "v1"}, {"Go", "go1"}, {"system", "linux/amd64"}, {"processors", "4, of which 2 used"}, {"processor features", "AVX2, FMA"}, {"revision", "abc, with changes"}}
	if got := e.Facts(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestEnvironmentIsSaved(t *testing.T) {
	want := NewEnvironment([]string{"graft", "train"}, "v1", "native")
	path := filepath.Join(t.TempDir(), "environment.json")
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadEnvironment(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	if got.Go != runtime.Version() || got.Device != "native" || got.Processors < 1 {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadEnvironment(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("half a file: %v", err)
	}
	if err := want.Save(filepath.Join(path, "in a file")); err == nil {
		t.Error("saved below a file")
	}
}
