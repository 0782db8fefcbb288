package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/graft-onnx/graft/internal/atomicfile"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/metric"
	"github.com/graft-onnx/graft/train/progress"
	"github.com/graft-onnx/graft/train/report"
)

// evalCommand is `graft eval`.
type evalCommand struct {
	configFlags
	devicesFlags
	Model     string `help:"Model or checkpoint to measure, instead of VAL.checkpoint in DIR." placeholder:"FILE" predictor:"onnx"`
	Visualize string `help:"Folder for pictures beside truth and prediction." placeholder:"DIR" predictor:"folder"`
	Tables    string `help:"Folder for confusion.csv, confusion.svg and classes.csv." placeholder:"DIR" predictor:"folder"`
	Force     bool   `help:"Replace existing pictures and tables."`
	jsonFlag
}

// Help is shown by --help.
func (evalCommand) Help() string {
	return `Examples:
  graft eval --cfg camvid.yaml
  graft eval --cfg camvid.yaml --model runs/camvid/checkpoint.onnx --visualize pictures
  graft eval --cfg camvid.yaml --tables tables VAL.flip True VAL.window "(512, 512)"
  graft eval --cfg camvid.yaml --devices cpu:0,cpu:1
  graft eval --cfg camvid.yaml --json DATASET.imgSizes "(240, 300)"

Every picture is evaluated at each size of DATASET.imgSizes and the probabilities
are averaged; with VAL.flip those of the mirrored picture as well. VAL.window has larger
pictures evaluated by parts that overlap by VAL.overlap. Several devices share the
pictures out. mIoU is the reference project's: classes that occur nowhere count as 0; the
mean over the classes present stands beside it.`
}

func (c *evalCommand) Run(ctx context.Context, s streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	names, err := c.names(cfg.Train.Devices)
	if err != nil {
		return err
	}
	file, err := checkpointOf(cfg, c.Model, "VAL.checkpoint", cfg.Val.Checkpoint, s.err)
	if err != nil {
		return err
	}
	m, err := loadModel(file)
	if err != nil {
		return err
	}
	set, err := data.Open(cfg, data.Val)
	if err != nil {
		return err
	}
	classes, err := train.ClassesOf(cfg, m)
	if err != nil {
		return err
	}
	if c.Visualize == "" && cfg.Val.Visualize {
		c.Visualize = filepath.Join(cfg.Dir, "evaluation")
	}
	results := resultNames(set.Records)
	if c.Visualize != "" {
		if err := makeFolder(c.Visualize, results, []string{".png"}, c.Force); err != nil {
			return err
		}
	}
	if c.Tables != "" {
		if err := makeFolder(c.Tables, []string{""}, tableNames, c.Force); err != nil {
			return err
		}
	}
	devices, err := c.or(cfg).openAll(s.err, names)
	if err != nil {
		return err
	}
	defer closeAll(devices)
	p, err := train.NewPredictors(m, devices...)
	if err != nil {
		return err
	}
	if p.Classes() != cfg.Dataset.NumClass {
		return fmt.Errorf("%s has %d classes, DATASET.num_class says %d", file, p.Classes(), cfg.Dataset.NumClass)
	}
	p.Configure(&cfg.Val)
	meter := progress.New(s.err, progress.Options{Label: "eval", Total: len(set.Records)})
	confusion, err := p.Evaluate(ctx, set, data.OptionsFrom(cfg), func(r *train.Prediction) error {
		meter.Step(r.Item.Index+1, "")
		if c.Visualize == "" {
			return nil
		}
		img, err := report.Comparison(r.Item.Picture, r.Item.Labels, r.Classes, classes)
		if err != nil {
			return err
		}
		return report.SavePNG(filepath.Join(c.Visualize, results[r.Item.Index]+".png"), img)
	})
	meter.Done()
	if err != nil {
		return err
	}
	summary := confusion.Summary()
	if err := train.CheckLabelled(set, &summary); err != nil {
		return err
	}
	if c.Tables != "" {
		if err := writeTables(c.Tables, confusion, &summary, classes); err != nil {
			return err
		}
	}
	return c.result(s.out, summary, func(w io.Writer) error { return report.WriteTable(w, &summary, classes) })
}

// tableNames are the files of --tables.
var tableNames = []string{"confusion.csv", "confusion.svg", "classes.csv"}

// writeTables writes an evaluation's confusion matrix and figures.
func writeTables(dir string, c *metric.Confusion, s *metric.Summary, classes models.Classes) error {
	names := make([]string, c.Classes)
	for i := range names {
		names[i] = classes.Name(i)
	}
	var matrix, figures bytes.Buffer
	if err := c.WriteCSV(&matrix, names); err != nil {
		return err
	}
	if err := s.WriteCSV(&figures, names); err != nil {
		return err
	}
	for i, content := range [][]byte{matrix.Bytes(), report.Confusion(c, classes), figures.Bytes()} {
		if err := atomicfile.WriteBytes(filepath.Join(dir, tableNames[i]), content); err != nil {
			return err
		}
	}
	return nil
}
