// Command compare times training steps of graft and of PyTorch on the same
// ONNX files and prints both side by side.
//
//	PYTHON=python3 go run ./bench/compare
//
// PYTHON says how to start a Python with PyTorch, NumPy and onnx; it may be
// several words. For one that sees other paths, in a container say, put --dir
// where it can read and name that folder in --peer-dir as Python sees it:
//
//	PYTHON='docker run --rm -v /tmp/bench:/bench IMAGE python3' \
//	    go run ./bench/compare --dir /tmp/bench --peer-dir /bench
//
// Every measurement is a process of its own, and the sides take turns within
// every round, so that a disturbance hits all of them.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/graft-onnx/graft/bench"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	dir, peerDir           string
	only                   string
	threads, warmup, steps int
	rounds                 int
	bf16                   bool
	python                 []string
	stepProgram            string
}

func run(args []string, out, progress io.Writer) (err error) {
	var s settings
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.StringVar(&s.dir, "dir", "", "`folder` for models, batches and programs; kept. Without it a temporary one")
	flags.StringVar(&s.peerDir, "peer-dir", "", "that `folder` as Python sees it")
	flags.StringVar(&s.only, "only", "", "measure networks alone whose name contains this `text`")
	flags.IntVar(&s.threads, "threads", 2, "threads of every side")
	flags.IntVar(&s.rounds, "rounds", 2, "how often the sides take turns")
	flags.IntVar(&s.warmup, "warmup", 1, "steps of a process that do not count")
	flags.IntVar(&s.steps, "steps", 3, "steps of a process that count")
	flags.BoolVar(&s.bf16, "bf16", false, "PyTorch's bfloat16 autocast too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.rounds < 1 || s.steps < 1 || s.warmup < 0 || s.threads < 1 {
		return errors.New("--rounds, --steps and --threads are at least 1, --warmup at least 0")
	}
	if s.python = strings.Fields(os.Getenv("PYTHON")); len(s.python) == 0 {
		s.python = []string{"python3"}
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "graft-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	} else if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if s.peerDir == "" {
		s.peerDir = s.dir
	}
	if err := s.install(); err != nil {
		return err
	}

	chosen := 0
	for _, c := range cases {
		if !strings.Contains(c.name, s.only) {
			continue
		}
		chosen++
		flops, err := c.write(s.dir)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		t := newTable(c, flops, s.sides())
		for round := range s.rounds {
			for i, side := range t.sides {
				fmt.Fprintf(progress, "%s, round %d of %d: %s\n", c.name, round+1, s.rounds, side.name)
				r, err := s.measure(c, side)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", c.name, side.name, err)
				}
				t.add(i, r)
			}
		}
		if err := t.check(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := t.write(out); err != nil {
			return err
		}
	}
	if chosen == 0 {
		return fmt.Errorf("--only %s: no network has that in its name", s.only)
	}
	return nil
}

// install puts the scripts and the program of graft's side into the folder.
func (s *settings) install() error {
	for name, data := range map[string][]byte{"peer.py": bench.Peer, "trace.py": bench.Trace} {
		if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o644); err != nil {
			return err
		}
	}
	s.stepProgram = filepath.Join(s.dir, "step.exe") // a name that runs on every system
	build := exec.Command("go", "build", "-o", s.stepProgram, "github.com/graft-onnx/graft/bench/step")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(build.Args, " "), err, text)
	}
	return nil
}

// side is one way to train.
type side struct {
	name  string
	graft bool
	bf16  bool
	args  []string
}

// sides lists what takes turns, PyTorch first: ratios are to its best.
func (s *settings) sides() []side {
	list := []side{
		{name: "PyTorch, contiguous"},
		{name: "PyTorch, channels_last", args: []string{"--channels-last"}},
		{name: "graft, native", graft: true, args: []string{"--device", "native"}},
		{name: "graft, onednn", graft: true, args: []string{"--device", "onednn"}},
	}
	if s.bf16 {
		list = append(list,
			side{name: "PyTorch bf16, contiguous", bf16: true, args: []string{"--bf16"}},
			side{name: "PyTorch bf16, channels_last", bf16: true, args: []string{"--bf16", "--channels-last"}})
	}
	return list
}

// measure runs one process.
func (s *settings) measure(c network, side side) (*bench.Result, error) {
	counts := []string{"--threads", fmt.Sprint(s.threads), "--warmup", fmt.Sprint(s.warmup), "--steps", fmt.Sprint(s.steps)}
	var words []string
	if side.graft {
		in := func(name string) string { return filepath.Join(s.dir, c.name, name) }
		words = append([]string{s.stepProgram, "--model", in(modelFile), "--image", in(imageFile), "--label", in(labelFile)}, counts...)
		words = append(words, side.args...)
	} else {
		in := func(name ...string) string { return path.Join(append([]string{s.peerDir}, name...)...) }
		words = append(append([]string{}, s.python...), in("peer.py"), "--image", in(c.name, imageFile), "--label", in(c.name, labelFile))
		words = append(append(words, counts...), side.args...)
		words = append(words, in(c.name, modelFile))
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		hint := ""
		if !side.graft {
			hint = "\nset PYTHON to a Python that has PyTorch, NumPy and onnx, and --dir and --peer-dir if it sees other paths"
		}
		return nil, fmt.Errorf("%s: %w\n%s%s", strings.Join(words, " "), err, stderr.Bytes(), hint)
	}
	var r bench.Result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("%s printed no result: %w", strings.Join(words, " "), err)
	}
	if len(r.Seconds) != s.steps {
		return nil, fmt.Errorf("%s reported %d steps, not %d", strings.Join(words, " "), len(r.Seconds), s.steps)
	}
	return &r, nil
}
