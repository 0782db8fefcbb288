package train

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/events"
	"github.com/graft-onnx/graft/train/history"
	"github.com/graft-onnx/graft/train/metric"
	"github.com/graft-onnx/graft/train/progress"
	"github.com/graft-onnx/graft/train/report"
)

// eventImages are the samples that event files keep, smaller than in a report:
// there are some of every evaluation.
func eventImages(samples []report.Sample, classes models.Classes) ([]events.Image, error) {
	const most, side = 4, 256
	var out []events.Image
	for _, s := range samples[:min(len(samples), most)] {
		img, err := s.Image(classes, side)
		if err != nil {
			return nil, err
		}
		b, err := report.PNG(img)
		if err != nil {
			return nil, err
		}
		out = append(out, events.Image{Tag: s.Name, Width: img.Rect.Dx(), Height: img.Rect.Dy(), PNG: b})
	}
	return out, nil
}

// reportSamples is how many pictures of the validation set a report shows.
const reportSamples = 6

// sampler keeps some pictures of an evaluation, evenly spread over the set,
// whatever the order in which they come.
type sampler struct {
	every int // a multiple of the number of processes: those of the first
	kept  [reportSamples]report.Sample
}

func newSampler(records, processes int) *sampler {
	return &sampler{every: processes * max(1, records/reportSamples/processes)}
}

func (s *sampler) keep(one *Prediction) {
	if at := one.Item.Index / s.every; one.Item.Index%s.every == 0 && at < len(s.kept) {
		s.kept[at] = report.Sample{
			Name: one.Item.Record.Name, Picture: one.Item.Picture,
			Truth: slices.Clone(one.Item.Labels), Prediction: one.Classes,
		}
	}
}

// samples are those that came.
func (s *sampler) samples() []report.Sample {
	return slices.DeleteFunc(s.kept[:], func(one report.Sample) bool { return one.Picture == nil })
}

// report writes the HTML report of a finished run.
func (r *run) report(ctx context.Context) error {
	sets := []*data.Set{r.train}
	if r.val != nil {
		sets = append(sets, r.val)
	}
	fmt.Fprintln(r.Output, "describing the data set for the report")
	statistics, err := describe(ctx, sets, data.OptionsFrom(r.Config))
	if err != nil {
		statistics = nil // asked to stop; all else is there
	}
	page := page{
		cfg: r.Config, classes: r.classes, environment: r.environment(), history: r.folder.history(),
		confusion: r.confusion, samples: r.samples, data: statistics,
	}
	return page.save(filepath.Join(r.Config.Dir, ReportFile))
}

// page is what a report of a run is made of.
type page struct {
	cfg         *config.Config
	classes     models.Classes
	environment *report.Environment
	history     *history.History
	confusion   *metric.Confusion // nil without an evaluation
	samples     []report.Sample
	data        []report.DataSet
}

func (p *page) save(path string) error {
	r := report.Report{
		Title: filepath.Base(p.cfg.Dir), Command: p.environment.Command, Config: p.cfg.String(), Environment: p.environment.Facts(),
		Classes: p.classes, History: p.history, Confusion: p.confusion, Samples: p.samples, Data: p.data,
	}
	if p.confusion != nil {
		s := p.confusion.Summary()
		r.Summary = &s
	}
	return r.Save(path)
}

// describe reads the training set and, if there is a second, the validation
// set, or as much of them as takes little time.
func describe(ctx context.Context, sets []*data.Set, o data.Options) ([]report.DataSet, error) {
	const most = 500
	var out []report.DataSet
	for i, set := range sets {
		part := &data.Set{Name: set.Name, Records: set.Records}
		if n := len(set.Records); n > most {
			part.Records = make([]data.Record, most)
			for k := range part.Records {
				part.Records[k] = set.Records[k*n/most]
			}
		}
		r, err := data.Inspect(ctx, part, o, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, report.DataSet{Name: [...]string{"training", "validation"}[i], Records: len(set.Records), Report: r})
	}
	return out, nil
}

// ReportOptions says what Report makes a page of.
type ReportOptions struct {
	Dir    string // the run folder
	Output string // file; "" for the run's own
	// Model is evaluated, "" for the run's checkpoint.
	Model string
	// Device computes the evaluation. Without one the page shows what the run
	// folder tells alone, and the data set is not read.
	Device kernel.Device
	// Progress gets the progress display, usually os.Stderr; nil for none.
	Progress io.Writer
}

// Report writes the HTML report of a run folder anew, of a finished run or one
// that has not ended yet, and returns the file.
func Report(ctx context.Context, o ReportOptions) (string, error) {
	settings := filepath.Join(o.Dir, ConfigFile)
	cfg, err := config.Load(settings)
	if err != nil {
		return "", fmt.Errorf("%s: no run folder: %w", o.Dir, err)
	}
	p := page{cfg: cfg}
	if p.environment, err = report.LoadEnvironment(filepath.Join(o.Dir, EnvironmentFile)); err != nil {
		return "", fmt.Errorf("%w; `graft train --cfg %s --resume` writes it anew", err, settings)
	}
	if p.history, err = history.Load(o.Dir); err != nil {
		return "", err
	}
	if o.Device != nil {
		if err := p.measure(ctx, o); err != nil {
			return "", err
		}
	}
	out := cmp.Or(o.Output, filepath.Join(o.Dir, ReportFile))
	return out, p.save(out)
}

// measure evaluates a model of the run and describes the data set.
func (p *page) measure(ctx context.Context, o ReportOptions) error {
	file := cmp.Or(o.Model, filepath.Join(o.Dir, CheckpointFile))
	m, err := onnx.Load(file)
	if err != nil {
		return err
	}
	if err := onnx.Check(m); err != nil {
		return err
	}
	if p.classes, err = ClassesOf(p.cfg, m); err != nil {
		return err
	}
	set, err := data.Open(p.cfg, data.Train)
	if err != nil {
		return fmt.Errorf("%w; where the data set is not at hand, --no-data makes a report without it", err)
	}
	sets, options := []*data.Set{set}, data.OptionsFrom(p.cfg)
	if data.Has(p.cfg, data.Val) {
		if set, err = data.Open(p.cfg, data.Val); err != nil {
			return err
		}
		sets = append(sets, set)
		predictors, err := NewPredictors(m, o.Device)
		if err != nil {
			return err
		}
		if predictors.Classes() != len(p.classes) {
			return fmt.Errorf("%s has %d classes, DATASET.num_class of the run says %d", file, predictors.Classes(), len(p.classes))
		}
		predictors.Configure(&p.cfg.Val)
		meter := progress.New(cmp.Or(o.Progress, io.Discard), progress.Options{Label: "eval", Total: len(set.Records)})
		defer meter.Done()
		pictures := newSampler(len(set.Records), 1)
		if p.confusion, err = predictors.Evaluate(ctx, set, options, func(one *Prediction) error {
			meter.Step(one.Item.Index+1, "")
			pictures.keep(one)
			return nil
		}); err != nil {
			return err
		}
		p.samples = pictures.samples()
	}
	p.data, err = describe(ctx, sets, options)
	return err
}
