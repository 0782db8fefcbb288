package train

import (
	"path/filepath"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/events"
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

// report writes the HTML report of a finished run.
func (r *run) report() error {
	cfg := r.Config
	page := report.Report{
		Title: filepath.Base(cfg.Dir), Command: r.Command, Config: cfg.String(),
		Environment: r.environment().Facts(),
		Classes:     r.classes, History: r.log.History(), Summary: r.result.Evaluation, Samples: r.samples,
	}
	return page.Save(filepath.Join(cfg.Dir, ReportFile))
}
