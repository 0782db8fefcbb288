package device

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/kernel/onednn"
)

// Status says whether a device can be used here.
type Status struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Version   string `json:"version,omitempty"`
	Path      string `json:"path,omitempty"`   // of the library
	Detail    string `json:"detail,omitempty"` // instructions, threads
	Reason    string `json:"reason,omitempty"` // why not
	Hint      string `json:"hint,omitempty"`   // how to install it
}

// List asks every device whether it can be used.
func List() []Status {
	list := make([]Status, 0, len(entries))
	simd := native.CheckSIMD()
	for _, e := range entries {
		if simd != nil {
			list = append(list, Status{Name: e.name, Reason: simd.Error()})
			continue
		}
		list = append(list, e.probe())
	}
	return list
}

// Advice is a line for someone who runs on a slower device than this machine
// could have, "" if there is nothing to gain.
func Advice(d kernel.Device) string {
	if d.Name() != "native" || native.Vectorised() {
		return ""
	}
	s := probeOneDNN()
	if s.Available || s.Hint == "" {
		return "" // chosen, or switched off, on purpose
	}
	return fmt.Sprintf("running on the native kernels; oneDNN is faster: %s", s.Hint)
}

func probeOneDNN() Status {
	s := Status{Name: "onednn"}
	version, path, err := onednn.Available()
	if err != nil {
		s.Reason = err.Error()
		if le, ok := err.(*onednn.LoadError); ok {
			s.Reason = le.Reason()
			if le.Asked == "off" {
				return s
			}
		}
		s.Hint = onednn.InstallHint()
		return s
	}
	s.Available, s.Version, s.Path = true, version.String(), path
	d, err := onednn.New(0)
	if err != nil {
		return Status{Name: s.Name, Version: s.Version, Path: s.Path, Reason: err.Error()}
	}
	s.Detail = d.String()
	d.Close() // a device that was only asked for its name has nothing to lose
	return s
}

func probeNative() Status {
	d := native.New(0)
	defer d.Close()
	return Status{Name: "native", Available: true, Detail: d.String()}
}
