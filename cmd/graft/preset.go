package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/config"
)

// presetCommand is `graft preset`.
type presetCommand struct {
	Name  string `arg:"" optional:"" help:"Recipe to write; without it they are listed." predictor:"preset"`
	Out   string `short:"o" help:"File to write, instead of standard output." placeholder:"FILE" predictor:"yaml"`
	Force bool   `help:"Replace an existing file."`
	jsonFlag
}

// Help is shown by --help.
func (presetCommand) Help() string {
	return `Examples:
  graft preset
  graft preset ade20k-mobilenetv2dilated-c1_deepsup -o ade20k.yaml
  graft train --cfg ade20k.yaml DATASET.root_dataset data/ade20k

The recipes are the reference project's: network, sizes, batches, learning rates. A
configuration has every key that graft knows, those beyond the reference's at their default.`
}

func (c *presetCommand) Run(s streams) error {
	if c.Name == "" {
		if c.Out != "" {
			return usage("-o wants the name of a recipe; without one they are listed")
		}
		return c.list(s.out)
	}
	if c.JSON {
		return usage("--json lists the recipes; one is written as YAML")
	}
	p, err := models.FindPreset(c.Name)
	if err != nil {
		return usage("%v", err)
	}
	cfg := config.FromPreset(p)
	if c.Out == "" {
		_, err := s.out.Write(cfg.YAML())
		return err
	}
	if err := refuseExisting(c.Out, c.Force); err != nil {
		return err
	}
	if err := cfg.Save(c.Out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", c.Out)
	return err
}

// recipe is one line of the list.
type recipe struct {
	Name       string `json:"name"`
	Encoder    string `json:"encoder"`
	Decoder    string `json:"decoder"`
	Classes    int    `json:"classes"`
	Iterations int    `json:"iterations"`
}

func (c *presetCommand) list(w io.Writer) error {
	var all []recipe
	for _, p := range models.Presets() {
		all = append(all, recipe{p.Name, p.Encoder, p.Decoder, p.Classes, p.Epochs * p.EpochIterations})
	}
	return c.result(w, all, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "recipe\tencoder\tdecoder\tclasses\titerations")
		for _, r := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", r.Name, r.Encoder, r.Decoder, r.Classes, r.Iterations)
		}
		return t.Flush()
	})
}
