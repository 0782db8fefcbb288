package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/graft-onnx/graft/train/data"
)

// resultNames returns a file name without extension for the results of every
// record. Folders become part of the name, since two may hold pictures of one
// name; pictures that differ in their extension alone keep it; what is still
// the same, letters' case aside, gets a number.
func resultNames(records []data.Record) []string {
	stems := map[string]int{}
	for _, r := range records {
		stems[strings.ToLower(flatName(r.Name, false))]++
	}
	names := make([]string, len(records))
	taken := map[string]bool{}
	for i, r := range records {
		base := flatName(r.Name, stems[strings.ToLower(flatName(r.Name, false))] > 1)
		name := base
		for n := 2; taken[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s_%d", base, n)
		}
		taken[strings.ToLower(name)] = true
		names[i] = name
	}
	return names
}

// flatName makes one file name of a record's name.
func flatName(record string, extension bool) string {
	ext := filepath.Ext(record)
	name := strings.TrimSuffix(record, ext)
	name = strings.TrimLeft(filepath.ToSlash(name), "./")
	if extension {
		name += "_" + strings.TrimPrefix(ext, ".")
	}
	return strings.NewReplacer("/", "_", ":", "_").Replace(name)
}

// makeFolder makes the folder for results, once it is clear that none of them
// is there yet.
func makeFolder(dir string, names []string, endings []string, force bool) error {
	for _, name := range names {
		for _, end := range endings {
			path := filepath.Join(dir, name+end)
			if _, err := os.Stat(path); err == nil && !force {
				return fmt.Errorf("%s exists; --force replaces it", path)
			}
		}
	}
	return os.MkdirAll(dir, 0o755)
}
