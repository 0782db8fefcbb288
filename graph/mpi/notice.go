package mpi

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/internal/dl"
)

// notice is what a member says before a sum.
type notice struct {
	state   uint64
	what    uint64 // hash of the kind of numbers
	numbers uint64
}

// failing is the state of a member that cannot go on; that of others is 0.
const failing = 1

// noticeOf announces numbers of size bytes each.
func noticeOf(what string, numbers, size int) notice {
	h := fnv.New64a()
	fmt.Fprint(h, size, what)
	return notice{what: h.Sum64(), numbers: uint64(numbers)}
}

// errLate says that not all members came in time.
var errLate = errors.New("the other ranks do not answer")

// meet waits for the notices of all members, for ever if limit is 0. Where they
// differ, all get the same *graph.GroupError, made of their words: what they
// offer, or why they fail.
func (m *Member) meet(n notice, words string, limit time.Duration) error {
	switch {
	case m.failed != nil:
		return m.failed
	case m.broken != nil:
		return m.broken
	}
	m.mine = n
	size := unsafe.Sizeof(n)
	if err := m.check("MPI_Iallgather", dl.Call(m.iallgather, uintptr(unsafe.Pointer(&m.mine)), size, m.byteType,
		uintptr(unsafe.Pointer(&m.all[0])), size, m.byteType, m.world, uintptr(unsafe.Pointer(&m.request)))); err != nil {
		return m.breaks(err)
	}
	if err := m.await(limit); err != nil {
		return m.breaks(err)
	}
	differs := func(o notice) bool { return o != m.all[0] || o.state == failing }
	if !slices.ContainsFunc(m.all, differs) {
		return nil
	}
	said, err := m.exchange(words)
	if err != nil {
		return m.breaks(err)
	}
	if i := slices.IndexFunc(m.all, func(o notice) bool { return o.state == failing }); i >= 0 {
		m.failed = &graph.GroupError{Member: m.names[i], Reason: said[i]}
	} else {
		i := slices.IndexFunc(m.all, differs)
		m.failed = graph.Disagreement(m.names[i], said[i], m.names[0], said[0])
	}
	return m.failed
}

// breaks remembers an error after which the members are no longer in step.
func (m *Member) breaks(err error) error {
	m.broken = err
	return err
}

// await waits for the exchange under way. Short waits are spent asking; in long
// ones the processor is left to others, for up to an eighth of the time that has
// passed.
func (m *Member) await(limit time.Duration) error {
	const short, longest = 100 * time.Microsecond, time.Millisecond
	for begin := time.Now(); ; {
		if err := m.check("MPI_Test", dl.Call(m.test, uintptr(unsafe.Pointer(&m.request)), uintptr(unsafe.Pointer(&m.done)), 0)); err != nil {
			return err
		}
		waited := time.Since(begin)
		switch {
		case m.done != 0:
			return nil
		case limit > 0 && waited > limit:
			return errLate
		case waited > short:
			time.Sleep(min(waited/8, longest))
		}
	}
}

// exchange hands a text to all members and returns those of all, each cut to
// what fits.
func (m *Member) exchange(text string) ([]string, error) {
	const most = 4096
	var mine [most]byte
	copy(mine[:], text)
	all := make([]byte, most*m.size)
	if err := m.check("MPI_Allgather", dl.Call(m.allgather, uintptr(unsafe.Pointer(&mine[0])), most, m.byteType,
		uintptr(unsafe.Pointer(&all[0])), most, m.byteType, m.world)); err != nil {
		return nil, err
	}
	var texts []string
	for t := range slices.Chunk(all, most) {
		texts = append(texts, strings.ToValidUTF8(strings.TrimRight(string(t), "\x00"), ""))
	}
	return texts, nil
}
