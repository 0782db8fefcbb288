package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/graft-onnx/graft/internal/atomicfile"
	"github.com/graft-onnx/graft/internal/folderlock"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/events"
	"github.com/graft-onnx/graft/train/history"
)

// folder is the run folder, held by the process that writes it. A nil folder is
// that of the other processes: it takes everything and keeps nothing.
type folder struct {
	lock   *folderlock.Lock
	log    *history.Log
	events *events.Log
}

// refuseExisting keeps a new run from overwriting another.
func refuseExisting(cfg *config.Config) error {
	if _, err := os.Stat(filepath.Join(cfg.Dir, CheckpointFile)); err == nil {
		return fmt.Errorf("%s: %w; continue it with --resume, or choose another DIR", cfg.Dir, ErrRunExists)
	}
	return nil
}

// openFolder takes the run folder and writes into it what a run begins with.
func (r *run) openFolder() error {
	dir := r.Config.Dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("DIR: %w", err)
	}
	lock, err := folderlock.Acquire(dir)
	if err != nil {
		if errors.Is(err, folderlock.ErrHeld) {
			err = fmt.Errorf("%w; another training writes there, so wait for it or choose another DIR", err)
		}
		return fmt.Errorf("DIR: %w", err)
	}
	f := &folder{lock: lock}
	if err := f.begin(r); err != nil {
		lock.Unlock()
		return err
	}
	r.folder = f
	return nil
}

func (f *folder) begin(r *run) (err error) {
	dir := r.Config.Dir
	atomicfile.Tidy(dir, CheckpointFile, BestFile, ConfigFile, EnvironmentFile, history.RecordsFile, history.EvaluationsFile, history.JSONFile)
	if r.Resume == "" {
		// Another run may have ended between the first look and the lock.
		if err := refuseExisting(r.Config); err != nil {
			return err
		}
	}
	if err := r.Config.Save(filepath.Join(dir, ConfigFile)); err != nil {
		return err
	}
	if err := r.environment().Save(filepath.Join(dir, EnvironmentFile)); err != nil {
		return err
	}
	if f.log, err = history.Open(dir, r.trainer.Iteration, r.known, len(r.classes)); err != nil {
		return err
	}
	names := make([]string, len(r.classes))
	for i := range names {
		names[i] = r.classes.Name(i)
	}
	if f.events, err = events.Open(filepath.Join(dir, EventsFolder), f.log.History(), names); err != nil {
		return errors.Join(err, f.log.Close())
	}
	return nil
}

// history returns what is known so far; the caller must not change it.
func (f *folder) history() *history.History {
	if f == nil {
		return &history.History{}
	}
	return f.log.History()
}

// record adds a step.
func (f *folder) record(rec history.Record) error {
	if f == nil {
		return nil
	}
	if err := f.log.Append(rec); err != nil {
		return err
	}
	return f.events.Record(rec)
}

// evaluated adds an evaluation.
func (f *folder) evaluated(e history.Evaluation, images []events.Image) error {
	if err := f.log.AppendEvaluation(e); err != nil {
		return err
	}
	return f.events.Evaluation(e, images)
}

// sync writes what a checkpoint refers to.
func (f *folder) sync() error {
	return errors.Join(f.log.Sync(), f.events.Flush())
}

// close ends all files and gives the folder back.
func (f *folder) close() error {
	if f == nil {
		return nil
	}
	return errors.Join(f.log.Close(), f.events.Close(), f.lock.Unlock())
}
