package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
)

// deviceFlags choose where a command computes.
type deviceFlags struct {
	Device  string `help:"Where to compute: auto, native or onednn. Without it: GRAFT_DEVICE, then auto." placeholder:"NAME"`
	Threads int    `help:"Threads of the device; 0 for all processors." placeholder:"N"`
}

// open opens the device, and says on w how to get a faster one.
func (f deviceFlags) open(w io.Writer) (kernel.Device, error) {
	if f.Threads < 0 {
		return nil, usage("--threads is %d; give 0 or more", f.Threads)
	}
	dev, err := device.OpenThreads(f.Device, f.Threads)
	if err != nil {
		return nil, err
	}
	if line := device.Advice(dev); line != "" {
		fmt.Fprintln(w, line)
	}
	return dev, nil
}

// configFlags read a configuration.
type configFlags struct {
	Cfg       string   `help:"Configuration in YAML, as the reference project's." placeholder:"FILE" required:"" type:"path"`
	Overrides []string `arg:"" optional:"" name:"KEY VALUE" help:"Settings that replace the file's, such as TRAIN.num_epoch 10."`
}

func (f configFlags) load() (*config.Config, error) {
	if len(f.Overrides)%2 != 0 {
		return nil, usage("%d words after the options; overrides are pairs of KEY and VALUE, such as TRAIN.num_epoch 10", len(f.Overrides))
	}
	return config.Load(f.Cfg, f.Overrides...)
}

// checkpointOf returns the file to evaluate: the one named, or the run's own.
func checkpointOf(cfg *config.Config, named string) string {
	if named != "" {
		return named
	}
	return filepath.Join(cfg.Dir, train.CheckpointFile)
}

// loadModel reads and checks a model.
func loadModel(path string) (*onnx.Model, error) {
	m, err := onnx.Load(path)
	if err != nil {
		return nil, err
	}
	return m, onnx.Check(m)
}

// refuseExisting protects a file that the user did not ask to replace.
func refuseExisting(path string, force bool) error {
	if _, err := os.Stat(path); err == nil && !force {
		return fmt.Errorf("%s exists; --force replaces it", path)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
