package mpi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-onnx/graft/graph"
)

// envScene names the scene that this program plays below mpirun, in place of the
// tests.
const envScene = "GRAFT_TEST_SCENE"

func TestMain(m *testing.M) {
	if scene := scenes[os.Getenv(envScene)]; scene != nil {
		member, err := Join()
		if err == nil {
			err = scene(member)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		member.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// scenes are what all ranks do at the same time.
var scenes = map[string]func(*Member) error{
	"sums": func(m *Member) error {
		if m.Name() != fmt.Sprintf("rank %d on %s", m.Rank(), hostname()) || m.Local() != m.Size() || m.Threads() < 1 {
			return fmt.Errorf("%s: %d of %d are here, with %d threads", m.Name(), m.Local(), m.Size(), m.Threads())
		}
		for _, n := range []int{0, 1, 3, 1000, 4096, 4097, 100_003} {
			if err := errors.Join(sameAsWithin(m, n, graph.Group.Sum), sameAsWithin(m, n, graph.Group.SumDouble)); err != nil {
				return err
			}
		}
		return nil
	},
	"other names": func(m *Member) error {
		return wantFailure(m, m.Sum(fmt.Sprint("w", min(m.Rank(), 1)), make([]float32, 3)), "rank 1 on", "w1 of 3", "w0 of 3")
	},
	"other lengths": func(m *Member) error {
		return wantFailure(m, m.Sum("w", make([]float32, 10000+m.Rank()/2)), "rank 2 on", "w of 10001", "w of 10000")
	},
	"other types": func(m *Member) error {
		if m.Rank() == 1 {
			return wantFailure(m, m.Sum("w", make([]float32, 3)), "rank 1 on")
		}
		return wantFailure(m, m.SumDouble("w", make([]float64, 3)), "rank 1 on")
	},
	"failure": func(m *Member) error {
		if m.Rank() == 2 {
			m.Fail(errors.New("on fire"))
			m.Fail(errors.New("in water"))
		}
		return wantFailure(m, m.Sum("w", make([]float32, 3)), "rank 2 on", ": on fire")
	},
	"late": func(m *Member) error {
		if m.Rank() == 1 {
			begin := time.Now()
			m.Fail(errors.New("on fire"))
			if waited := time.Since(begin); m.Told() != nil || waited < patience || waited > 2*patience {
				return fmt.Errorf("told of %v after %v", m.Told(), waited)
			}
			m.Abort(7)
		}
		time.Sleep(time.Minute)
		return nil
	},
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}

// sameAsWithin compares sums with those of a Group within one process.
func sameAsWithin[T float32 | float64](m *Member, n int, sum func(graph.Group, string, []T) error) error {
	parts := make([][]T, m.Size())
	for i := range parts {
		parts[i] = make([]T, n)
		for k := range parts[i] {
			parts[i][k] = 1 / T(1+7*i+k)
		}
	}
	got := slices.Clone(parts[m.Rank()])
	if err := sum(m, "parts", got); err != nil {
		return err
	}
	within := graph.NewGroup(make([]string, m.Size())...)
	errs := make(chan error)
	for i, g := range within {
		go func() { errs <- sum(g, "parts", parts[i]) }()
	}
	for range within {
		if err := <-errs; err != nil {
			return err
		}
	}
	if !slices.Equal(got, parts[0]) {
		return fmt.Errorf("%s: %d numbers of type %T have other sums than within a process", m.Name(), n, *new(T))
	}
	return nil
}

// wantFailure checks an error that all members get, now and later.
func wantFailure(m *Member, err error, words ...string) error {
	for _, err := range []error{err, m.SumDouble("more", nil), m.Told()} {
		var group *graph.GroupError
		if !errors.As(err, &group) {
			return fmt.Errorf("%s: %v, want a *graph.GroupError", m.Name(), err)
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				return fmt.Errorf("%s: %q does not say %q", m.Name(), err, word)
			}
		}
	}
	return nil
}

// play runs a scene and returns mpirun's exit code and what was written.
func play(t *testing.T, scene string, ranks int) (int, string) {
	t.Helper()
	if _, _, err := Available(); err != nil {
		t.Skipf("skipped: %v", err)
	}
	mpirun, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skipf("skipped: no mpirun (%s)", InstallHint())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, mpirun, "--oversubscribe", "-n", fmt.Sprint(ranks), os.Args[0])
	c.Env = append(os.Environ(), envScene+"="+scene, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	out, err := c.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s does not end\n%s", scene, out)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), string(out)
}

func TestMembers(t *testing.T) {
	for _, scene := range []string{"sums", "other names", "other lengths", "other types", "failure"} {
		for _, ranks := range []int{3, 4} {
			t.Run(fmt.Sprint(scene, ranks), func(t *testing.T) {
				if code, out := play(t, scene, ranks); code != 0 {
					t.Errorf("exit code %d\n%s", code, out)
				}
			})
		}
	}
}

// A failure that the others do not come to hear ends them.
func TestAbort(t *testing.T) {
	if code, out := play(t, "late", 2); code != 7 {
		t.Errorf("exit code %d, want 7\n%s", code, out)
	}
}

func TestLibraryThatIsNone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: these are the words of Linux's dynamic linker")
	}
	for file, words := range map[string]string{"libm.so.6": "it has no MPI_", "/nowhere/libmpi.so": "/nowhere/libmpi.so"} {
		t.Setenv(EnvLibrary, file)
		_, _, err := Available()
		var library *LibraryError
		if !errors.As(err, &library) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), InstallHint()) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestLaunched(t *testing.T) {
	for _, test := range []struct {
		name, value string
		want        bool
		words       string
	}{
		{"HOME", "/", false, ""},
		{envOpenMPI, "1", false, ""},
		{envOpenMPI, "4", true, ""},
		{envOpenMPI, "many", false, "many"},
		{envPMIx, "0", true, ""},
		{envPMI, "1", false, ""},
		{envPMI, "2", false, "another MPI"},
	} {
		for _, name := range []string{envOpenMPI, envPMIx, envPMI} {
			t.Setenv(name, "")
		}
		t.Setenv(test.name, test.value)
		got, err := Launched()
		if got != test.want || (err == nil) != (test.words == "") || err != nil && !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s=%s: %v, %v", test.name, test.value, got, err)
		}
	}
}
