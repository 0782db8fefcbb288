package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contents maps the names of a folder's files to what is in them.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		all[e.Name()] = read(t, filepath.Join(dir, e.Name()))
	}
	return all
}

// eval and predict say and write the same on several devices of a thread each as
// on one.
func TestSeveralDevices(t *testing.T) {
	f := fixtures(t)
	t.Chdir(t.TempDir()) // what is printed names the folders
	var said string
	var wrote []map[string]string
	for _, devices := range []string{"--threads=1", "--devices=cpu:0 --threads=1", "--devices=cpu:0,cpu:1 --threads=2", "--devices=cpu:0,cpu:1,cpu:2 --threads=3"} {
		on := strings.Fields(devices)
		out := ok(t, append([]string{"eval"}, append(on, "--cfg", f.config, "--visualize", "pictures", "--tables", "tables", "--force", "VAL.flip", "True", "DATASET.imgSizes", "(48, 64)")...)...).out +
			ok(t, append([]string{"predict"}, append(on, f.checkpoint, f.images, f.picture, "-o", "out", "--sizes", "48,96", "--window", "64", "--force")...)...).out
		files := []map[string]string{contents(t, "pictures"), contents(t, "tables"), contents(t, "out")}
		if said == "" {
			said, wrote = out, files
			if len(wrote[0]) != 3 || len(wrote[1]) != 3 || len(wrote[2]) != 12 {
				t.Fatalf("%d pictures, %d tables, %d results", len(wrote[0]), len(wrote[1]), len(wrote[2]))
			}
			continue
		}
		if out != said {
			t.Errorf("%s: printed\n%s\nwant\n%s", devices, out, said)
		}
		for i, folder := range files {
			for name, content := range wrote[i] {
				if folder[name] != content {
					t.Errorf("%s: %s differs", devices, name)
				}
			}
		}
	}
}
