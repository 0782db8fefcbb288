package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
)

// deviceFlags choose where a command computes.
type deviceFlags struct {
	Device  string `group:"device" help:"Where to compute: auto, native or onednn. Without it: GRAFT_DEVICE, then auto." placeholder:"NAME" predictor:"device"`
	Threads int    `group:"device" help:"Threads of the device; 0 for all processors." placeholder:"N"`
}

// devicesFlags are deviceFlags of a command that computes on several at once.
type devicesFlags struct {
	deviceFlags
	Devices []string `group:"device" help:"Hold the model on each of these, to share the work: cpu:0,cpu:1 and so on, which share the threads evenly. Without it: TRAIN.devices of the configuration." placeholder:"cpu:N"`
}

// names returns the devices that --devices names, else those of a configuration.
func (f devicesFlags) names(configured []string) ([]string, error) {
	if len(f.Devices) == 0 {
		return configured, nil
	}
	if err := config.CheckDevices(f.Devices); err != nil {
		return nil, usage("--devices: %v", err)
	}
	return f.Devices, nil
}

// maxThreads bounds --threads: OpenMP crashes where it cannot start them all.
const maxThreads = 1024

// open opens the device, and says on w how to get a faster one.
func (f deviceFlags) open(w io.Writer) (kernel.Device, error) {
	if f.Threads < 0 || f.Threads > maxThreads {
		return nil, usage("--threads is %d; give 0 to %d", f.Threads, maxThreads)
	}
	dev, err := device.OpenThreads(f.Device, f.Threads)
	if err != nil {
		var unknown *device.UnknownError
		if errors.As(err, &unknown) && unknown.From == "--device" && f.Device != "" {
			return nil, usage("%v", err)
		}
		return nil, err
	}
	if line := device.Advice(dev); line != "" {
		fmt.Fprintln(w, line)
	}
	return dev, nil
}

// openAll opens one device, or several that share the threads evenly.
func (f deviceFlags) openAll(w io.Writer, several []string) ([]kernel.Device, error) {
	if n := len(several); n > 1 {
		total := f.Threads
		if total == 0 {
			total = runtime.GOMAXPROCS(0)
		}
		if total > 0 && total < n {
			return nil, usage("%d devices share %d threads; name at most %d with --devices, or set --threads", n, total, total)
		}
		f.Threads = total / n
	}
	devices := []kernel.Device{}
	for range max(1, len(several)) {
		dev, err := f.open(w)
		if err != nil {
			closeAll(devices)
			return nil, err
		}
		devices, w = append(devices, dev), io.Discard // it says the same of each
	}
	return devices, nil
}

func closeAll(devices []kernel.Device) {
	for _, dev := range devices {
		dev.Close()
	}
}

// or takes a configuration's device where neither the flag nor GRAFT_DEVICE
// names one.
func (f deviceFlags) or(cfg *config.Config) deviceFlags {
	if f.Device == "" && os.Getenv(device.EnvDevice) == "" {
		f.Device = cfg.Train.Device
	}
	return f
}

// given is the value of a flag without a default, "" where it is not given.
func given(flag *string) string {
	if flag == nil {
		return ""
	}
	return *flag
}

// jsonFlag chooses the form of the result.
type jsonFlag struct {
	JSON bool `name:"json" help:"Write the result as JSON."`
}

// result writes a command's result: v as JSON, or text.
func (f jsonFlag) result(w io.Writer, v any, text func(io.Writer) error) error {
	if !f.JSON {
		return text(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// configFlags read a configuration.
type configFlags struct {
	Cfg       string    `help:"Configuration in YAML, as the reference project's." placeholder:"FILE" required:"" predictor:"yaml"`
	Overrides overrides `arg:"" optional:"" name:"KEY VALUE ..." help:"Settings that replace the file's, such as TRAIN.num_epoch 10."`
}

func (f configFlags) load() (*config.Config, error) {
	return config.Load(f.Cfg, f.Overrides...)
}

// checkpointOf returns the file to evaluate: the one named by --model, or the
// run's that a key of the configuration names. What the reference project calls
// epoch_N.pth is the run's last, as is said on w.
func checkpointOf(cfg *config.Config, named, key, value string, w io.Writer) (string, error) {
	if named != "" {
		return named, nil
	}
	last := filepath.Join(cfg.Dir, train.CheckpointFile)
	path := value
	if !filepath.IsAbs(value) {
		path = filepath.Join(cfg.Dir, value)
	}
	if value == "" || filepath.Ext(value) == ".pth" {
		path = last
	}
	_, err := os.Stat(path)
	switch {
	case !errors.Is(err, os.ErrNotExist): // reading will tell of other errors
	case path == last:
		return "", fmt.Errorf("%s: no checkpoint yet; train first, or name a model with --model", path)
	default:
		return "", fmt.Errorf("%s: %s: no such file; a run has %s, its last, and %s", key, path, train.CheckpointFile, train.BestFile)
	}
	if filepath.Ext(value) == ".pth" {
		fmt.Fprintf(w, "%s %s: graft keeps the last checkpoint and %s, not one an epoch; this is of %s\n", key, value, train.BestFile, path)
	}
	return path, nil
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
	if path == "" {
		return usage("-o is empty; name a file")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil: // absent, or writing will tell
		return nil
	case info.IsDir():
		return fmt.Errorf("%s is a folder; name a file with -o", path)
	case !force:
		return fmt.Errorf("%s exists; --force replaces it, -o names another file", path)
	}
	return nil
}

// isFile reports whether path is there and no folder.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
