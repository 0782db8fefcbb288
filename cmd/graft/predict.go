package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/metric"
	"github.com/graft-onnx/graft/train/progress"
	"github.com/graft-onnx/graft/train/report"
)

// predictCommand is `graft predict`.
type predictCommand struct {
	deviceFlags
	Model   string  `arg:"" help:"Model of graft new, or a checkpoint." type:"existingfile"`
	Images  string  `arg:"" help:"Picture, folder of pictures, or .odgt list." type:"path"`
	Out     string  `short:"o" help:"Folder for the results." default:"predictions" type:"path"`
	Sizes   []int   `help:"Short sides to evaluate at; probabilities are averaged." default:"300" placeholder:"N,..."`
	MaxSize int     `help:"Largest long side." default:"1000" placeholder:"N"`
	Stride  int     `help:"Sides are rounded up to a multiple of it." default:"8" placeholder:"N"`
	Opacity float64 `help:"Of the colours in the overlay, 0 to 1." default:"0.5"`
	JSON    bool    `name:"json" help:"Write the class shares as JSON."`
}

// Help is shown by --help.
func (predictCommand) Help() string {
	return `Examples:
  graft predict runs/camvid/checkpoint.onnx street.jpg
  graft predict runs/camvid/checkpoint.onnx pictures -o results --sizes 240,300

For every picture: NAME_labels.png (class numbers), NAME_colours.png, NAME_overlay.png,
and the share of each class on standard output.`
}

// predicted is one picture's result in JSON.
type predicted struct {
	Picture string       `json:"picture"`
	Shares  []classShare `json:"classes"`
}

type classShare struct {
	Class int     `json:"class"`
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

func (c *predictCommand) Run(ctx context.Context, s streams) error {
	if c.Opacity < 0 || c.Opacity > 1 {
		return usage("--opacity is %g; give 0 to 1", c.Opacity)
	}
	m, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	set, err := data.OpenImages(c.Images)
	if err != nil {
		return err
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
	classes, err := classesOfModel(m, p.Classes)
	if err != nil {
		return err
	}
	cfg := config.Default()
	cfg.Dataset.ImgSizes, cfg.Dataset.ImgMaxSize, cfg.Dataset.PaddingConstant = c.Sizes, c.MaxSize, c.Stride
	cfg.Dataset.SegmDownsamplingRate, cfg.Dataset.NumClass = 1, p.Classes
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	meter := progress.New(s.err, progress.Options{Label: "predict", Total: len(set.Records)})
	var all []predicted
	opt := data.OptionsFrom(cfg)
	opt.Orientation = data.ApplyOrientation // cameras write pictures turned
	err = p.Predict(ctx, set, opt, func(r *train.Prediction) error {
		meter.Step(r.Item.Index+1, "")
		all = append(all, predicted{r.Item.Record.Name, shares(r.Classes, classes)})
		return c.save(r, classes)
	})
	meter.Done()
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, all)
	}
	for _, one := range all {
		fmt.Fprintln(s.out, one.Picture)
		for _, k := range one.Shares {
			fmt.Fprintf(s.out, "  %6.2f %%  %s\n", 100*k.Share, k.Name)
		}
	}
	return nil
}

// shares lists the classes that occur, the largest share first.
func shares(prediction []int32, classes *data.Classes) []classShare {
	var list []classShare
	for i, share := range metric.Shares(prediction, len(classes.Names)) {
		if share > 0 {
			list = append(list, classShare{i, classes.Name(i), share})
		}
	}
	slices.SortStableFunc(list, func(a, b classShare) int {
		switch {
		case a.Share > b.Share:
			return -1
		case a.Share < b.Share:
			return 1
		}
		return 0
	})
	return list
}

func (c *predictCommand) save(r *train.Prediction, classes *data.Classes) error {
	base := pictureName(r.Item.Record.Name)
	base = filepath.Join(c.Out, base[:len(base)-len(".png")])
	w, h := r.Item.Picture.Width, r.Item.Picture.Height
	labels, err := report.LabelPNG(r.Classes, w, h, 0)
	if err != nil {
		return err
	}
	if err := os.WriteFile(base+"_labels.png", labels, 0o644); err != nil {
		return err
	}
	colours, err := report.ColorMap(r.Classes, w, h, classes)
	if err != nil {
		return err
	}
	if err := report.SavePNG(base+"_colours.png", colours); err != nil {
		return err
	}
	overlay, err := report.Overlay(r.Item.Picture, r.Classes, classes, c.Opacity)
	if err != nil {
		return err
	}
	return report.SavePNG(base+"_overlay.png", overlay)
}
