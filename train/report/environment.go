package report

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/cpu"

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
	Features   []string          `json:"cpu_features,omitempty"`
	Go         string            `json:"go"`
	Modules    map[string]string `json:"modules"` // module path to version
}

// NewEnvironment describes the running program and machine. Command is the
// command line, version graft's own and device what it computes on.
func NewEnvironment(command []string, version, device string) *Environment {
	e := &Environment{
		Command: command, Version: version, Device: device,
		System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU(), Used: runtime.GOMAXPROCS(0),
		Features: features(), Go: runtime.Version(), Modules: map[string]string{},
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

// features are those of the processor that kernels ask for.
func features() []string {
	var out []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX2", cpu.X86.HasAVX2}, {"FMA", cpu.X86.HasFMA}, {"AVX512F", cpu.X86.HasAVX512F}, {"AVX512BW", cpu.X86.HasAVX512BW},
		{"AVX512VL", cpu.X86.HasAVX512VL}, {"AVX512_BF16", cpu.X86.HasAVX512BF16}, {"AMX_BF16", cpu.X86.HasAMXBF16},
		{"ASIMD", cpu.ARM64.HasASIMD}, {"SVE", cpu.ARM64.HasSVE},
	} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

// Facts are the environment's lines in a report; the command and the modules
// are not among them.
func (e *Environment) Facts() []Fact {
	facts := []Fact{
		{"graft", e.Version},
		{"Go", e.Go},
		{"system", e.System},
		{"processors", fmt.Sprintf("%d, of which %d used", e.Processors, e.Used)},
		{"processor features", strings.Join(e.Features, ", ")},
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

// LoadEnvironment reads what Save wrote.
func LoadEnvironment(path string) (*Environment, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	e := &Environment{}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	return e, nil
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
