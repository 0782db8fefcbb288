package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/progress"
)

// doctorCommand is `graft doctor`.
type doctorCommand struct {
	Cfg       string   `help:"Check the data sets of this configuration as well." placeholder:"FILE" type:"existingfile"`
	Overrides []string `arg:"" optional:"" name:"KEY VALUE" help:"Settings that replace the file's."`
	JSON      bool     `name:"json" help:"Write the findings as JSON."`
}

// Help is shown by --help.
func (doctorCommand) Help() string {
	return `Examples:
  graft doctor
  graft doctor --cfg camvid.yaml

With a configuration every picture and mask is read: label histogram, labels out of
range, size mismatches, missing and unreadable files, mean and standard deviation.
Fails when training would stop at one of them.`
}

// diagnosis is what doctor finds.
type diagnosis struct {
	Version string                  `json:"version"`
	System  string                  `json:"system"`
	CPUs    int                     `json:"cpus"`
	Devices []device.Status         `json:"devices"`
	Runtime device.Status           `json:"onnx_runtime"`
	Data    map[string]*data.Report `json:"data,omitempty"`
}

func (c *doctorCommand) Run(ctx context.Context, s streams) error {
	if c.Cfg == "" && len(c.Overrides) > 0 {
		return usage("overrides need a configuration: --cfg FILE")
	}
	d := diagnosis{
		Version: version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Devices: device.List(), Runtime: runtimeStatus(), Data: map[string]*data.Report{},
	}
	var cfg *config.Config
	if c.Cfg != "" {
		var err error
		if cfg, err = (configFlags{Cfg: c.Cfg, Overrides: c.Overrides}).load(); err != nil {
			return err
		}
		for _, split := range []data.Split{data.Train, data.Val} {
			if d.Data[string(split)], err = inspectSet(ctx, s.err, cfg, split); err != nil {
				return err
			}
		}
	}
	if c.JSON {
		if err := writeJSON(s.out, d); err != nil {
			return err
		}
	} else if err := d.write(s.out); err != nil {
		return err
	}
	for _, r := range d.Data {
		if !r.OK() {
			return errors.New("the data set has problems that training would stop at")
		}
	}
	return nil
}

func runtimeStatus() device.Status {
	rt, err := ort.Open("")
	if err != nil {
		return device.Status{Name: "onnxruntime", Reason: err.Error(), Hint: ort.InstallHint()}
	}
	return device.Status{Name: "onnxruntime", Available: true, Version: rt.Version(), Path: rt.Path()}
}

func inspectSet(ctx context.Context, w io.Writer, cfg *config.Config, split data.Split) (*data.Report, error) {
	set, err := data.List(cfg, split)
	if err != nil {
		return nil, err
	}
	meter := progress.New(w, progress.Options{Label: "reading " + string(split), Total: len(set.Records)})
	defer meter.Done()
	return data.Inspect(ctx, set, data.OptionsFrom(cfg), func(done int) { meter.Step(done, "") })
}

func (d *diagnosis) write(w io.Writer) error {
	fmt.Fprintf(w, "graft %s on %s, %d processors\n\n", d.Version, d.System, d.CPUs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, st := range append(d.Devices, d.Runtime) {
		if st.Available {
			fmt.Fprintf(t, "%s\tyes\t%s %s %s\n", st.Name, st.Version, st.Detail, st.Path)
			continue
		}
		fmt.Fprintf(t, "%s\tno\t%s\n", st.Name, st.Reason)
		if st.Hint != "" {
			fmt.Fprintf(t, "\t\t%s\n", st.Hint)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, split := range []data.Split{data.Train, data.Val} {
		if r := d.Data[string(split)]; r != nil {
			fmt.Fprintf(w, "\n%s: ", split)
			if err := writeDataReport(w, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeDataReport(w io.Writer, r *data.Report) error {
	fmt.Fprintf(w, "%s, %d pictures from %dx%d to %dx%d\n", r.Set, r.Records, r.MinSize[0], r.MinSize[1], r.MaxSize[0], r.MaxSize[1])
	fmt.Fprintf(w, "mean %.4f %.4f %.4f, standard deviation %.4f %.4f %.4f (RGB, 0 to 1), ignored %.2f %%\n",
		r.Mean[0], r.Mean[1], r.Mean[2], r.Std[0], r.Std[1], r.Std[2], 100*r.Ignored)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "label\tclass\tpixels\tfiles\t")
	for _, l := range r.Labels {
		class := fmt.Sprint(l.Class)
		switch {
		case !l.Allowed:
			class = "out of range"
		case l.Class < 0:
			class = "ignored"
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t\n", l.Value, class, l.Pixels, l.Files)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s: %s: %s\n", p.Kind, p.Name, p.Text)
	}
	shown := len(r.Problems)
	total := 0
	for _, n := range r.Counts {
		total += n
	}
	if total > shown {
		fmt.Fprintf(w, "and %d problems more\n", total-shown)
	}
	return nil
}
