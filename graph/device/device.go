// Package device chooses what computes: it opens a kernel.Device by name, and
// says which ones this machine has and how to get the others.
package device

import (
	"fmt"
	"os"
	"strings"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/kernel/onednn"
)

// EnvDevice is the environment variable that names the device when --device
// does not.
const EnvDevice = "GRAFT_DEVICE"

// Auto takes the fastest device that is there.
const Auto = "auto"

// entry is a device that Open knows.
type entry struct {
	name  string
	open  func(threads int) (kernel.Device, error)
	probe func() Status
}

// entries lists the devices.
var entries = []entry{
	{"native", openNative, probeNative},
	{"onednn", openOneDNN, probeOneDNN},
}

// Names lists what Open takes.
func Names() []string {
	names := []string{Auto}
	for _, e := range entries {
		names = append(names, e.name)
	}
	return names
}

// UnknownError is a device name that no device has.
type UnknownError struct {
	Name  string
	From  string // where the name came from: "--device", "GRAFT_DEVICE"
	Known []string
}

// Error lists the names that would do.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("unknown device %q in %s: choose %s", e.Name, e.From, strings.Join(e.Known, ", "))
}

// UnavailableError is a device that was asked for by name and is not here.
type UnavailableError struct {
	Name string
	Err  error
}

// Error says why, and which device needs nothing.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("device %q cannot be used: %v; --device native needs no library", e.Name, e.Err)
}

// Unwrap returns the reason.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Open opens a device on GOMAXPROCS threads: "auto", "onednn" or "native".
// An empty name takes GRAFT_DEVICE's value, and "auto" if that is empty too.
// "auto" is the native kernels where they have vector instructions, which makes
// them at least as fast as oneDNN (docs/performance.md); elsewhere it is oneDNN
// if its library can be loaded, else native. A GRAFT_ONEDNN that names a file
// asks for oneDNN, so it is taken, and an error if it cannot be. The errors are *UnknownError, *UnavailableError, and what
// native.CheckSIMD finds.
func Open(name string) (kernel.Device, error) { return OpenThreads(name, 0) }

// OpenThreads is Open on a number of threads, 0 for GOMAXPROCS. The bits of a
// result depend on it.
func OpenThreads(name string, threads int) (kernel.Device, error) {
	if err := native.CheckSIMD(); err != nil { // every device has native kernels
		return nil, err
	}
	from := "--device"
	if name == "" {
		name, from = os.Getenv(EnvDevice), EnvDevice
	}
	if name == "" {
		name = Auto
	}
	if name == Auto {
		return openAuto(threads)
	}
	for _, e := range entries {
		if e.name == name {
			d, err := e.open(threads)
			if err != nil {
				return nil, &UnavailableError{Name: name, Err: err}
			}
			return d, nil
		}
	}
	return nil, &UnknownError{Name: name, From: from, Known: Names()}
}

func openAuto(threads int) (kernel.Device, error) {
	asked := os.Getenv(onednn.EnvLibrary)
	named := asked != "" && asked != "off"
	if !named && native.Vectorised() {
		return openNative(threads)
	}
	d, err := openOneDNN(threads)
	if err == nil {
		return d, nil
	}
	if named {
		return nil, &UnavailableError{Name: "onednn", Err: err}
	}
	return openNative(threads)
}

func openOneDNN(threads int) (kernel.Device, error) {
	d, err := onednn.New(threads)
	if err != nil {
		return nil, err // not d: a nil *Device is not a nil kernel.Device
	}
	return d, nil
}

func openNative(threads int) (kernel.Device, error) { return native.New(threads), nil }
