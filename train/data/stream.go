package data

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
)

// Stream yields items that goroutines make ahead, in the order in which they
// were asked for. An error comes in its place in that order, and ends the
// stream. One goroutine may call Next.
type Stream[T any] struct {
	ctx    context.Context
	cancel context.CancelFunc
	queue  chan chan result[T] // in order; each gets one result
	done   sync.WaitGroup
	err    error // once set, what Next returns
}

type result[T any] struct {
	item T
	err  error
}

// newStream starts the goroutines. next is called from one goroutine and
// returns the maker of the next item, or false at the end. At most
// workers + ahead items exist that Next has not yielded.
func newStream[T any](parent context.Context, workers, ahead int, next func() (func(context.Context) (T, error), bool)) *Stream[T] {
	ctx, cancel := context.WithCancel(parent)
	s := &Stream[T]{ctx: ctx, cancel: cancel, queue: make(chan chan result[T], max(ahead, 0))}
	type job struct {
		make func(context.Context) (T, error)
		into chan result[T]
	}
	jobs := make(chan job)
	s.done.Add(workers + 1)
	for range workers {
		go func() {
			defer s.done.Done()
			for j := range jobs {
				item, err := safely(ctx, j.make)
				j.into <- result[T]{item, err} // never blocks: room for one
			}
		}()
	}
	go func() {
		defer s.done.Done()
		defer close(s.queue)
		defer close(jobs)
		for {
			mk, ok := next()
			if !ok {
				return
			}
			j := job{mk, make(chan result[T], 1)}
			select {
			case s.queue <- j.into:
			case <-ctx.Done():
				return
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return
			}
		}
	}()
	return s
}

func safely[T any](ctx context.Context, mk func(context.Context) (T, error)) (item T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("data: internal error: %v\n%s", r, debug.Stack())
		}
	}()
	return mk(ctx)
}

// Next returns the next item, io.EOF after the last, the context's error when
// it ends, or the error of making the item.
func (s *Stream[T]) Next() (T, error) {
	var zero T
	if s.err != nil {
		return zero, s.err
	}
	if err := s.ctx.Err(); err != nil {
		return zero, s.fail(context.Cause(s.ctx))
	}
	select {
	case into, ok := <-s.queue:
		if !ok {
			if err := s.ctx.Err(); err != nil {
				return zero, s.fail(context.Cause(s.ctx))
			}
			return zero, s.fail(io.EOF)
		}
		select {
		case r := <-into:
			if r.err != nil {
				return zero, s.fail(r.err)
			}
			return r.item, nil
		case <-s.ctx.Done():
			return zero, s.fail(context.Cause(s.ctx))
		}
	case <-s.ctx.Done():
		return zero, s.fail(context.Cause(s.ctx))
	}
}

func (s *Stream[T]) fail(err error) error {
	s.err = err
	s.cancel()
	return err
}

// Close stops the goroutines and waits for them. It may be called at any
// time, and more than once.
func (s *Stream[T]) Close() {
	if s.err == nil {
		s.err = io.ErrClosedPipe
	}
	s.cancel()
	s.done.Wait()
}
