package report

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Environment tells what a run ran on: versions and processors, no paths and
// no names of machines or users.
func Environment() []Fact {
	out := []Fact{
		{"Go", runtime.Version()},
		{"system", runtime.GOOS + "/" + runtime.GOARCH},
		{"processors", fmt.Sprintf("%d, of which %d used", runtime.NumCPU(), runtime.GOMAXPROCS(0))},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	if v := info.Main.Version; v != "" {
		out = append(out, Fact{"graft", v})
	}
	revision, changed := "", false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	if revision != "" {
		if changed {
			revision += ", with changes"
		}
		out = append(out, Fact{"revision", revision})
	}
	return out
}
