package native

import (
	"fmt"
	"sync"
)

// pool runs the parts of a stage: part 0 on the caller, part i on worker i.
// The workers live until close.
type pool struct {
	threads int
	work    []chan func(part int)

	mu      sync.Mutex // one stage at a time
	wait    sync.WaitGroup
	failMu  sync.Mutex
	failure error
}

func newPool(threads int) *pool {
	p := &pool{threads: threads, work: make([]chan func(int), threads-1)}
	for i := range p.work {
		c := make(chan func(int), 1)
		p.work[i] = c
		go func() {
			for f := range c {
				p.part(f, i+1)
				p.wait.Done()
			}
		}()
	}
	return p
}

// run calls f(0) ... f(parts-1) side by side, parts being at most threads.
func (p *pool) run(parts int, f func(part int)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	helpers := min(parts-1, len(p.work)) // none after close
	p.wait.Add(helpers)
	for _, c := range p.work[:helpers] {
		c <- f
	}
	p.part(f, 0)
	for i := helpers + 1; i < parts; i++ {
		p.part(f, i)
	}
	p.wait.Wait()
	err := p.failure
	p.failure = nil
	return err
}

// part turns a panic, which on a worker would end the process, into an error.
func (p *pool) part(f func(int), i int) {
	defer func() {
		if r := recover(); r != nil {
			p.failMu.Lock()
			p.failure = fmt.Errorf("native: a kernel failed: %v", r)
			p.failMu.Unlock()
		}
	}()
	f(i)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.work {
		close(c)
	}
	p.work = nil
}

// span is the part's share [lo, hi) of n things; the borders between shares
// are multiples of align.
func span(n, part, parts, align int) (lo, hi int) {
	blocks := (n + align - 1) / align
	lo = blocks * part / parts * align
	hi = blocks * (part + 1) / parts * align
	return min(lo, n), min(hi, n)
}
