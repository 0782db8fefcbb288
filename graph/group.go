package graph

import (
	"fmt"
	"sync"
)

// Group is one member's side of the replicas of a training: Networks of equal
// parameters that take a step together, each on its own batch. All members call
// the sums in the same order, and each call waits for the others. What they get
// has the same bits, so equal parameters stay equal.
type Group interface {
	// Size returns the number of members.
	Size() int
	// Rank returns the number of this one, from 0.
	Rank() int
	// Local returns how many members share this one's machine, itself included.
	Local() int
	// Name tells the members apart in errors: "replica cpu:1".
	Name() string
	// Sum replaces numbers by their sums over the members. what says what they
	// are; members that disagree on it or on the length get a *GroupError.
	Sum(what string, v []float32) error
	// SumDouble is Sum in double precision.
	SumDouble(what string, v []float64) error
	// Fail ends the group, because this member cannot go on: what the others
	// wait in and call from now on returns a *GroupError.
	Fail(err error)
}

// GroupError is a failure in a Group that is not the member's own.
type GroupError struct {
	Member string // who failed
	Reason string
}

func (e *GroupError) Error() string { return e.Member + ": " + e.Reason }

// Offer says what a member brings to a sum: so many numbers of a kind.
func Offer(what string, numbers int) string {
	if numbers == 0 {
		return what
	}
	return fmt.Sprintf("%s of %d numbers", what, numbers)
}

// Disagreement is the error about a member that offers something else than the
// first does.
func Disagreement(member, offer, first, firstOffer string) *GroupError {
	return &GroupError{member, fmt.Sprintf("%s where %s has %s; replicas must train the same model in the same way", offer, first, firstOffer)}
}

// NewGroup returns the members of a Group within this process, by their names.
func NewGroup(names ...string) []Group {
	t := &table{}
	t.turn = sync.NewCond(&t.mu)
	groups := make([]Group, len(names))
	for i, name := range names {
		m := &member{table: t, name: name, seat: i}
		t.members = append(t.members, m)
		groups[i] = m
	}
	return groups
}

// table is where the members of a process meet.
type table struct {
	mu      sync.Mutex
	turn    *sync.Cond // round or failed have changed
	members []*member
	here    int // members that wait in this round
	round   int
	failed  error
}

// member is one goroutine's side. What it offers is its own until it meets the
// others, and theirs as well until they meet again.
type member struct {
	*table
	name   string
	seat   int
	what   string
	single []float32
	double []float64
}

// Size implements Group.
func (m *member) Size() int { return len(m.members) }

// Rank implements Group.
func (m *member) Rank() int { return m.seat }

// Local implements Group.
func (m *member) Local() int { return len(m.members) }

// Name implements Group.
func (m *member) Name() string { return m.name }

// Fail implements Group.
func (m *member) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed == nil {
		m.failed = &GroupError{m.name, err.Error()}
		m.turn.Broadcast()
	}
}

// Sum implements Group.
func (m *member) Sum(what string, v []float32) error {
	m.single, m.double = v, nil
	return m.sum(what, len(v), func(lo, hi int) {
		addUp(m.members, func(m *member) []float32 { return m.single[lo:hi] })
	})
}

// SumDouble implements Group.
func (m *member) SumDouble(what string, v []float64) error {
	m.single, m.double = nil, v
	return m.sum(what, len(v), func(lo, hi int) {
		addUp(m.members, func(m *member) []float64 { return m.double[lo:hi] })
	})
}

// sum has every member add up a stretch of its own for all of them.
func (m *member) sum(what string, n int, add func(lo, hi int)) error {
	m.what = what
	if err := m.meet(); err != nil {
		return err
	}
	first := m.members[0]
	for _, o := range m.members {
		if o.what != first.what || len(o.single) != len(first.single) || len(o.double) != len(first.double) {
			return Disagreement(o.name, o.offer(), first.name, first.offer())
		}
	}
	add(n*m.seat/m.Size(), n*(m.seat+1)/m.Size())
	return m.meet()
}

func (m *member) offer() string { return Offer(m.what, len(m.single)+len(m.double)) }

// addUp replaces what the members have by its sum, added in their order.
func addUp[T float32 | float64](members []*member, part func(*member) []T) {
	sum := part(members[0])
	for _, m := range members[1:] {
		for i, v := range part(m) {
			sum[i] += v
		}
	}
	for _, m := range members[1:] {
		copy(part(m), sum)
	}
}

// meet waits until all members are here.
func (m *member) meet() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return m.failed
	}
	if m.here++; m.here == len(m.members) {
		m.here = 0
		m.round++
		m.turn.Broadcast()
		return nil
	}
	for round := m.round; m.round == round; m.turn.Wait() {
		if m.failed != nil {
			return m.failed
		}
	}
	return nil
}
