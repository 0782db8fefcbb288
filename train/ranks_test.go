package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// runAsRanks calls Run as several processes would: with one device each, and a
// group between them. A failure ends the group, as it does there.
func runAsRanks(t *testing.T, ctxs []context.Context, change func(rank int, o *Options)) (results []*Result, errs []error) {
	t.Helper()
	names := make([]string, len(ctxs))
	for i := range names {
		names[i] = fmt.Sprintf("rank %d", i)
	}
	devices := threadEach(t, len(ctxs))
	results, errs = make([]*Result, len(ctxs)), make([]error, len(ctxs))
	var all sync.WaitGroup
	for i, g := range graph.NewGroup(names...) {
		o := Options{Devices: devices[i : i+1], Group: g}
		change(i, &o)
		all.Go(func() {
			if results[i], errs[i] = Run(ctxs[i], o); errs[i] != nil && !errors.Is(errs[i], ErrStopped) {
				g.Fail(errs[i])
			}
		})
	}
	all.Wait()
	return results, errs
}

func contexts(t *testing.T, n int) []context.Context {
	list := make([]context.Context, n)
	for i := range list {
		list[i] = t.Context()
	}
	return list
}

// Ranks write the checkpoint of as many devices, byte by byte, in a new run and
// in one that goes on.
func TestRanksAreDevices(t *testing.T) {
	dir := t.TempDir()
	c := smallRun(t, dir)
	c.Train.NumEpoch, c.Train.EpochIters, c.Train.EvalEpochs, c.Train.Patience = 2, 2, 1, 3
	c.Train.Accumulate, c.Train.ClipNorm, c.Train.EMADecay = 2, 1, 0.5
	longer := *c
	longer.Train.NumEpoch = 3
	checkpoint := filepath.Join(c.Dir, CheckpointFile)
	// A run on two, which goes on with n.
	for _, n := range []int{3, 1} {
		var written [2][][]byte
		for way := range written {
			if err := os.RemoveAll(c.Dir); err != nil {
				t.Fatal(err)
			}
			for _, part := range []struct {
				cfg    *config.Config
				on     int
				resume string
			}{{c, 2, ""}, {&longer, n, checkpoint}} {
				var result *Result
				var err error
				if way == 0 || part.on == 1 {
					result, err = Run(t.Context(), Options{Config: part.cfg, Devices: threadEach(t, part.on), Resume: part.resume})
				} else {
					results, errs := runAsRanks(t, contexts(t, part.on), func(_ int, o *Options) { o.Config, o.Resume = part.cfg, part.resume })
					result, err = results[0], errors.Join(errs...)
				}
				if err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(result.Checkpoint)
				if err != nil {
					t.Fatal(err)
				}
				written[way] = append(written[way], text, fmt.Append(nil, result.Evaluation, result.Best, result.Iterations, result.Loss))
			}
		}
		for i := range written[0] {
			if !bytes.Equal(written[0][i], written[1][i]) {
				t.Errorf("on 2, then %d: part %d differs between devices and ranks", n, i)
			}
		}
	}
}

// All ranks stop where one is asked to, in training and in an evaluation.
func TestRanksStopTogether(t *testing.T) {
	c := smallRun(t, t.TempDir())
	for _, word := range []string{"train 3/", "evaluation after"} {
		os.RemoveAll(c.Dir)
		asked, stop := context.WithCancel(t.Context())
		ctxs := contexts(t, 3)
		ctxs[0] = asked
		c.Train.EpochIters, c.Train.EvalEpochs = 2, 1
		results, errs := runAsRanks(t, ctxs, func(rank int, o *Options) {
			if o.Config = c; rank == 0 {
				o.Output = &stopAtWord{word, stop}
			}
		})
		for i, err := range errs {
			if !errors.Is(err, ErrStopped) || results[i].Iterations != results[0].Iterations || results[i].Iterations < 2 {
				t.Errorf("rank %d: %v after %d iterations, rank 0 after %d", i, err, results[i].Iterations, results[0].Iterations)
			}
		}
		saved, err := LoadCheckpoint(results[0].Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		if saved.Progress.Iteration != results[0].Iterations {
			t.Errorf("saved after %d iterations of %d", saved.Progress.Iteration, results[0].Iterations)
		}
	}
}

// stopAtWord calls stop when a word is written.
type stopAtWord struct {
	word string
	stop func()
}

func (s *stopAtWord) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.word) {
		s.stop()
	}
	return len(p), nil
}

// Ranks that begin with different things end before they train, with the name
// of the one that differs; so do those of which one fails.
func TestRanksThatDiffer(t *testing.T) {
	dir := t.TempDir()
	c := smallRun(t, dir)
	c.Train.NumEpoch, c.Train.EpochIters = 1, 2
	checkpoint := filepath.Join(dir, "other.onnx")
	other := *c
	other.Dir = filepath.Join(dir, "other")
	if _, err := Run(t.Context(), Options{Config: &other, Devices: threadEach(t, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other.Dir, CheckpointFile), checkpoint); err != nil {
		t.Fatal(err)
	}
	other.Train.Seed, other.Dir = 1, filepath.Join(dir, "another")
	for name, test := range map[string]struct {
		change func(o *Options)
		words  string
	}{
		"version":       {func(o *Options) { o.Version = "0.1" }, "graft 0.1 where rank 0 has graft"},
		"configuration": {func(o *Options) { o.Config = &other }, "a configuration of fingerprint"},
		"no checkpoint": {func(o *Options) { o.Resume = filepath.Join(dir, "nowhere.onnx") }, "nowhere.onnx"},
		"weights":       {func(o *Options) { o.Resume = checkpoint }, "weights and optimizer of fingerprint"},
	} {
		_, errs := runAsRanks(t, contexts(t, 3), func(rank int, o *Options) {
			if o.Config = c; rank == 1 {
				test.change(o)
			}
		})
		for i, err := range errs {
			if err == nil || !strings.Contains(err.Error(), test.words) || !strings.Contains(err.Error(), "rank 1: ") && i != 1 {
				t.Errorf("%s: rank %d: %v", name, i, err)
			}
		}
		if _, err := os.Stat(filepath.Join(c.Dir, CheckpointFile)); err == nil {
			t.Errorf("%s: a checkpoint was written", name)
		}
	}
}

// A data set that differs in one size is another.
func TestRanksCompareDataSets(t *testing.T) {
	groups := graph.NewGroup("rank 0", "rank 1")
	errs := make([]error, len(groups))
	var all sync.WaitGroup
	for i, g := range groups {
		set := &data.Set{Records: []data.Record{{Name: "a", Width: 4, Height: 3}, {Name: "b", Width: 4 + i, Height: 3}}}
		all.Go(func() {
			same := &data.Set{Records: set.Records[:1]}
			errs[i] = errors.Join(ranks{g}.sameSet(data.Val, same), ranks{g}.sameSet(data.Train, set))
		})
	}
	all.Wait()
	for _, err := range errs {
		if err == nil || !strings.HasPrefix(err.Error(), "rank 1: a train set of 2 pictures") {
			t.Error(err)
		}
	}
}
