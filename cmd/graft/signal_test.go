//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/graft-onnx/graft/train/data"
)

// process runs the real program in a folder of its own.
type process struct {
	*exec.Cmd
	out, err output
}

// output collects what a program writes while others look at it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func start(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, dir, exec.Command(path, args...))
}

func startCommand(t testing.TB, dir string, c *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: c}
	p.Dir, p.Stdout, p.Stderr = dir, &p.out, &p.err
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() }) // ended already, unless the test failed
	return p
}

// exit waits for the end, for two minutes at most, and returns the exit code,
// -1 after a signal.
func (p *process) exit(t testing.TB) int {
	t.Helper()
	timer := time.AfterFunc(2*time.Minute, func() { p.Process.Kill() })
	err := p.Wait()
	if !timer.Stop() {
		t.Fatalf("%v does not end\n%s", p.Args, p.err.String())
	}
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// until waits for something to be true while the program runs.
func (p *process) until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Process.Kill()
			p.Wait()
			t.Fatalf("%v: no %s within a minute\n%s", p.Args, what, p.err.String())
		}
	}
}

// workplace is a folder with a data set and a configuration, whose paths are
// relative, so that runs in two of them write the same bytes.
func workplace(t testing.TB, pictures int) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := data.Synthesize(context.Background(), filepath.Join(dir, "data"),
		data.SynthOptions{Train: pictures, Val: 2, Width: 64, Height: 48, Seed: 5}); err != nil {
		t.Fatal(err)
	}
	files := &data.SynthFiles{Root: "data", ListTrain: "data/train.odgt", ListVal: "data/val.odgt", Classes: "data/classes.csv"}
	write(t, filepath.Join(dir, "c.yaml"), configText(files, "run"))
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A training of 30 iterations is killed at random points and resumed until it
// is done: checkpoint and exported file have the bytes of a run that nobody
// disturbed.
func TestKilledTrainingResumesToTheSameBytes(t *testing.T) {
	settings := []string{"train", "--cfg", "c.yaml", "TRAIN.num_epoch", "3", "TRAIN.epoch_iters", "10", "TRAIN.checkpoint_iters", "3"}
	whole, broken := workplace(t, 8), workplace(t, 8)
	if p := start(t, whole, settings...); p.exit(t) != 0 {
		t.Fatal(p.err.String())
	}

	rng := rand.New(rand.NewPCG(7, 1))
	checkpoint := filepath.Join(broken, "run", "checkpoint.onnx")
	const kills = 5
	resumed := 0
	for try := range kills + 1 {
		args := settings
		if exists(checkpoint) {
			args = append(args, "--resume")
			resumed++
		}
		p := start(t, broken, args...)
		if try == kills {
			if p.exit(t) != 0 {
				t.Fatal(p.err.String())
			}
			break
		}
		// After some iterations and a moment more, which hits the program's
		// start and the writing of checkpoints as well.
		steps := rng.IntN(6)
		if try == 0 {
			steps = 4 // past the first checkpoint
		}
		p.until(t, "iteration", func() bool { return strings.Count(p.err.String(), "train ") >= steps })
		time.Sleep(time.Duration(rng.IntN(20000)) * time.Microsecond)
		if err := p.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := p.exit(t); code != -1 {
			t.Fatalf("kill %d: exit code %d\n%s", try, code, p.err.String())
		}
	}
	t.Logf("%d kills, %d resumptions", kills, resumed)
	if resumed == 0 {
		t.Error("nothing was resumed")
	}
	if list := leftovers(t, filepath.Join(broken, "run")); len(list) > 0 {
		t.Errorf("left over: %v", list)
	}
	for _, dir := range []string{whole, broken} {
		if p := start(t, dir, "export", "run/checkpoint.onnx", "-o", "deploy.onnx"); p.exit(t) != 0 {
			t.Fatal(p.err.String())
		}
	}
	for _, name := range []string{"run/checkpoint.onnx", "run/config.yaml", "deploy.onnx"} {
		if read(t, filepath.Join(whole, name)) != read(t, filepath.Join(broken, name)) {
			t.Errorf("%s has other bytes than the undisturbed run's", name)
		}
	}
}

