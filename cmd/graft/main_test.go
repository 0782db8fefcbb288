package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/graft-onnx/graft/train/data"
)

// scratch is the folder of everything the tests share.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "graft-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// result is what one command line did.
type result struct {
	code     int
	out, err string
}

// graft runs a command line inside the test's process.
func graft(t testing.TB, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(args, streams{&out, &errs})
	r := result{code, out.String(), errs.String()}
	if strings.Contains(r.err, "internal error") {
		t.Fatalf("graft %q panicked:\n%s", args, r.err)
	}
	return r
}

// ok runs a command line that must succeed.
func ok(t testing.TB, args ...string) result {
	t.Helper()
	r := graft(t, args...)
	if r.code != 0 {
		t.Fatalf("graft %q: exit code %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r
}

// asJSON runs a command line with --json and parses what it writes.
func asJSON[T any](t testing.TB, args ...string) T {
	t.Helper()
	r := ok(t, append(args, "--json")...)
	var v T
	d := json.NewDecoder(strings.NewReader(r.out))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("graft %q wrote no JSON of the kind: %v\n%s", args, err, r.out)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("graft %q wrote something behind its JSON:\n%s", args, r.out)
	}
	return v
}

// refused runs a command line that must fail with a code, every word in one
// line of its message, and nothing on standard output.
func refused(t testing.TB, code int, words []string, args ...string) {
	t.Helper()
	r := graft(t, args...)
	if r.code != code {
		t.Errorf("graft %q: exit code %d, want %d\n%s%s", args, r.code, code, r.out, r.err)
	}
	if r.out != "" {
		t.Errorf("graft %q: standard output %q, want none", args, r.out)
	}
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "graft: ") {
		t.Errorf("graft %q: the last line is %q, want the message", args, last)
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			t.Errorf("graft %q: the message does not say %q:\n%s", args, w, last)
		}
	}
}

// fixture is a small data set, a configuration and a finished run, made once
// and only read.
type fixture struct {
	data                     *data.SynthFiles
	config, run, checkpoint  string
	images, picture, trained string // folder, file, standard output of the training
}

var small = sync.OnceValues(func() (*fixture, error) {
	f := &fixture{run: filepath.Join(scratch, "run"), config: filepath.Join(scratch, "config.yaml")}
	var err error
	if f.data, err = data.Synthesize(context.Background(), filepath.Join(scratch, "data"),
		data.SynthOptions{Train: 8, Val: 3, Width: 64, Height: 48, Seed: 3}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(f.config, []byte(configText(f.data, f.run)), 0o644); err != nil {
		return nil, err
	}
	var out, errs bytes.Buffer
	if code := run([]string{"train", "--cfg", f.config}, streams{&out, &errs}); code != 0 {
		return nil, fmt.Errorf("training: exit code %d\n%s", code, errs.String())
	}
	f.trained, f.checkpoint = out.String(), filepath.Join(f.run, "checkpoint.onnx")
	f.images = filepath.Join(f.data.Root, "images", "val")
	f.picture = filepath.Join(f.images, "00000.png")
	return f, nil
})

func fixtures(t testing.TB) *fixture {
	t.Helper()
	f, err := small()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// configText is a configuration for a narrow network and six iterations.
func configText(files *data.SynthFiles, dir string) string {
	return fmt.Sprintf(`DATASET:
  root_dataset: %q
  list_train: %q
  list_val: %q
  classes: %q
  num_class: 5
  imgSizes: (48,)
  imgMaxSize: 64
MODEL:
  arch_encoder: "mobilenetv2dilated"
  arch_decoder: "c1_deepsup"
  fc_dim: 320
  width: 8
TRAIN:
  batch_size_per_gpu: 2
  num_epoch: 2
  epoch_iters: 3
  bn_momentum: 0.1
  workers: 2
  disp_iter: 1
DIR: %q
`, files.Root, files.ListTrain, files.ListVal, files.Classes, dir)
}

// program builds the program once, for tests that send it signals.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "graft")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// leftovers lists the files of a folder that no command means to leave.
func leftovers(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && (strings.HasPrefix(e.Name(), ".") || strings.Contains(e.Name(), ".tmp")) {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
