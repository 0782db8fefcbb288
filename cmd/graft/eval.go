package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/progress"
	"github.com/graft-onnx/graft/train/report"
)

// evalCommand is `graft eval`.
type evalCommand struct {
	configFlags
	deviceFlags
	Model     string `help:"Model or checkpoint to measure, instead of DIR's checkpoint." placeholder:"FILE" type:"existingfile"`
	Visualize string `help:"Folder for pictures beside truth and prediction." placeholder:"DIR" type:"path"`
	JSON      bool   `name:"json" help:"Write the figures as JSON."`
}

// Help is shown by --help.
func (evalCommand) Help() string {
	return `Examples:
  graft eval --cfg camvid.yaml
  graft eval --cfg camvid.yaml --model runs/camvid/checkpoint.onnx --visualize pictures
  graft eval --cfg camvid.yaml --json DATASET.imgSizes "(240, 300)"

Every picture is evaluated at each size of DATASET.imgSizes and the probabilities
are averaged. mIoU is the reference project's: classes that occur nowhere count as
0; the mean over the classes present stands beside it.`
}

func (c *evalCommand) Run(ctx context.Context, s streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	m, err := loadModel(checkpointOf(cfg, c.Model))
	if err != nil {
		return err
	}
	set, err := data.Open(cfg, data.Val)
	if err != nil {
		return err
	}
	classes, err := classesOf(cfg, m)
	if err != nil {
		return err
	}
	if c.Visualize != "" || cfg.Val.Visualize {
		if c.Visualize == "" {
			c.Visualize = filepath.Join(cfg.Dir, "evaluation")
		}
		if err := os.MkdirAll(c.Visualize, 0o755); err != nil {
			return err
		}
	}
	dev, err := c.open(s.err)
	if err != nil {
		return err
	}
	defer dev.Close()
	p, err := train.NewPredictor(m, dev)
	if err != nil {
		return err
	}
	if p.Classes != cfg.Dataset.NumClass {
		return fmt.Errorf("%s has %d classes, DATASET.num_class says %d", checkpointOf(cfg, c.Model), p.Classes, cfg.Dataset.NumClass)
	}
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
		return report.SavePNG(filepath.Join(c.Visualize, pictureName(r.Item.Record.Name)), img)
	})
	meter.Done()
	if err != nil {
		return err
	}
	summary := confusion.Summary()
	if c.JSON {
		return writeJSON(s.out, summary)
	}
	return report.WriteTable(s.out, &summary, classes)
}

// pictureName makes a file name of a record's name: its folders become part of
// the name, since two folders may hold pictures of one name.
func pictureName(record string) string {
	name := strings.TrimSuffix(record, filepath.Ext(record))
	name = strings.TrimLeft(filepath.ToSlash(name), "./")
	return strings.NewReplacer("/", "_", ":", "_").Replace(name) + ".png"
}
