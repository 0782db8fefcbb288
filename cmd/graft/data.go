package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/report"
)

// dataCommand is `graft data`.
type dataCommand struct {
	configFlags
	Split   string  `help:"Which set: train or val." enum:"train,val" default:"train"`
	Samples int     `help:"Write so many training pictures as the network gets them, with their masks laid over." placeholder:"N"`
	Out     string  `short:"o" help:"Folder for the samples." default:"samples" predictor:"folder"`
	Force   bool    `help:"Replace existing samples."`
	Opacity float64 `help:"Of the colours laid over, 0 to 1." default:"0.5"`
	jsonFlag
}

// Help is shown by --help.
func (dataCommand) Help() string {
	return `Examples:
  graft data --cfg camvid.yaml
  graft data --cfg camvid.yaml --samples 16 -o samples
  graft data --cfg camvid.yaml --samples 16 DATASET.augment "[{name: rotate, degrees: 10}, {name: flip}]"

Reads every picture and mask of a set: sizes, mean and standard deviation, the share of
each class, largest first, and what training would stop at. The samples are the first ones
of a training with this configuration and seed: NAME.png shows picture, mask and both.`
}

// maxSamples bounds --samples.
const maxSamples = 10000

// dataResult is what the command finds.
type dataResult struct {
	Report  *data.Report `json:"report"`
	Samples []string     `json:"samples,omitempty"` // files

	classes models.Classes
}

func (c *dataCommand) Run(ctx context.Context, s streams) error {
	if c.Opacity < 0 || c.Opacity > 1 {
		return usage("--opacity is %g; give 0 to 1", c.Opacity)
	}
	if c.Samples < 0 || c.Samples > maxSamples {
		return usage("--samples is %d; give 0 to %d", c.Samples, maxSamples)
	}
	if c.Samples > 0 && c.Split != string(data.Train) {
		return usage("--samples shows training pictures; leave --split out")
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	r := dataResult{}
	if r.classes, err = dataClasses(cfg); err != nil {
		return err
	}
	if r.Report, err = inspectSet(ctx, s.err, cfg, data.Split(c.Split)); err != nil {
		return err
	}
	if r.Report.OK() && c.Samples > 0 {
		if r.Samples, err = c.samples(ctx, cfg, r.classes); err != nil {
			return err
		}
	}
	if err := c.result(s.out, r, r.write); err != nil {
		return err
	}
	if !r.Report.OK() {
		return errors.New("the data set has problems that training would stop at")
	}
	return nil
}

// samples writes the first training pictures and returns their files.
func (c *dataCommand) samples(ctx context.Context, cfg *config.Config, classes models.Classes) ([]string, error) {
	set, err := data.Open(cfg, data.Train)
	if err != nil {
		return nil, err
	}
	loader, err := data.NewTrainLoader(set, data.OptionsFrom(cfg))
	if err != nil {
		return nil, err
	}
	names := resultNames(set.Records)
	var files []string
	for k := 0; len(files) < c.Samples; k++ {
		draw := loader.Draw(k)
		for i, at := range draw.Records {
			if len(files) == c.Samples {
				break
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			sample, err := loader.Sample(draw, i)
			if err != nil {
				return nil, err
			}
			name := fmt.Sprintf("%04d_%s", len(files), names[at])
			if err := makeFolder(c.Out, []string{name}, []string{".png"}, c.Force); err != nil {
				return nil, err
			}
			labels := sample.Mask.Labels(nil)
			overlay, err := report.Overlay(sample.Picture, labels, classes, c.Opacity)
			if err != nil {
				return nil, err
			}
			mask, err := report.ColorMap(labels, sample.Picture.Width, sample.Picture.Height, classes)
			if err != nil {
				return nil, err
			}
			file := filepath.Join(c.Out, name+".png")
			if err := report.SavePNG(file, report.SideBySide(4, sample.Picture, mask, overlay)); err != nil {
				return nil, err
			}
			files = append(files, file)
		}
	}
	return files, nil
}

func (r *dataResult) write(w io.Writer) error {
	if err := writeDataReport(w, r.Report, r.classes); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d sizes, %d of %d pictures taller than wide\n", len(r.Report.Sizes), r.Report.Tall, r.Report.Records)
	classes := slices.Clone(r.Report.Classes)
	slices.SortStableFunc(classes, func(a, b data.ClassCount) int { return cmp.Compare(b.Pixels, a.Pixels) })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "class\tshare of labelled pixels\tpictures\t")
	for _, k := range classes {
		fmt.Fprintf(t, "%s\t%.3f %%\t%d\t\n", r.classes.Name(k.Class), 100*k.Share, k.Files)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(r.Samples) > 0 {
		_, err := fmt.Fprintf(w, "\n%d samples in %s\n", len(r.Samples), filepath.Dir(r.Samples[0]))
		return err
	}
	return nil
}
