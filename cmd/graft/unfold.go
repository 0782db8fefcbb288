package main

import (
	"context"
	"fmt"
	"io"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/progress"
)

// normFlags give an imported encoder batch normalisation.
type normFlags struct {
	BatchNorm []string  `name:"batchnorm" group:"norm" sep:"none" help:"Put batch normalisation behind convolutions without, measured on these pictures: files, folders, .odgt or .txt lists. May be repeated." placeholder:"PICTURES" predictor:"file"`
	Pictures  int       `group:"norm" help:"Most pictures to measure on." default:"64"`
	Size      int       `group:"norm" help:"Their short side." default:"240"`
	Mean      []float32 `group:"norm" help:"DATASET.mean that training will have." default:"0.485,0.456,0.406"`
	Std       []float32 `group:"norm" help:"DATASET.std that training will have." default:"0.229,0.224,0.225"`
}

// normResult says what was given batch normalisation.
type normResult struct {
	Convolutions int           `json:"convolutions"`
	Pictures     int           `json:"pictures"`
	Left         []leftWithout `json:"left,omitempty"`
}

// leftWithout is a convolution that stays without.
type leftWithout struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

func (f *normFlags) check() error {
	if f.Pictures < 1 || f.Size < 1 {
		return usage("--pictures and --size are 1 or more, not %d and %d", f.Pictures, f.Size)
	}
	if len(f.Mean) != 3 || len(f.Std) != 3 {
		return usage("--mean and --std are three numbers each, for red, green and blue")
	}
	for k, s := range f.Std {
		if m := f.Mean[k]; m-m != 0 || s-s != 0 || s <= 0 {
			return usage("--mean and --std are numbers, and --std above 0, not %g and %g", m, s)
		}
	}
	return nil
}

// unfold measures the convolutions without batch normalisation, and gives them
// one.
func (f *normFlags) unfold(ctx context.Context, encoder *onnx.Model, on deviceFlags, w io.Writer) (*onnx.Model, *normResult, error) {
	bare, err := onnx.BareConvs(encoder)
	if err != nil {
		return nil, nil, err
	}
	r := &normResult{}
	var names []string
	for _, c := range bare {
		if c.Reason != "" {
			r.Left = append(r.Left, leftWithout{c.Node, c.Reason})
			continue
		}
		names = append(names, c.Output)
	}
	switch r.Convolutions = len(names); {
	case len(bare) == 0:
		return nil, nil, fmt.Errorf("%s: no convolution lacks batch normalisation; leave out --batchnorm", encoder.Path)
	case len(names) == 0:
		return nil, nil, fmt.Errorf("%s: no convolution can be given batch normalisation: %s lacks it, but %s; leave out --batchnorm", encoder.Path, r.Left[0].Node, r.Left[0].Reason)
	}
	set, err := data.OpenImages(f.BatchNorm...)
	if err != nil {
		return nil, nil, err
	}
	set = set.Spread(f.Pictures)
	r.Pictures = len(set.Records)
	dev, err := on.open(w)
	if err != nil {
		return nil, nil, err
	}
	defer dev.Close()
	cfg := config.Default()
	cfg.Dataset.ImgSizes = []int{f.Size}
	opt := data.OptionsFrom(cfg)
	opt.Mean, opt.Std = [3]float32(f.Mean), [3]float32(f.Std)
	opt.Orientation = data.ApplyOrientation // as predict does
	meter := progress.New(w, progress.Options{Label: "measure", Total: r.Pictures})
	moments, err := train.Moments(ctx, encoder, dev, set, opt, names, func(done int) { meter.Step(done, "") })
	meter.Done()
	if err != nil {
		return nil, nil, err
	}
	encoder, err = onnx.Unfold(encoder, moments)
	return encoder, r, err
}

func (r *normResult) write(w io.Writer) {
	if r == nil {
		return
	}
	fmt.Fprintf(w, "  batch normalisation: behind %d convolutions, measured on %d pictures\n", r.Convolutions, r.Pictures)
	for _, l := range r.Left {
		fmt.Fprintf(w, "  none behind %s: %s\n", l.Node, l.Reason)
	}
}
