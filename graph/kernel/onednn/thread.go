package onednn

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// errClosed is returned by a device after Close.
var errClosed = errors.New("onednn: the device is closed")

// thread is one OS thread that runs functions one after another.
type thread struct {
	id    atomic.Uintptr // of the OS thread
	calls chan *threadCall

	mu     sync.RWMutex // held for reading while a call is handed over
	closed bool
}

// threadCall is a function to run, and how it ended.
type threadCall struct {
	f      func() error
	err    error
	panics any  // the value f panicked with
	exited bool // f ended its goroutine (runtime.Goexit)
	done   chan struct{}
}

// newThread starts a thread and calls prepare on it.
func newThread(prepare func()) *thread {
	t := &thread{calls: make(chan *threadCall)}
	ready := make(chan struct{})
	go t.serve(prepare, ready)
	<-ready
	return t
}

// serve runs on the thread itself. A function that ends its goroutine takes
// the OS thread with it, so a new one takes its place.
func (t *thread) serve(prepare func(), ready chan<- struct{}) {
	runtime.LockOSThread()
	t.id.Store(osThread())
	if prepare != nil {
		prepare()
	}
	close(ready)
	for c := range t.calls {
		if !t.run(c, prepare) {
			return
		}
	}
}

// run runs one call and reports whether the thread goes on.
func (t *thread) run(c *threadCall, prepare func()) (goesOn bool) {
	returned := false
	defer func() {
		if !returned {
			c.panics = recover()
			if c.panics == nil {
				c.exited = true
				ready := make(chan struct{})
				go t.serve(prepare, ready)
				<-ready
			} else {
				goesOn = true
			}
		}
		c.done <- struct{}{}
	}()
	c.err = c.f()
	returned = true
	return true
}

// here reports whether the caller already runs on the thread. Nothing else
// ever runs there, so the OS thread identifies the goroutine.
func (t *thread) here() bool {
	id := t.id.Load()
	return id != 0 && osThread() == id
}

// do runs f on the thread and returns when it is done; at once if the caller
// is on it already. A panic in f continues in the caller.
func (t *thread) do(f func() error) error {
	if t.here() {
		return f()
	}
	c := &threadCall{f: f, done: make(chan struct{}, 1)}
	t.mu.RLock()
	if t.closed {
		t.mu.RUnlock()
		return errClosed
	}
	t.calls <- c
	t.mu.RUnlock()
	<-c.done
	switch {
	case c.exited:
		runtime.Goexit()
	case c.panics != nil:
		panic(c.panics)
	}
	return c.err
}

// close ends the thread after the calls under way.
func (t *thread) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.calls)
	}
}
