package native

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestPoolDoesEveryPartOnce runs stages of all sizes, some with a thread that is
// late, on pools whose workers sleep in between or do not.
func TestPoolDoesEveryPartOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 5} {
		p := newPool(threads)
		for round := range 400 {
			parts := round%23 + 1
			done, busy := make([]atomic.Int32, parts), make([]atomic.Int32, threads)
			err := p.run(parts, func(thread, part int) {
				if busy[thread].Add(1) != 1 {
					t.Errorf("two parts on thread %d at once", thread)
				}
				if round%50 == 7 && part == 0 {
					time.Sleep(time.Millisecond)
				}
				done[part].Add(1)
				busy[thread].Add(-1)
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range done {
				if n := done[i].Load(); n != 1 {
					t.Fatalf("%d threads, %d parts: part %d was done %d times", threads, parts, i, n)
				}
			}
			if round%40 == 0 {
				time.Sleep(2 * time.Millisecond) // workers fall asleep
			}
		}
		p.close()
	}
}

// TestPoolTakesFromSlowThreads checks that a thread that is held up keeps just
// the part that it is at.
func TestPoolTakesFromSlowThreads(t *testing.T) {
	p := newPool(2)
	defer p.close()
	var entered sync.WaitGroup
	entered.Add(2)
	var parts [2]atomic.Int32
	var others atomic.Int32
	err := p.run(16, func(thread, part int) {
		if parts[thread].Add(1) == 1 {
			entered.Done()
			entered.Wait()
			if thread == 1 { // until the other has done the rest
				for others.Load() < 15 {
					time.Sleep(time.Millisecond)
				}
				return
			}
		}
		others.Add(1)
	})
	if err != nil || parts[0].Load() != 15 || parts[1].Load() != 1 {
		t.Errorf("threads did %d and %d parts (%v), want 15 and 1", parts[0].Load(), parts[1].Load(), err)
	}
}

// TestPoolCloses checks that a closed pool works on its caller.
func TestPoolCloses(t *testing.T) {
	p := newPool(4)
	p.close()
	n := 0
	if err := p.run(9, func(_, part int) { n += part }); err != nil || n != 36 {
		t.Errorf("parts add up to %d (%v), want 36", n, err)
	}
}
