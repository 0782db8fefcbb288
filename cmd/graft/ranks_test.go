//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/graft-onnx/graft/graph/mpi"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/history"
)

// ranks starts the program as several ranks.
func ranks(t testing.TB, dir string, n int, args ...string) *process {
	t.Helper()
	mpirun, err := exec.LookPath("mpirun")
	if _, _, missing := mpi.Available(); err != nil || missing != nil {
		t.Skipf("skipped: Open MPI is not there (%s)", mpi.InstallHint())
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(mpirun, append([]string{"--oversubscribe", "-n", fmt.Sprint(n), path}, args...)...)
	c.Env = append(os.Environ(), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	return startCommand(t, dir, c)
}

// fails waits for the end with an exit code, and checks that words stand in one
// line of graft's own, which is the only one.
func (p *process) fails(t *testing.T, code int, words ...string) {
	t.Helper()
	if got := p.exit(t); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	var told []string
	for line := range strings.Lines(p.err.String()) {
		if strings.HasPrefix(line, "graft: ") {
			told = append(told, line)
		}
	}
	if len(told) != 1 {
		t.Fatalf("told %d times:\n%s", len(told), p.err.String())
	}
	for _, word := range words {
		if !strings.Contains(told[0], word) {
			t.Errorf("%q does not say %q", told[0], word)
		}
	}
}

// tensors are all weights and states of a checkpoint.
func tensors(t *testing.T, file string) []byte {
	t.Helper()
	m, err := loadModel(file)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	list := m.GetGraph().GetInitializer()
	for _, info := range m.GetTrainingInfo() {
		list = append(list, info.GetAlgorithm().GetInitializer()...)
	}
	for _, one := range list {
		fmt.Fprintf(&all, "%s %x\n", one.GetName(), one.GetRawData())
	}
	return all.Bytes()
}

// Two ranks train to the bits of two devices, and go on as four ranks or one to
// those of four devices or one.
func TestRanksTrainAsDevices(t *testing.T) {
	dir := workplace(t, 12)
	settings := []string{"train", "--cfg", "c.yaml", "TRAIN.ema_decay", "0.5"}
	on := func(n int, name string, ranksOf bool, more ...string) {
		t.Helper()
		args := append(append(settings, more...), "DIR", name)
		var p *process
		if ranksOf {
			p = ranks(t, dir, n, append(args, "--threads", "1")...)
		} else {
			var devices []string
			for i := range n {
				devices = append(devices, fmt.Sprint("cpu:", i))
			}
			p = start(t, dir, append(args, "--threads", fmt.Sprint(n), "--devices", strings.Join(devices, ","))...)
		}
		if code := p.exit(t); code != 0 {
			t.Fatalf("%d on %s: exit code %d\n%s", n, name, code, p.err.String())
		}
		if out := p.out.String(); strings.Count(out, "last loss") != 1 {
			t.Errorf("%d on %s wrote\n%s", n, name, out)
		}
	}
	equal := func(a, b string) {
		t.Helper()
		a, b = filepath.Join(dir, a), filepath.Join(dir, b)
		for _, file := range []string{train.CheckpointFile, train.BestFile} {
			if !bytes.Equal(tensors(t, filepath.Join(a, file)), tensors(t, filepath.Join(b, file))) {
				t.Errorf("%s of %s and %s have other bits", file, a, b)
			}
		}
		var known [2]string
		for i, folder := range []string{a, b} {
			h, err := history.Load(folder)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range h.Records {
				known[i] += fmt.Sprintln(r.Untimed())
			}
			for _, e := range h.Evaluations {
				e.Seconds = 0
				known[i] += fmt.Sprintln(e)
			}
		}
		if known[0] != known[1] || known[0] == "" {
			t.Errorf("%s has the history\n%s%s has\n%s", a, known[0], b, known[1])
		}
	}
	on(2, "ranks", true)
	on(2, "devices", false)
	equal("ranks", "devices")
	for _, n := range []int{4, 1} {
		for _, from := range []string{"ranks", "devices"} {
			to := fmt.Sprint(from, n)
			if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(filepath.Join(dir, from))); err != nil {
				t.Fatal(err)
			}
			on(n, to, from == "ranks", "--resume", "TRAIN.num_epoch", "3")
		}
		equal(fmt.Sprint("ranks", n), fmt.Sprint("devices", n))
	}
	if list := leftovers(t, dir); len(list) > 0 {
		t.Errorf("left over: %v", list)
	}
}

// A rank that fails ends the job with its name: here the second, which evaluates
// the second picture.
func TestRankThatFails(t *testing.T) {
	dir := workplace(t, 4)
	pictures, err := filepath.Glob(filepath.Join(dir, "data", "images", "val", "*"))
	if err != nil || len(pictures) < 2 {
		t.Fatal(pictures, err)
	}
	write(t, pictures[1], "broken")
	host, _ := os.Hostname()
	p := ranks(t, dir, 2, "train", "--cfg", "c.yaml")
	p.fails(t, exitFailure, "rank 1 on "+host+": ", filepath.Base(pictures[1]), "cannot be read")
	if _, err := loadModel(filepath.Join(dir, "run", train.CheckpointFile)); err != nil {
		t.Error(err)
	}
}

func TestRanksAreRefused(t *testing.T) {
	dir := workplace(t, 4)
	host, _ := os.Hostname()
	ranks(t, dir, 2, "train", "--cfg", "c.yaml", "--devices", "cpu:0,cpu:1").fails(t, exitUsage, "rank 0 on "+host, "--devices", "start as many ranks")
	ranks(t, dir, 2, "train", "--cfg", "c.yaml", "TRAIN.num_epok", "1").fails(t, exitUsage, "rank 0 on "+host, "TRAIN.num_epoch")
	ranks(t, dir, 2, "train", "--cfg", "c.yaml", "--resume").fails(t, exitFailure, "rank 0 on "+host, "no checkpoint")

	// Without the library each rank speaks for itself, as it knows no others.
	t.Setenv(mpi.EnvLibrary, "libm.so.6")
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "train", "--cfg", "c.yaml")
	c.Env = append(os.Environ(), "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=1")
	startCommand(t, dir, c).fails(t, exitFailure, "rank 1 on "+host, mpi.InstallHint())
	if exists(filepath.Join(dir, "run")) {
		t.Error("a run folder was made")
	}
}

