package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

// untilStopped runs work that cannot be stopped on the way, and returns the
// context's error as soon as that ends. The work goes on until the process
// ends, so it must write no files.
func untilStopped[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
		panic any
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			done <- o
		}()
		o.value, o.err = work()
	}()
	select {
	case o := <-done:
		if o.panic != nil {
			panic(o.panic) // run tells of it
		}
		if o.err == nil {
			o.err = ctx.Err()
		}
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
