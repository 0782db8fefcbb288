package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/internal/atomicfile"
)

// Files of the folder that --profile names.
const (
	profileFile = "profile.txt"
	traceFile   = "trace.json"
)

// writeProfile writes what a training took to a folder that exists, and the
// table by kind of operator to w.
func writeProfile(w io.Writer, dir string, p *graph.Profiler) error {
	profile := p.Profile()
	if err := atomicfile.Write(filepath.Join(dir, profileFile), profile.Write); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, traceFile), p.WriteTrace); err != nil {
		return err
	}
	if err := profile.WriteKinds(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "profile: %s, %s\n", filepath.Join(dir, profileFile), filepath.Join(dir, traceFile))
	return err
}
