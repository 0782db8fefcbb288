// Command compare times graft and PyTorch on the same ONNX files, and with
// --inference ONNX Runtime too, and prints them side by side.
//
//	PYTHON=python3 go run ./bench/compare                        # training steps, fp32
//	PYTHON=python3 go run ./bench/compare --bf16 --inference     # everything
//
// PYTHON says how to start a Python with PyTorch, NumPy and onnx; it may be
// several words. For one that sees other paths, in a container say, put --dir
// where it can read and name that folder in --peer-dir as Python sees it:
//
//	PYTHON='docker run --rm -v /tmp/bench:/bench IMAGE python3' \
//	    go run ./bench/compare --dir /tmp/bench --peer-dir /bench
//
// Every measurement is a process of its own, and the sides take turns within
// every round, so that a disturbance hits all of them. What is not there, a
// library or a precision that the processor lacks, is left out with a word.
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
	dir, peerDir              string
	only, results             string
	threads, warmup, steps    int
	rounds                    int
	training, inference, bf16 bool
	python                    []string
}

func parse(args []string) (*settings, error) {
	var s settings
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.StringVar(&s.dir, "dir", "", "`folder` for models, batches and programs; kept. Without it a temporary one")
	flags.StringVar(&s.peerDir, "peer-dir", "", "that `folder` as Python sees it")
	flags.StringVar(&s.only, "only", "", "measure networks alone whose name contains this `text`")
	flags.StringVar(&s.results, "results", "", "`file` that measurements are added to; tables are then of all in it")
	flags.IntVar(&s.threads, "threads", 2, "threads of every side")
	flags.IntVar(&s.rounds, "rounds", 2, "how often the sides take turns")
	flags.IntVar(&s.warmup, "warmup", 1, "steps of a process that do not count")
	flags.IntVar(&s.steps, "steps", 3, "steps of a process that count")
	flags.BoolVar(&s.training, "training", true, "training steps")
	flags.BoolVar(&s.inference, "inference", false, "class probabilities of pictures, beside ONNX Runtime")
	flags.BoolVar(&s.bf16, "bf16", false, "training steps in bfloat16 too")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if s.rounds < 1 || s.steps < 1 || s.warmup < 0 || s.threads < 1 {
		return nil, errors.New("--rounds, --steps and --threads are at least 1, --warmup at least 0")
	}
	if !s.training && !s.inference {
		return nil, errors.New("--training=false leaves nothing to measure without --inference")
	}
	if s.python = strings.Fields(os.Getenv("PYTHON")); len(s.python) == 0 {
		s.python = []string{"python3"}
	}
	return &s, nil
}

func run(args []string, out, progress io.Writer) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	chosen := s.networks()
	if len(chosen) == 0 {
		return fmt.Errorf("--only %s: no network has that in its name", s.only)
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
	if _, err := fmt.Fprintf(out, "%s; %d threads a side, %d rounds of %d steps after %d that do not count.\n\n",
		machine(), s.threads, s.rounds, s.steps, s.warmup); err != nil {
		return err
	}
	known := record{}
	if s.results != "" {
		if known, err = readRecord(s.results); err != nil {
			return fmt.Errorf("--results %s: %w", s.results, err)
		}
	}
	for _, n := range chosen {
		work, err := n.write(s.dir)
		if err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		var tables []*table
		if s.training {
			tables = append(tables, &table{title: n.title(n.batch), unit: "step", flops: 3 * work, sides: s.trainingSides(n)})
		}
		if s.inference {
			for _, batch := range []int{1, n.batch} {
				tables = append(tables, &table{title: n.title(batch) + ", inference", unit: "run",
					flops: work * float64(batch) / float64(n.batch), sides: s.inferenceSides(n, batch)})
			}
		}
		for _, t := range tables {
			known.recall(t)
			if err := s.fill(t, progress); err != nil {
				return err
			}
			if known.add(t); s.results != "" {
				if err := known.write(s.results); err != nil {
					return err
				}
			}
			if err := t.write(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// networks returns those that --only names.
func (s *settings) networks() []network {
	var chosen []network
	for _, n := range networks {
		if strings.Contains(n.name, s.only) {
			chosen = append(chosen, n)
		}
	}
	return chosen
}

// install puts the scripts and the programs of graft's sides into the folder.
func (s *settings) install() error {
	for name, data := range map[string][]byte{"peer.py": bench.Peer, "trace.py": bench.Trace} {
		if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"step", "infer"} {
		build := exec.Command("go", "build", "-o", s.program(name), "github.com/graft-onnx/graft/bench/"+name)
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(build.Args, " "), err, text)
		}
	}
	return nil
}

// program is where install puts a program: a name that runs on every system.
func (s *settings) program(name string) string { return filepath.Join(s.dir, name+".exe") }

// fill measures the sides of a table in turn and compares what they computed.
func (s *settings) fill(t *table, progress io.Writer) error {
	for round := range s.rounds {
		for _, side := range t.sides {
			if side.refused != "" {
				continue
			}
			fmt.Fprintf(progress, "%s, round %d of %d: %s\n", t.title, round+1, s.rounds, side.name)
			r, err := s.measure(side)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", t.title, side.name, err)
			}
			if side.refused = r.Refused; r.Refused == "" {
				side.results = append(side.results, r)
			}
		}
	}
	if err := t.check(); err != nil {
		return fmt.Errorf("%s: %w", t.title, err)
	}
	return nil
}

// measure runs one process.
func (s *settings) measure(side *side) (*bench.Result, error) {
	words := append(append([]string{}, side.words...),
		"--threads", fmt.Sprint(s.threads), "--warmup", fmt.Sprint(s.warmup), "--steps", fmt.Sprint(s.steps))
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		hint := ""
		if side.python {
			hint = "\nset PYTHON to a Python that has PyTorch, NumPy and onnx, and --dir and --peer-dir if it sees other paths"
		}
		return nil, fmt.Errorf("%s: %w\n%s%s", strings.Join(words, " "), err, stderr.Bytes(), hint)
	}
	var r bench.Result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("%s printed no result: %w", strings.Join(words, " "), err)
	}
	if len(r.Seconds) != s.steps && r.Refused == "" {
		return nil, fmt.Errorf("%s reported %d steps, not %d", strings.Join(words, " "), len(r.Seconds), s.steps)
	}
	return &r, nil
}
