package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/graft-onnx/graft/internal/atomicfile"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/metric"
	"github.com/graft-onnx/graft/train/progress"
	"github.com/graft-onnx/graft/train/report"
)

// predictCommand is `graft predict`.
type predictCommand struct {
	devicesFlags
	Model   string   `arg:"" help:"Model of graft new, or a checkpoint." predictor:"onnx"`
	Images  []string `arg:"" name:"pictures" help:"Pictures, folders of pictures, .odgt lists, or .txt lists of one picture a line." predictor:"file"`
	Out     string   `short:"o" help:"Folder for the results." default:"predictions" predictor:"folder"`
	Force   bool     `help:"Replace existing results."`
	Sizes   []int    `help:"Short sides to evaluate at; probabilities are averaged." default:"300"`
	MaxSize int      `help:"Largest long side." default:"1000"`
	Stride  int      `help:"Sides are rounded up to a multiple of it." default:"8"`
	Flip    bool     `help:"Average with the mirrored picture's probabilities."`
	Window  []int    `help:"Evaluate larger pictures by parts of this height and width, or side." placeholder:"H,W"`
	Overlap float64  `help:"Share of a part that the next one repeats." default:"0.25"`
	Opacity float64  `help:"Of the colours in the overlay, 0 to 1." default:"0.5"`
	jsonFlag

	cfg *config.Config // of graft test; nil for defaults
}

// Help is shown by --help.
func (predictCommand) Help() string {
	return `Examples:
  graft predict runs/camvid/checkpoint.onnx street.jpg
  graft predict runs/camvid/checkpoint.onnx pictures -o results --sizes 240,300 --flip
  graft predict runs/camvid/checkpoint.onnx pictures --devices cpu:0,cpu:1
  graft predict runs/camvid/checkpoint.onnx aerial.tif --sizes 4000 --max-size 6000 --window 512,512

For every picture: NAME_labels.png (class numbers), NAME_colours.png, NAME_overlay.png,
and the share of each class on standard output.`
}

// endings are what the files of one picture's result end in.
var endings = []string{"_labels.png", "_colours.png", "_overlay.png"}

// predicted is one picture's result.
type predicted struct {
	Picture string       `json:"picture"`
	Labels  string       `json:"labels"`
	Colours string       `json:"colours"`
	Overlay string       `json:"overlay"`
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
	if least := slices.Min(append(c.Sizes, c.MaxSize, c.Stride)); least < 1 {
		return usage("--sizes, --max-size and --stride are 1 or more, not %d", least)
	}
	val := config.Val{Flip: c.Flip, Window: c.Window, Overlap: c.Overlap}
	if len(c.Window) > 2 || len(c.Window) > 0 && slices.Min(c.Window) < 1 {
		return usage("--window is a height and a width, or a side, not %v", c.Window)
	}
	if c.Overlap < 0 || c.Overlap > 0.95 {
		return usage("--overlap is %g; give 0 to 0.95", c.Overlap)
	}
	names, err := c.names(nil)
	if err != nil {
		return err
	}
	m, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	set, err := data.OpenImages(c.Images...)
	if err != nil {
		return err
	}
	results := resultNames(set.Records)
	devices, err := c.openAll(s.err, names)
	if err != nil {
		return err
	}
	defer closeAll(devices)
	p, err := train.NewPredictors(m, devices...)
	if err != nil {
		return err
	}
	p.Configure(&val)
	cfg := cmp.Or(c.cfg, config.Default())
	cfg.Dataset.ImgSizes, cfg.Dataset.ImgMaxSize, cfg.Dataset.PaddingConstant = c.Sizes, c.MaxSize, c.Stride
	cfg.Dataset.SegmDownsamplingRate, cfg.Dataset.NumClass = 1, p.Classes()
	classes, err := train.ClassesOf(cfg, m)
	if err != nil {
		return err
	}
	if err := makeFolder(c.Out, results, endings, c.Force); err != nil {
		return err
	}
	meter := progress.New(s.err, progress.Options{Label: "predict", Total: len(set.Records)})
	all := []predicted{}
	mean, std, err := onnx.Normalisation(m)
	if err != nil {
		return err
	}
	opt := data.OptionsFrom(cfg)
	opt.Mean, opt.Std = [3]float32(mean), [3]float32(std)
	if c.cfg == nil {
		opt.Orientation = data.ApplyOrientation // cameras write pictures turned
	}
	err = p.Predict(ctx, set, opt, func(r *train.Prediction) error {
		meter.Step(r.Item.Index+1, "")
		base := filepath.Join(c.Out, results[r.Item.Index])
		one := predicted{r.Item.Record.Image, base + endings[0], base + endings[1], base + endings[2], shares(r.Classes, classes)}
		all = append(all, one)
		return c.save(r, classes, one)
	})
	meter.Done()
	if err != nil {
		return err
	}
	return c.result(s.out, all, func(w io.Writer) error {
		for _, one := range all {
			fmt.Fprintln(w, one.Picture)
			for _, k := range one.Shares {
				fmt.Fprintf(w, "  %6.2f %%  %s\n", 100*k.Share, k.Name)
			}
		}
		_, err := fmt.Fprintf(w, "results in %s\n", c.Out)
		return err
	})
}

// shares lists the classes that occur, the largest share first.
func shares(prediction []int32, classes models.Classes) []classShare {
	var list []classShare
	for i, share := range metric.Shares(prediction, len(classes)) {
		if share > 0 {
			list = append(list, classShare{i, classes.Name(i), share})
		}
	}
	slices.SortStableFunc(list, func(a, b classShare) int { return cmp.Compare(b.Share, a.Share) })
	return list
}

func (c *predictCommand) save(r *train.Prediction, classes models.Classes, files predicted) error {
	w, h := r.Item.Picture.Width, r.Item.Picture.Height
	labels, err := report.LabelPNG(r.Classes, w, h, 0)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(files.Labels, labels); err != nil {
		return err
	}
	colours, err := report.ColorMap(r.Classes, w, h, classes)
	if err != nil {
		return err
	}
	if err := report.SavePNG(files.Colours, colours); err != nil {
		return err
	}
	overlay, err := report.Overlay(r.Item.Picture, r.Classes, classes, c.Opacity)
	if err != nil {
		return err
	}
	return report.SavePNG(files.Overlay, overlay)
}
