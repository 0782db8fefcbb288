package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/graft-onnx/graft/graph/kernel/native"
)

// --profile leaves a table and a trace of the steps, and the same weights as
// without.
func TestTrainProfile(t *testing.T) {
	f := fixtures(t)
	dir := t.TempDir()
	folder := filepath.Join(dir, "new", "profile")
	r := ok(t, "train", "--cfg", f.config, "--profile", folder, "DIR", filepath.Join(dir, "run"))
	if !strings.Contains(r.err, folder) || !strings.Contains(r.err, "Conv.dw") {
		t.Errorf("no table, or not where it is kept:\n%s", r.err)
	}
	lines := strings.Split(r.out, "\n")
	if want := strings.Split(f.trained, "\n"); len(lines) < 2 || lines[1] != want[1] {
		t.Errorf("the result is\n%s, without --profile\n%s", r.out, f.trained)
	}
	table := read(t, filepath.Join(folder, "profile.txt"))
	// Six training steps; the evaluation is not among them.
	for _, word := range []string{"6 runs", "GFLOP/s", "Conv (depthwise)", "BatchNormalization + clip", "SGD", "(waiting for pictures)"} {
		if !strings.Contains(table, word) {
			t.Errorf("%q is not in\n%s", word, table)
		}
	}
	var trace struct {
		TraceEvents []map[string]any `json:"traceEvents"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(folder, "trace.json"))), &trace); err != nil {
		t.Fatal(err)
	}
	names := map[any]int{}
	for _, e := range trace.TraceEvents {
		names[e["name"]]++
	}
	if names["SGD"] == 0 || names["Conv.dx"] == 0 || names["(upload)"] == 0 || names["train image 2x3x48x64"] == 0 {
		t.Errorf("events of the trace: %v", names)
	}
	if left := leftovers(t, dir); left != nil {
		t.Errorf("left over: %q", left)
	}
	refused(t, exitUsage, []string{"--profile", f.config, "folder"}, "train", "--cfg", f.config, "--profile", f.config, "DIR", filepath.Join(dir, "other"))
	refused(t, exitFailure, []string{"--profile", "not a directory"}, "train", "--cfg", f.config, "--profile", filepath.Join(f.config, "x"), "DIR", filepath.Join(dir, "other"))
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("a run folder is left of a training that could not begin")
	}
}

func TestCeilings(t *testing.T) {
	dev := native.New(1)
	list := workloads(48, 1<<20)
	found, err := measureCeilings(t.Context(), dev, list, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	writeCeilings(&text, dev.Name(), found)
	for i, unit := range []string{"GFLOP/s", "GFLOP/s", "GB/s", "GB/s"} {
		if c := found[i]; c.Unit != unit || !(c.Rate > 0 && c.Rate < 1e6) || !strings.Contains(text.String(), c.Name) {
			t.Errorf("%+v in\n%s", c, text.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measureCeilings(ctx, dev, list, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

func TestDoctorBench(t *testing.T) {
	got := asJSON[diagnosis](t, "doctor", "--bench")
	if len(got.Ceilings) != 4 || got.Chosen == "" {
		t.Errorf("%+v", got)
	}
}
