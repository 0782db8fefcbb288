package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
)

// Environment is what a run was made with.
type Environment struct {
	Command []string          `json:"command"`
	Version string            `json:"version"`
	Device  string            `json:"device"`
	System  string            `json:"system"`
	CPUs    int               `json:"cpus"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"`
}

// environment collects the report of a run.
func environment(o Options) Environment {
	e := Environment{
		Command: o.Command, Version: o.Version, Device: o.Device.String(),
		System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), Go: runtime.Version(),
		Modules: map[string]string{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			e.Modules[m.Path] = m.Version
		}
	}
	return e
}

func writeEnvironment(path string, o Options) error {
	text, err := json.MarshalIndent(environment(o), "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".environment-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	return err
}
