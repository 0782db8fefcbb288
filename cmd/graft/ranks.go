package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/mpi"
	"github.com/graft-onnx/graft/train"
)

// asRank runs work as one of the processes that mpirun started, with its member
// of their group, or alone with none. Of several the first alone has streams. A
// failure of one ends all, and is told of once.
func asRank(ctx context.Context, s streams, work func(streams, *mpi.Member) error) error {
	launched, err := mpi.Launched()
	if err != nil {
		return err
	}
	if !launched {
		return work(s, nil)
	}
	m, err := mpi.Join()
	if err != nil {
		return err
	}
	mine := s
	if m.Rank() > 0 {
		mine = streams{io.Discard, io.Discard}
	}
	done := make(chan struct{})
	context.AfterFunc(ctx, func() { explainStop(mine.err, m, done) })
	err = work(mine, m)
	close(done)
	var told *graph.GroupError
	if errors.As(err, &told) {
		err = told // without what this rank was doing at the time
	} else if err != nil && !errors.Is(err, train.ErrStopped) {
		m.Fail(err)
		err = fmt.Errorf("%s: %w", m.Name(), err)
		if m.Told() == nil { // the others wait in vain, or compute for long
			m.Abort(exitCode(err, s.err))
		}
	}
	// Leaving takes a moment, in which an mpirun that was told to stop may kill.
	code := exitCode(err, mine.err)
	m.Close()
	if code != 0 {
		return &exitError{code}
	}
	return nil
}

// explainStop says what a rank does that was told to stop and is not done a
// little later: mpirun kills what does not end within a second.
func explainStop(w io.Writer, m *mpi.Member, done <-chan struct{}) {
	const little = 600 * time.Millisecond
	select {
	case <-done:
		return
	case <-time.After(little):
	}
	if m.Waiting() > little/2 {
		fmt.Fprintf(w, "graft: %s: the other ranks do not answer; if one has died, mpirun names it, and --resume goes on from the last checkpoint\n", m.Name())
	} else {
		fmt.Fprintf(w, "graft: %s: stopping after this iteration; if mpirun ends the job before, --resume goes on from the last checkpoint\n", m.Name())
	}
}

// exitError ends the program with an exit code whose reason has been told.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }
