package train

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/history"
	"github.com/graft-onnx/graft/train/metric"
	"github.com/graft-onnx/graft/train/progress"
	"github.com/graft-onnx/graft/train/report"
)

// Files of a run folder beside the history's.
const (
	CheckpointFile  = "checkpoint.onnx"
	BestFile        = "best.onnx" // the checkpoint with the best evaluation
	ConfigFile      = "config.yaml"
	EnvironmentFile = "environment.json"
	ReportFile      = "report.html"
	EventsFolder    = "tensorboard"
)

// Errors of Run, for errors.Is.
var (
	// ErrRunExists marks a run folder that a new run would overwrite.
	ErrRunExists = errors.New("the run folder holds a run already")
	// ErrStopped marks a run that was asked to stop and saved its state.
	ErrStopped = errors.New("stopped")
)

// Options says what Run does besides what the configuration says.
type Options struct {
	Config *config.Config
	// Devices hold a replica each; one is enough.
	Devices []kernel.Device
	// Group joins the replica of this process, which then has one device, to
	// those of others that call Run with the same options; nil for none. The
	// first member alone writes files and has a whole Result.
	Group graph.Group
	// Resume is the checkpoint to continue from, "" for a new run.
	Resume string
	// Command is the command line, for the environment report.
	Command []string
	// Version is graft's, for the environment report.
	Version string
	// Output gets the progress display, usually os.Stderr; nil for none.
	Output io.Writer
	// Profiler times the training steps, without the evaluations; nil for
	// none.
	Profiler *graph.Profiler
}

// Result is what a run ends with.
type Result struct {
	Iterations int              // done, earlier runs included
	Loss       float64          // of the last iteration
	Evaluation *metric.Summary  // the last one, nil without a validation set
	Checkpoint string           // file
	Best       *Best            // nil without an evaluation
	History    *history.History // all of it
}

// Best is the checkpoint whose evaluation has the largest mean IoU.
type Best struct {
	File      string  `json:"file"`
	Iteration int     `json:"iteration"` // training iterations done
	MeanIoU   float64 `json:"mean_iou"`
}

// Run trains as a configuration says, inside its run folder. When ctx ends it
// saves a checkpoint and returns an error that wraps ErrStopped. A failure
// leaves the last checkpoint as it was.
func Run(ctx context.Context, o Options) (*Result, error) {
	r, err := start(ctx, o)
	if err != nil {
		return nil, err
	}
	err = r.loop(ctx)
	if e := r.folder.close(); err == nil {
		err = e
	}
	if err == nil || errors.Is(err, ErrStopped) {
		// No process leaves before the first has written everything.
		if _, e := r.ranks.any("the end", false); e != nil {
			err = e
		}
	}
	return &r.result, err
}

// run is one call of Run.
type run struct {
	Options
	ranks    ranks
	replicas *Replicas
	trainer  *Trainer // of the first replica, whose parameters are saved
	train    *data.Set
	val      *data.Set // nil without one
	folder   *folder
	classes  models.Classes
	known    []history.Record // of the checkpoint that the run goes on from
	samples  []report.Sample  // of the last evaluation
	// confusion is that of the last evaluation.
	confusion *metric.Confusion
	result    Result
}

func start(ctx context.Context, o Options) (*run, error) {
	cfg := o.Config
	if o.Output == nil {
		o.Output = io.Discard
	}
	r := &run{Options: o, ranks: ranks{o.Group}}
	r.result.Checkpoint = filepath.Join(cfg.Dir, CheckpointFile)
	if err := r.ranks.same("graft %s", o.Version); err != nil {
		return nil, err
	}
	if err := r.ranks.same("a configuration of fingerprint %.6x", sha256.Sum256(cfg.YAML())); err != nil {
		return nil, err
	}
	if o.Resume == "" {
		if cfg.Train.StartEpoch > 0 {
			return nil, fmt.Errorf("TRAIN.start_epoch %d continues a run; use --resume, which finds the epoch in the checkpoint", cfg.Train.StartEpoch)
		}
		if r.ranks.first() {
			if err := refuseExisting(cfg); err != nil {
				return nil, err
			}
		}
	}
	var err error
	if r.train, err = data.Open(cfg, data.Train); err != nil {
		return nil, err
	}
	if err := r.ranks.sameSet(data.Train, r.train); err != nil {
		return nil, err
	}
	if r.Config, err = Balance(ctx, cfg, r.train); err != nil {
		return nil, err
	}
	if line := balancedWeights(r.Config); line != "" {
		fmt.Fprintln(o.Output, line)
	}
	if data.Has(cfg, data.Val) {
		if r.val, err = data.Open(cfg, data.Val); err != nil {
			return nil, err
		}
		if err := r.ranks.sameSet(data.Val, r.val); err != nil {
			return nil, err
		}
	}
	if r.val == nil && r.Config.Train.Patience > 0 {
		return nil, fmt.Errorf("TRAIN.patience %d counts evaluations, and there is no validation set", r.Config.Train.Patience)
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	if r.classes, err = ClassesOf(r.Config, r.trainer.Net.Structure()); err != nil {
		return nil, err
	}
	if r.ranks.first() {
		return r, r.openFolder()
	}
	return r, nil
}

func (r *run) environment() *report.Environment {
	return report.NewEnvironment(r.Command, r.Version, Describe(r.Devices, r.Group))
}

// open makes the trainer, from a checkpoint or from the start.
func (r *run) open() (err error) {
	if r.Resume == "" {
		if line := untrained(r.Config); line != "" {
			fmt.Fprintln(r.Output, line)
		}
		m, err := InitialModel(r.Config)
		if err != nil {
			return err
		}
		return r.replicate(func(dev kernel.Device) (*Trainer, error) { return NewTrainer(r.Config, m, dev) })
	}
	c, err := LoadCheckpoint(r.Resume)
	if err != nil {
		return err
	}
	if err := r.compare(c); err != nil {
		return err
	}
	if err := r.replicate(func(dev kernel.Device) (*Trainer, error) { return ResumeTrainer(r.Config, c, dev) }); err != nil {
		return err
	}
	if was, now := c.Progress.MaxIterations, r.Config.MaxIters(); now > was {
		fmt.Fprintf(r.Output, "%d of %d iterations are done and %d are wanted now: learning rates follow the schedule of the new length from here\n",
			c.Progress.Iteration, was, now)
	}
	r.known = c.Progress.History
	r.result.Iterations = c.Progress.Iteration
	if n := len(r.known); n > 0 {
		r.result.Loss = r.known[n-1].Loss
	}
	return nil
}

// replicate makes a trainer on every device. All begin alike.
func (r *run) replicate(make func(kernel.Device) (*Trainer, error)) (err error) {
	if r.replicas, err = NewReplicas(r.Devices, r.Group, make); err != nil {
		return err
	}
	r.trainer = r.replicas.First()
	return r.ranks.sameState(r.trainer)
}

// compare tells of settings that are not those the checkpoint was written
// with, and refuses those of the model, which is in the checkpoint.
func (r *run) compare(c *Checkpoint) error {
	before, err := config.Parse([]byte(c.Progress.Config), c.Model.Path)
	if err != nil {
		return nil // written by another version, whose keys differ
	}
	var told []string
	for _, change := range config.Changes(before, r.Config) {
		if strings.HasPrefix(change.Key, "MODEL.") && change.Key != "MODEL.fc_dim" { // which follows from the encoder
			return fmt.Errorf("%s: %s was %s and is %s now; a resumed run keeps its model", c.Model.Path, change.Key, change.From, change.To)
		}
		if change.Key != "DIR" {
			told = append(told, fmt.Sprintf("%s %s, was %s", change.Key, change.To, change.From))
		}
	}
	if len(told) > 0 {
		fmt.Fprintf(r.Output, "resuming with other settings: %s\n", strings.Join(told, "; "))
	}
	return nil
}

func (r *run) loop(ctx context.Context) error {
	if r.trainer.Iteration >= r.Config.MaxIters() {
		return r.complete(ctx, fmt.Sprintf("all %d iterations are done; a larger TRAIN.num_epoch trains on", r.Config.MaxIters()))
	}
	if line, ended, err := r.exhausted(); err != nil {
		return err
	} else if ended {
		return r.complete(ctx, line)
	}
	cfg, t := r.Config, r.trainer
	t.Net.SetProfiler(r.Profiler)
	loader, err := data.NewTrainLoader(r.train, r.ranks.options(cfg))
	if err != nil {
		return err
	}
	total := cfg.MaxIters()
	each := cfg.Train.Accumulate * len(r.Devices) // batches of an iteration
	all := each * r.ranks.count()                 // those of other processes too
	reading := ctx
	if r.ranks.several() {
		reading = context.WithoutCancel(ctx) // one does not stop without the others
	}
	stream := loader.Stream(reading, t.Iteration*all, (total-t.Iteration)*all)
	defer stream.Close()
	meter := progress.New(r.Output, progress.Options{Label: "train", Total: total, Start: t.Iteration, Every: cfg.Train.DispIter})
	defer meter.Done()
	for _, line := range append(cfg.Unused(), t.Fallback(), staleStatistics(cfg)) {
		if line != "" {
			meter.Printf("%s", line)
		}
	}
	labels := labelWatch{epoch: cfg.Train.EpochIters, seen: t.Iteration%cfg.Train.EpochIters != 0}
	for t.Iteration < total {
		if stop, err := r.ranks.any("stop", ctx.Err() != nil); err != nil {
			return err
		} else if stop {
			return r.stop(meter)
		}
		begin := time.Now()
		batches, err := takeBatches(stream, each)
		if reading.Err() != nil {
			return r.stop(meter)
		}
		if err != nil {
			return err
		}
		waited := time.Now()
		r.Profiler.Record("(waiting for pictures)", begin, 0)
		rec, err := r.replicas.Step(inputs(batches)...)
		if err != nil {
			return fmt.Errorf("%w (pictures %q)", err, names(batches))
		}
		line, err := labels.after(batches, rec)
		if err != nil {
			return err
		}
		if line != "" {
			meter.Printf("%s", line)
		}
		for _, b := range batches {
			b.Release()
		}
		rec.DataSeconds = waited.Sub(begin).Seconds()
		rec.StepSeconds = time.Since(waited).Seconds()
		if err := r.folder.record(rec); err != nil {
			return err
		}
		r.result.Iterations, r.result.Loss = t.Iteration, rec.Loss
		meter.Step(t.Iteration, fmt.Sprintf("epoch %.2f  loss %.4f  accuracy %5.2f %%  lr %.5f %.5f", rec.Epoch, rec.Loss, 100*rec.Accuracy, rec.LREncoder, rec.LRDecoder))
		if err := r.afterStep(ctx, meter); err != nil {
			return err
		}
		if line, ended, err := r.exhausted(); err != nil {
			return err
		} else if ended && t.Iteration < total {
			meter.Printf("%s", line)
			if err := r.save(); err != nil {
				return err
			}
			break
		}
	}
	return r.finish(ctx)
}

// exhausted reports whether evaluations have not become better for too long. The
// process that knows them says so in a line.
func (r *run) exhausted() (line string, ended bool, err error) {
	n := r.Config.Train.Patience
	if n == 0 {
		return "", false, nil
	}
	best, since, _ := r.folder.history().Best()
	if ended, err = r.ranks.any("patience", since >= n); err != nil || !ended {
		return "", false, err
	}
	return fmt.Sprintf("stopped early after %d iterations: %d evaluations without a better mIoU than %.2f %% after %d iterations; a larger TRAIN.patience trains on",
		r.trainer.Iteration, since, 100*best.MeanIoU, best.Iteration), true, nil
}

// finish collects the result of a run that is done.
func (r *run) finish(ctx context.Context) error {
	r.result.History = r.folder.history()
	if best, _, ok := r.result.History.Best(); ok {
		file := filepath.Join(r.Config.Dir, BestFile)
		if _, err := os.Stat(file); err == nil {
			r.result.Best = &Best{file, best.Iteration, best.MeanIoU}
		}
	}
	if !r.ranks.first() {
		return nil
	}
	return r.report(ctx)
}

// complete ends a run whose last step is in the checkpoint already: it may have
// been stopped in the evaluation after it, or be resumed into another folder.
func (r *run) complete(ctx context.Context, why string) error {
	total := r.Config.MaxIters()
	meter := progress.New(r.Output, progress.Options{Label: "train", Total: total, Start: total, Every: r.Config.Train.DispIter})
	defer meter.Done()
	meter.Printf("%s", why)
	if err := r.save(); err != nil {
		return err
	}
	if r.val != nil {
		if err := r.evaluate(ctx, meter); err != nil {
			if errors.Is(err, ErrStopped) {
				return r.stop(meter)
			}
			return err
		}
	}
	return r.finish(ctx)
}

// afterStep evaluates and saves where the configuration says so.
func (r *run) afterStep(ctx context.Context, meter *progress.Meter) error {
	c, done := &r.Config.Train, r.trainer.Iteration
	last := done == r.Config.MaxIters()
	epochEnd := done%c.EpochIters == 0
	save := last || epochEnd && c.CheckpointIters == 0 || c.CheckpointIters > 0 && done%c.CheckpointIters == 0
	if r.val != nil && (last || c.EvalEpochs > 0 && epochEnd && done/c.EpochIters%c.EvalEpochs == 0) {
		// The checkpoint comes first: an evaluation that is interrupted loses
		// no training.
		if save {
			if err := r.save(); err != nil {
				return err
			}
		}
		if err := r.evaluate(ctx, meter); err != nil {
			if errors.Is(err, ErrStopped) {
				return r.stop(meter)
			}
			return err
		}
		return nil
	}
	if save {
		return r.save()
	}
	return nil
}

func (r *run) evaluate(ctx context.Context, meter *progress.Meter) error {
	r.trainer.Net.SetProfiler(nil)
	defer r.trainer.Net.SetProfiler(r.Profiler)
	begin := time.Now()
	pictures := newSampler(len(r.val.Records), r.ranks.count())
	part, err := r.replicas.Predictors().Evaluate(ctx, r.val, r.ranks.options(r.Config), func(one *Prediction) error {
		pictures.keep(one)
		return nil
	})
	confusion, err := r.ranks.merge(ctx, part, err)
	if err != nil {
		return err
	}
	s, done := confusion.Summary(), r.trainer.Iteration
	if err := CheckLabelled(r.val, &s); err != nil {
		// The training itself is good; there is no figure to choose by.
		meter.Printf("evaluation after %d iterations: %v", done, err)
		return nil
	}
	r.samples, r.confusion, r.result.Evaluation = pictures.samples(), confusion, &s
	meter.Printf("evaluation after %d iterations: mIoU %.2f %%, pixel accuracy %.2f %%", done, 100*s.MeanIoU, 100*s.Accuracy)
	if !r.ranks.first() {
		return nil
	}
	if known := r.folder.history().Evaluations; len(known) > 0 && known[len(known)-1].Iteration == done {
		return nil // of the same weights
	}
	e := history.Evaluation{
		Iteration: done, Epoch: float64(done) / float64(r.Config.Train.EpochIters),
		Accuracy: s.Accuracy, MeanIoU: s.MeanIoU, MeanIoUPresent: s.MeanIoUPresent, Seconds: time.Since(begin).Seconds(),
		IoU: s.IoU(),
	}
	images, err := eventImages(r.samples, r.classes)
	if err != nil {
		return err
	}
	if err := r.folder.evaluated(e, images); err != nil {
		return err
	}
	if _, since, _ := r.folder.history().Best(); since > 0 {
		return nil
	}
	return r.saveTo(filepath.Join(r.Config.Dir, BestFile))
}

// save writes the history and then the checkpoint that refers to it, once all
// processes have the same.
func (r *run) save() error {
	if err := r.ranks.sameState(r.trainer); err != nil || !r.ranks.first() {
		return err
	}
	return r.saveTo(r.result.Checkpoint)
}

func (r *run) saveTo(path string) error {
	if err := r.folder.sync(); err != nil {
		return err
	}
	return r.trainer.Save(path, r.folder.history().Records)
}

// stop saves on request.
func (r *run) stop(meter *progress.Meter) error {
	if err := r.save(); err != nil {
		return err
	}
	r.result.History = r.folder.history()
	meter.Printf("saved %s", r.result.Checkpoint)
	return fmt.Errorf("%w after %d of %d iterations; continue with --resume", ErrStopped, r.trainer.Iteration, r.Config.MaxIters())
}
