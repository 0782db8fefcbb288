// Package history keeps the figures of a run: one Record per training
// iteration, one Evaluation per pass over the validation set.
//
// A Log writes them into the run folder as they come: history.csv and
// evaluation.csv grow by whole lines, history.json is replaced as a whole.
// Opening a Log at iteration k keeps what lies before k and drops the rest,
// a torn last line included, so that a resumed run continues the files the
// uninterrupted run would have.
package history
