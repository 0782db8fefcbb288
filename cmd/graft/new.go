package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

// newCommand is `graft new`.
type newCommand struct {
	Encoder string `help:"Encoder of graft (${encoders}) or an encoder file that graft import wrote." required:"" placeholder:"NAME|FILE" predictor:"encoder"`
	Decoder string `help:"Decoder (${decoders})." required:"" placeholder:"NAME" predictor:"decoder"`
	Classes string `help:"Number of classes, or a file that lists them: one name a line, or CSV with colours." required:"" placeholder:"N|FILE" predictor:"file"`
	Width   int    `help:"Divide the channels of graft's own encoders." default:"1"`
	Random  bool   `help:"Draw the weights of an encoder file anew: the baseline that fine-tuning is compared with."`
	Seed    int64  `help:"Seed of the random initialisation." default:"304"`
	Out     string `short:"o" help:"File to write." default:"model.onnx" predictor:"onnx"`
	Force   bool   `help:"Replace an existing file."`
	jsonFlag
}

// Help is shown by --help.
func (newCommand) Help() string {
	return `Examples:
  graft new --encoder mobilenetv2dilated --decoder c1_deepsup --classes 11
  graft new --encoder resnet18dilated --decoder ppm_deepsup --classes classes.csv -o model.onnx
  graft new --encoder encoder.onnx --decoder c1_deepsup --classes classes.csv

Train it with MODEL.file model.onnx in the configuration.`
}

// newResult is what `graft new` made.
type newResult struct {
	File       string `json:"file"`
	Encoder    string `json:"encoder"`
	Decoder    string `json:"decoder"`
	Classes    int    `json:"classes"`
	Parameters int    `json:"parameters"`
}

func (c *newCommand) Run(ctx context.Context, s streams) error {
	if c.Width < 1 {
		return usage("--width is %d; give 1 or more", c.Width)
	}
	if err := refuseExisting(c.Out, c.Force); err != nil {
		return err
	}
	r := newResult{File: c.Out, Encoder: c.Encoder, Decoder: c.Decoder}
	m, err := untilStopped(ctx, func() (*onnx.Model, error) {
		var classes models.Classes
		var err error
		if r.Classes, err = strconv.Atoi(c.Classes); err != nil {
			if classes, err = models.LoadClasses(c.Classes); err != nil {
				return nil, err
			}
			r.Classes = len(classes)
		}
		m, err := c.build(r.Classes)
		if err == nil && classes != nil {
			err = models.SetClasses(m, classes)
		}
		return m, err
	})
	if err != nil {
		return err
	}
	if err := m.Save(c.Out); err != nil {
		return err
	}
	r.Parameters = parameterCount(m)
	return c.result(s.out, r, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %s + %s, %d classes, %d parameters\n", r.File, r.Encoder, r.Decoder, r.Classes, r.Parameters)
		return err
	})
}

func (c *newCommand) build(classes int) (*onnx.Model, error) {
	if !isFile(c.Encoder) && !strings.HasSuffix(c.Encoder, ".onnx") {
		if c.Random {
			return nil, usage("--random is for encoder files; graft's own encoders begin with random weights anyway")
		}
		return models.New(models.Spec{Encoder: c.Encoder, Decoder: c.Decoder, Classes: classes, Seed: c.Seed, Width: c.Width})
	}
	if c.Width != 1 {
		return nil, usage("--width narrows graft's own encoders; %s has its widths already", c.Encoder)
	}
	encoder, err := loadModel(c.Encoder)
	if err != nil {
		return nil, err
	}
	if c.Random {
		if encoder, err = models.Randomize(encoder, onnx.EncoderPrefix, c.Seed); err != nil {
			return nil, err
		}
	}
	return models.Attach(encoder, c.Decoder, classes, c.Seed)
}