// rankProcess finds the process of a rank that a process has started.
func (p *process) rankProcess(t *testing.T, rank int) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		p.Process.Kill()
		p.Wait()
		t.Skip("skipped: finding the process of a rank needs /proc")
	}
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		var pid, parent int
		var name, state string
		stat, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
		fmt.Sscan(string(stat), &pid, &name, &state, &parent)
		environ, _ := os.ReadFile(file)
		if parent == p.Process.Pid && bytes.Contains(environ, fmt.Appendf(nil, "OMPI_COMM_WORLD_RANK=%d\x00", rank)) {
			return pid
		}
	}
	t.Fatalf("no process of rank %d\n%s", rank, p.err.String())
	return 0
}

// A rank that is killed ends the job; mpirun says which, and the last checkpoint
// is whole.
func TestRankThatIsKilled(t *testing.T) {
	for _, rank := range []int{0, 1} {
		dir := workplace(t, 4)
		checkpoint := filepath.Join(dir, "run", train.CheckpointFile)
		p := ranks(t, dir, 2, "train", "--cfg", "c.yaml", "TRAIN.epoch_iters", "100000", "TRAIN.checkpoint_iters", "2")
		p.until(t, "checkpoint", func() bool { return exists(checkpoint) })
		if err := syscall.Kill(p.rankProcess(t, rank), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := p.exit(t); code == 0 {
			t.Error("exit code 0")
		}
		told := p.err.String()
		if !strings.Contains(told, fmt.Sprintf("process rank %d ", rank)) || rank > 0 && !strings.Contains(told, "the other ranks do not answer") {
			t.Errorf("rank %d was killed:\n%s", rank, told)
		}
		if _, err := train.LoadCheckpoint(checkpoint); err != nil {
			t.Error(err)
		}
	}
}

// All ranks stop after the same iteration, and the first saves.
func TestStoppedRanksSave(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM} {
		code := exitStopped
		if sig == syscall.SIGTERM {
			// mpirun kills after a second and has an exit code of its own.
			code = exitFailure
		}
		dir := workplace(t, 4)
		p := ranks(t, dir, 2, "train", "--cfg", "c.yaml", "TRAIN.epoch_iters", "100000")
		p.until(t, "iteration", func() bool { return strings.Contains(p.err.String(), "train 2/") })
		time.Sleep(100 * time.Millisecond)
		if err := p.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		p.fails(t, code, "stopped after ", "continue with --resume")
		if !strings.Contains(p.err.String(), "saved run/checkpoint.onnx") {
			t.Errorf("%v: nothing was saved\n%s", sig, p.err.String())
		}
		if _, err := train.LoadCheckpoint(filepath.Join(dir, "run", train.CheckpointFile)); err != nil {
			t.Error(err)
		}
	}
}
