package report

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/graft-onnx/graft/internal/atomicfile"
)

// Environment is what a run is made with and on: versions and processors.
// Beside the command line as it was typed it holds no paths, and no names of
// machines or users.
type Environment struct {
	Command    []string          `json:"command"`
	Version    string            `json:"version"`            // graft's
	Revision   string            `json:"revision,omitempty"` // of the source it was built from
	Changed    bool              `json:"changed,omitempty"`  // the source differed from Revision
	Device     string            `json:"device"`
	System     string            `json:"system"` // operating system and architecture
	Processors int               `json:"cpus"`
	Used       int               `json:"cpus_used"` // of them
	Go         string            `json:"go"`
	Modules    map[string]string `json:"modules"` // module path to version
}

// NewEnvironment describes the running program and machine. Command is the
// command line, version graft's own and device what it computes on.
func NewEnvironment(command []string, version, device string) *Environment {
	e := &Environment{
		Command: command, Version: version, Device: device,
		System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU(), Used: runtime.GOMAXPROCS(0),
		Go: runtime.Version(), Modules: map[string]string{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return e
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			e.Revision = s.Value
		case "vcs.modified":
			e.Changed = s.Value == "true"
		}
	}
	for _, m := range info.Deps {
		e.Modules[m.Path] = m.Version
	}
	return e
}

// Facts are the environment's lines in a report; the command and the modules
// are not among them.
func (e *Environment) Facts() []Fact {
	facts := []Fact{
		{"graft", e.Version},
		{"Go", e.Go},
		{"system", e.System},
		{"processors", fmt.Sprintf("%d, of which %d used", e.Processors, e.Used)},
		{"device", e.Device},
	}
	if e.Revision != "" {
		revision := e.Revision
		if e.Changed {
			revision += ", with changes"
		}
		facts = append(facts, Fact{"revision", revision})
	}
	shown := facts[:0]
	for _, f := range facts {
		if f.Value != "" {
			shown = append(shown, f)
		}
	}
	return shown
}

// Save writes the environment as JSON.
func (e *Environment) Save(path string) error {
	text, err := json.MarshalIndent(e, "", "  ")
	if err == nil {
		err = atomicfile.WriteBytes(path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
