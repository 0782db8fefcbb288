package mpi

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/internal/dl"
)

// Member is this process's side of the Group of all processes of the job. Its
// methods may be called from any goroutine.
type Member struct {
	*library
	size, rank int
	names      []string // of all: "rank 2 on host"
	local      int
	threads    int
	spare      int

	finish, finished chan struct{}

	waits atomic.Pointer[time.Time] // since when for other members, nil if not

	mu      sync.Mutex
	failed  *graph.GroupError // what all members know
	broken  error             // what this one alone knows: no more calls
	mine    notice            // what an exchange under way reads and writes
	all     []notice
	request uintptr
	done    int32
	scratch []float64
}

var _ graph.Group = (*Member)(nil)

// Join makes this process a member, once in its life. It waits for the others.
func Join() (*Member, error) {
	l, err := load()
	if err != nil {
		return nil, asLaunched(err)
	}
	m := &Member{library: l, finish: make(chan struct{}), finished: make(chan struct{})}
	begun := make(chan error)
	// MPI wants to be begun and ended by one thread; in between, any may call.
	go func() {
		runtime.LockOSThread()
		err := m.begin()
		begun <- err
		if err == nil {
			<-m.finish
			dl.Call(m.finalize) // nobody is left to tell of an error
			close(m.finished)
		}
	}()
	if err := <-begun; err != nil {
		return nil, asLaunched(err)
	}
	return m, m.meetOthers()
}

// begin initialises MPI and asks for size and rank.
func (m *Member) begin() error {
	var provided, size, rank int32
	if err := m.check("MPI_Init_thread", dl.Call(m.initThread, 0, 0, threadSerialized, uintptr(unsafe.Pointer(&provided)))); err != nil {
		return err
	}
	if provided < threadSerialized {
		return errors.New("this Open MPI was built without threads")
	}
	if err := errors.Join(
		m.check("MPI_Comm_set_errhandler", dl.Call(m.commSetErrhandler, m.world, m.errorsReturn)),
		m.check("MPI_Comm_size", dl.Call(m.commSize, m.world, uintptr(unsafe.Pointer(&size)))),
		m.check("MPI_Comm_rank", dl.Call(m.commRank, m.world, uintptr(unsafe.Pointer(&rank)))),
	); err != nil {
		return err
	}
	m.size, m.rank = int(size), int(rank)
	if want := os.Getenv(envOpenMPI); want != "" && want != fmt.Sprint(size) {
		return fmt.Errorf("the launcher started %s processes and %s (%s) finds %d: they are of different installations", want, m.version, m.path, size)
	}
	m.all = make([]notice, m.size)
	return nil
}

// meetOthers exchanges names, and who computes on the same processors.
func (m *Member) meetOthers() error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	host = strings.Join(strings.Fields(host), "-")
	own, launchers := processors(os.Getpid()), processors(os.Getppid())
	places, err := m.exchange(host + " " + own)
	if err != nil {
		return err
	}
	sharing := 0
	for rank, place := range places {
		name, _, _ := strings.Cut(place, " ")
		m.names = append(m.names, fmt.Sprintf("rank %d on %s", rank, name))
		if name == host {
			m.local++
		}
		if place == places[m.rank] {
			sharing++
		}
	}
	m.threads = max(1, runtime.GOMAXPROCS(0)/sharing)
	if own != launchers {
		m.spare = max(0, count(launchers)-m.local*m.threads)
	}
	return nil
}

// processors lists those that a process may use, as in 0-3,8; "" where the
// system does not tell.
func processors(pid int) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return strings.TrimSpace(list)
		}
	}
	return ""
}

// count counts a list of processors.
func count(list string) (n int) {
	for part := range strings.SplitSeq(list, ",") {
		var from, to int
		switch read, _ := fmt.Sscanf(part, "%d-%d", &from, &to); read {
		case 1:
			n++
		case 2:
			n += to - from + 1
		}
	}
	return n
}

// Size implements graph.Group.
func (m *Member) Size() int { return m.size }

// Rank implements graph.Group.
func (m *Member) Rank() int { return m.rank }

// Local implements graph.Group.
func (m *Member) Local() int { return m.local }

// Name implements graph.Group: "rank 2 on host".
func (m *Member) Name() string { return m.names[m.rank] }

// Threads is this member's even share of the processors that it may use: those
// that mpirun has bound it to, or all, divided among the members there.
func (m *Member) Threads() int { return m.threads }

// Spare is how many processors of this machine the launcher may use and the
// members here do not, because it has bound them to fewer.
func (m *Member) Spare() int { return m.spare }

// patience is how long a member that has failed waits to tell the others.
const patience = 5 * time.Second

// Fail implements graph.Group. It waits a few seconds for the others to come;
// Told says whether they did.
func (m *Member) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil || m.broken != nil {
		return
	}
	if e := m.meet(notice{state: failing}, err.Error(), patience); m.failed == nil {
		m.broken = e
	}
}

// Told returns the failure that all members know of, nil if there is none.
func (m *Member) Told() *graph.GroupError {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// Waiting tells for how long this member has been waiting for others, 0 if it is
// not.
func (m *Member) Waiting() time.Duration {
	if since := m.waits.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}

// Close ends the membership. All members come to it, after work that is done or
// a failure that all were told of. A launcher that is ending the job already
// may not let MPI end in order, so this waits for a second at most.
func (m *Member) Close() {
	close(m.finish)
	select {
	case <-m.finished:
	case <-time.After(time.Second):
	}
}

// Abort ends all processes of the job, this one too, with an exit code.
func (m *Member) Abort(code int) {
	dl.Call(m.abort, m.world, uintptr(code))
	os.Exit(code) // where MPI cannot
}
