package onednn

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/graft-onnx/graft/internal/dl"
)

func newTestThread(t *testing.T) *thread {
	if !dl.Possible {
		t.Skip("skipped: built without the loader of shared libraries")
	}
	th := newThread(nil)
	t.Cleanup(th.close)
	return th
}

func TestThreadIsOne(t *testing.T) {
	th := newTestThread(t)
	if th.here() {
		t.Fatal("the test runs on the thread")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				th.do(func() error {
					if !th.here() || osThread() != th.id.Load() {
						t.Error("not on the thread")
					}
					return nil
				})
			}
		})
	}
	wg.Wait()
}

func TestThreadNests(t *testing.T) {
	th := newTestThread(t)
	want := errors.New("from the inside")
	err := th.do(func() error { return th.do(func() error { return want }) })
	if err != want {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestThreadPanics(t *testing.T) {
	th := newTestThread(t)
	func() {
		defer func() {
			if r := recover(); r != "as if here" {
				t.Errorf("recovered %v", r)
			}
		}()
		th.do(func() error { panic("as if here") })
		t.Error("the panic got lost")
	}()
	if err := th.do(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// A test that fails inside Do ends its goroutine; the device goes on.
func TestThreadSurvivesGoexit(t *testing.T) {
	th := newTestThread(t)
	done := make(chan bool)
	go func() {
		defer close(done)
		th.do(func() error { runtime.Goexit(); return nil })
		t.Error("the caller went on")
	}()
	<-done
	if err := th.do(func() error {
		if !th.here() {
			t.Error("not on the thread")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestThreadClosed(t *testing.T) {
	th := newTestThread(t)
	th.close()
	th.close()
	if err := th.do(func() error { return nil }); err != errClosed {
		t.Errorf("error %v, want %v", err, errClosed)
	}
}