// SIGTERM and SIGINT let a training save and stop; it goes on from there.
func TestStoppedTrainingSaves(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := workplace(t, 4)
			p := start(t, dir, "train", "--cfg", "c.yaml", "TRAIN.num_epoch", "1", "TRAIN.epoch_iters", "100000")
			history := filepath.Join(dir, "run", "history.csv")
			p.until(t, "run folder", func() bool { return exists(history) })
			time.Sleep(200 * time.Millisecond)
			if err := p.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := p.exit(t); code != exitStopped {
				t.Fatalf("exit code %d, want %d\n%s", code, exitStopped, p.err.String())
			}
			message := p.err.String()
			for _, word := range []string{"saved run/checkpoint.onnx", "graft: stopped after ", "of 100000 iterations", "--resume"} {
				if !strings.Contains(message, word) {
					t.Errorf("the message does not say %q:\n%s", word, message)
				}
			}
			if list := leftovers(t, dir); len(list) > 0 {
				t.Errorf("left over: %v", list)
			}
			if _, err := loadModel(filepath.Join(dir, "run", "checkpoint.onnx")); err != nil {
				t.Error(err)
			}
		})
	}
}

// Other commands stop at once and leave no file half written.
func TestStoppedCommands(t *testing.T) {
	f := fixtures(t)
	many := filepath.Join(t.TempDir(), "many")
	if err := os.MkdirAll(many, 0o755); err != nil {
		t.Fatal(err)
	}
	picture := read(t, f.picture)
	for i := range 3000 {
		write(t, filepath.Join(many, strings.Repeat("x", 1+i/100)+string(rune('a'+i%100/10))+string(rune('0'+i%10))+".png"), picture)
	}
	list := "DATASET.val_images " + many + " DATASET.val_masks " + filepath.Join(filepath.Dir(many), "masks")
	masks := filepath.Join(filepath.Dir(many), "masks")
	mask := read(t, filepath.Join(f.data.Root, "masks", "val", "00000.png"))
	entries, err := os.ReadDir(many)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		write(t, filepath.Join(masks, e.Name()), mask)
	}
	tests := map[string]struct {
		args  []string
		ready string // a file that shows that it works
	}{
		"predict": {[]string{"predict", f.checkpoint, many, "-o", "out", "--sizes", "200"}, "out/xa0_overlay.png"},
		"eval": {append([]string{"eval", "--cfg", f.config, "--visualize", "out", "DATASET.imgSizes", "(200,)", "DATASET.imgMaxSize", "400"},
			strings.Fields(list)...), "out/xa0.png"},
		"predict on two": {[]string{"predict", f.checkpoint, many, "-o", "out", "--sizes", "200", "--devices", "cpu:0,cpu:1", "--threads", "2"}, "out/xa0_overlay.png"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := start(t, dir, test.args...)
			p.until(t, "picture", func() bool { return exists(filepath.Join(dir, test.ready)) })
			if err := p.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if code := p.exit(t); code != exitStopped {
				t.Fatalf("exit code %d, want %d\n%s", code, exitStopped, p.err.String())
			}
			if !strings.HasSuffix(p.err.String(), "graft: stopped\n") || p.out.String() != "" {
				t.Errorf("standard output %q, messages\n%s", p.out.String(), p.err.String())
			}
			if list := leftovers(t, dir); len(list) > 0 {
				t.Errorf("left over: %v", list)
			}
		})
	}
}

// Work that cannot be stopped on the way is left behind.
func TestUntilStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	forever := make(chan bool)
	defer close(forever)
	go stop()
	if _, err := untilStopped(ctx, func() (int, error) { <-forever; return 1, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped work gives %v", err)
	}
	if v, err := untilStopped(t.Context(), func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("finished work gives %d, %v", v, err)
	}
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "on purpose") {
			t.Errorf("panic %v", p)
		}
	}()
	_, _ = untilStopped(t.Context(), func() (int, error) { panic("on purpose") })
	t.Error("the panic is lost")
}
