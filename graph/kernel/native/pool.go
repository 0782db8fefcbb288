package native

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// pool runs the parts of a stage on its threads: the caller and workers, which
// live until close. Every thread has a share of the parts, takes these from the
// front and then what others have left from the back: a processor that lost time
// to somebody else's work does not keep the others waiting.
//
// Stages are short, and to wake a sleeping thread takes as long as many of them.
// So workers look for the next stage for a while before they sleep, and nobody
// waits for one that wakes too late to find any part left.
type pool struct {
	threads int
	shares  []share
	workers []*worker

	mu    sync.Mutex // one stage at a time
	body  func(thread, part int)
	stage atomic.Uint64 // number of the stage; changes before it opens
	// inside counts the workers at the stage, closed if it takes no more.
	inside  atomic.Int64
	waiting atomic.Bool   // the caller sleeps until no worker is inside
	done    chan struct{} // and is woken by this

	failMu  sync.Mutex
	failure error
}

// closed is pool.inside between stages.
const closed = -1

// worker is one thread beside the caller's.
type worker struct {
	asleep atomic.Bool
	wake   chan bool // false to end
}

// share is what is left of one thread's parts: the first in the upper half, the
// one after the last in the lower. It has a cache line for itself.
type share struct {
	left atomic.Uint64
	_    [56]byte
}

const (
	// patience is how often a thread looks for what it waits for before it
	// sleeps, some 50 microseconds.
	patience = 2000
	// politeness is after how many looks it lets other goroutines run.
	politeness = 32
)

func newPool(threads int) *pool {
	p := &pool{threads: threads, shares: make([]share, threads), done: make(chan struct{}, 1)}
	p.inside.Store(closed)
	for i := range threads - 1 {
		w := &worker{wake: make(chan bool, 1)}
		p.workers = append(p.workers, w)
		go p.serve(w, i+1)
	}
	return p
}

// run calls f(thread, 0) ... f(thread, parts-1), side by side on threads 0 to
// threads-1.
func (p *pool) run(parts int, f func(thread, part int)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if parts <= 1 || len(p.workers) == 0 { // none after close
		for i := range parts {
			p.part(f, 0, i)
		}
		return p.result()
	}
	for i := range p.shares {
		lo, hi := span(parts, i, p.threads, 1)
		p.shares[i].left.Store(uint64(lo)<<32 | uint64(hi))
	}
	p.body = f
	p.stage.Add(1)
	p.inside.Store(0)
	for _, w := range p.workers[:min(parts-1, len(p.workers))] {
		if w.asleep.CompareAndSwap(true, false) {
			w.wake <- true
		}
	}
	p.work(0)
	p.closeStage()
	p.body = nil
	return p.result()
}

func (p *pool) result() error {
	err := p.failure
	p.failure = nil
	return err
}

// closeStage waits until the workers at the stage have left it.
func (p *pool) closeStage() {
	for look := 1; !p.inside.CompareAndSwap(0, closed); look++ {
		switch {
		case look < patience:
			if look%politeness == 0 {
				runtime.Gosched()
			}
		default:
			p.waiting.Store(true)
			if p.inside.Load() > 0 || !p.waiting.CompareAndSwap(true, false) {
				<-p.done // from whoever left last
			}
		}
	}
}

// enter joins the stage, unless it is closed.
func (p *pool) enter() bool {
	for {
		n := p.inside.Load()
		if n == closed {
			return false
		}
		if p.inside.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (p *pool) leave() {
	if p.inside.Add(-1) == 0 && p.waiting.CompareAndSwap(true, false) {
		p.done <- struct{}{}
	}
}

// serve is the life of worker w.
func (p *pool) serve(w *worker, thread int) {
	seen := uint64(0)
	for {
		if p.stage.Load() != seen && p.enter() {
			seen = p.stage.Load()
			p.work(thread)
			p.leave()
		}
		if !p.await(w, seen) {
			return
		}
	}
}

// await returns when there may be another stage than the one seen, false at the
// end.
func (p *pool) await(w *worker, seen uint64) bool {
	fresh := func() bool { return p.stage.Load() != seen && p.inside.Load() != closed }
	for look := range patience {
		if fresh() {
			return true
		}
		if look%politeness == politeness-1 {
			runtime.Gosched()
		}
	}
	w.asleep.Store(true)
	if fresh() && w.asleep.CompareAndSwap(true, false) {
		return true
	}
	return <-w.wake
}

// work does parts until none is left: the thread's own, then others'.
func (p *pool) work(thread int) {
	for i := range p.threads {
		for {
			part, ok := p.shares[(thread+i)%p.threads].take(i == 0)
			if !ok {
				break
			}
			p.part(p.body, thread, part)
		}
	}
}

// take takes the first part, or else the last.
func (s *share) take(first bool) (part int, ok bool) {
	for {
		v := s.left.Load()
		lo, hi := v>>32, v&(1<<32-1)
		if lo >= hi {
			return 0, false
		}
		taken := lo
		if first {
			lo++
		} else {
			hi--
			taken = hi
		}
		if s.left.CompareAndSwap(v, lo<<32|hi) {
			return int(taken), true
		}
	}
}

// part turns a panic, which on a worker would end the process, into an error.
func (p *pool) part(f func(thread, part int), thread, part int) {
	defer func() {
		if r := recover(); r != nil {
			p.failMu.Lock()
			p.failure = fmt.Errorf("native: a kernel failed: %v", r)
			p.failMu.Unlock()
		}
	}()
	f(thread, part)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		w.wake <- false
	}
	p.workers = nil
}

// span is the part's share [lo, hi) of n things; the borders between shares
// are multiples of align.
func span(n, part, parts, align int) (lo, hi int) {
	blocks := (n + align - 1) / align
	lo = blocks * part / parts * align
	hi = blocks * (part + 1) / parts * align
	return min(lo, n), min(hi, n)
}
