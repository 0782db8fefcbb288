package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine describes what the figures are of: processor, system, Go.
func machine() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		info = nil // not Linux: the architecture must do
	}
	return fmt.Sprintf("%s, %d processors, %s/%s, %s", processor(string(info)), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// processor reads the model and family of the first processor of
// /proc/cpuinfo; virtual machines often hide the model's name alone.
func processor(info string) string {
	fact := map[string]string{}
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); fact[key] == "" {
			fact[key] = strings.TrimSpace(value)
		}
	}
	if fact["model name"] == "" {
		return "processor unknown"
	}
	if fact["cpu family"] == "" {
		return fact["model name"]
	}
	return fmt.Sprintf("%s (family %s, model %s)", fact["model name"], fact["cpu family"], fact["model"])
}
