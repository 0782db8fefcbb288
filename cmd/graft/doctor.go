package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/kernel/onednn"
	"github.com/graft-onnx/graft/graph/mpi"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/progress"
)

// doctorCommand is `graft doctor`.
type doctorCommand struct {
	Cfg       string    `help:"Check the data sets of this configuration as well." placeholder:"FILE" predictor:"yaml"`
	Bench     bool      `help:"Measure what the device can do at most: GFLOP/s and GB/s. Takes a few seconds."`
	Overrides overrides `arg:"" optional:"" name:"KEY VALUE ..." help:"Settings that replace the file's."`
	jsonFlag
}

// Help is shown by --help.
func (doctorCommand) Help() string {
	return `Examples:
  graft doctor
  graft doctor --cfg camvid.yaml
  GRAFT_DEVICE=native graft doctor --bench

With a configuration every picture and mask is read: label histogram, labels out of
range, size mismatches, missing and unreadable files, mean and standard deviation.
Fails when training would stop at one of them.`
}

// diagnosis is what doctor finds.
type diagnosis struct {
	Version   string                  `json:"version"`
	System    string                  `json:"system"`
	CPUs      int                     `json:"cpus"`
	Devices   []device.Status         `json:"devices"`
	Chosen    string                  `json:"chosen_device,omitempty"`
	Problem   string                  `json:"device_problem,omitempty"` // why none can be chosen
	Ceilings  []ceiling               `json:"ceilings,omitempty"`       // of the chosen device
	Runtime   device.Status           `json:"onnx_runtime"`
	MPI       device.Status           `json:"mpi"`
	Variables map[string]string       `json:"environment,omitempty"` // graft's own that are set
	Data      map[string]*data.Report `json:"data,omitempty"`

	classes models.Classes // of the data
}

// variables are the environment variables that graft reads.
var variables = []string{device.EnvDevice, onednn.EnvLibrary, native.EnvSIMD, native.EnvWinograd, ort.EnvVar, mpi.EnvLibrary}

func (c *doctorCommand) Run(ctx context.Context, s streams) error {
	if c.Cfg == "" && len(c.Overrides) > 0 {
		return usage("settings need a configuration: --cfg FILE")
	}
	d := diagnosis{
		Version: version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Devices: device.List(), Runtime: runtimeStatus(), MPI: mpiStatus(), Variables: map[string]string{}, Data: map[string]*data.Report{},
	}
	for _, name := range variables {
		if v := os.Getenv(name); v != "" {
			d.Variables[name] = v
		}
	}
	if dev, err := device.Open(""); err != nil {
		d.Problem = err.Error()
	} else {
		d.Chosen = dev.Name()
		if c.Bench {
			d.Ceilings, err = measureCeilings(ctx, dev, workloads(1536, 256<<20), 500*time.Millisecond)
		}
		if err := errors.Join(err, dev.Close()); err != nil {
			return err
		}
	}
	if c.Cfg != "" {
		cfg, err := config.Load(c.Cfg, c.Overrides...)
		if err != nil {
			return err
		}
		if d.classes, err = dataClasses(cfg); err != nil {
			return err
		}
		for _, split := range []data.Split{data.Train, data.Val} {
			if split == data.Val && !data.Has(cfg, split) {
				continue // training does without
			}
			if d.Data[string(split)], err = inspectSet(ctx, s.err, cfg, split); err != nil {
				return err
			}
		}
	}
	if err := c.result(s.out, d, d.write); err != nil {
		return err
	}
	if d.Problem != "" {
		return errors.New("no device to compute on")
	}
	for _, r := range d.Data {
		if !r.OK() {
			return errors.New("the data set has problems that training would stop at")
		}
	}
	return nil
}

// dataClasses returns the classes of a configuration's data set.
func dataClasses(cfg *config.Config) (models.Classes, error) {
	classes, err := data.Classes(cfg)
	if classes == nil && err == nil {
		classes = models.NumberedClasses(cfg.Dataset.NumClass, cfg.Dataset.LabelShift)
	}
	return classes, err
}

// runtimeStatus tells whether ONNX Runtime is there.
func runtimeStatus() device.Status {
	rt, err := ort.Open("")
	if err == nil {
		return device.Status{Name: "onnxruntime", Available: true, Version: rt.Version(), Path: rt.Path()}
	}
	s := device.Status{Name: "onnxruntime", Reason: err.Error()}
	var missing *ort.NotFoundError
	if errors.As(err, &missing) {
		s.Hint = ort.InstallHint()
		if s.Reason = "no library found"; os.Getenv(ort.EnvVar) != "" {
			s.Reason = missing.Cause.Error()
		}
	}
	return s
}

// mpiStatus tells whether training can run below mpirun.
func mpiStatus() device.Status {
	s := device.Status{Name: "mpi"}
	var err error
	if s.Version, s.Path, err = mpi.Available(); err == nil {
		s.Available = true
		return s
	}
	var missing *mpi.LibraryError
	if errors.As(err, &missing) {
		s.Reason, s.Hint = missing.Reason, mpi.InstallHint()
	}
	return s
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
	fmt.Fprintf(w, "graft %s, %s, %d processors\n\n", d.Version, d.System, d.CPUs)
	for _, st := range d.Devices {
		mark := " "
		if st.Name == d.Chosen {
			mark = "*"
		}
		fmt.Fprintf(w, "%s %-12s %s\n", mark, st.Name, describe(st, st.Detail))
		if st.Hint != "" {
			fmt.Fprintf(w, "  %-12s to install it: %s\n", "", st.Hint)
		}
	}
	for _, st := range []device.Status{d.Runtime, d.MPI} {
		fmt.Fprintf(w, "  %-12s %s\n", st.Name, describe(st, st.Version+", "+st.Path))
		if st.Hint != "" {
			fmt.Fprintf(w, "  %-12s %s\n", "", st.Hint)
		}
	}
	if d.Chosen != "" {
		fmt.Fprintf(w, "\n* computes when --device names no other\n")
	} else {
		fmt.Fprintf(w, "\nno device: %s\n", d.Problem)
	}
	if len(d.Ceilings) > 0 {
		writeCeilings(w, d.Chosen, d.Ceilings)
	}
	for _, name := range variables {
		if v := d.Variables[name]; v != "" {
			fmt.Fprintf(w, "%s=%s\n", name, v)
		}
	}
	for _, split := range []data.Split{data.Train, data.Val} {
		if r := d.Data[string(split)]; r != nil {
			fmt.Fprintf(w, "\n%s: ", split)
			if err := writeDataReport(w, r, d.classes); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe says in a line whether something is there, and what it is or why
// not.
func describe(st device.Status, detail string) string {
	if !st.Available {
		return "not available: " + strings.TrimSpace(st.Reason)
	}
	return detail
}

func writeDataReport(w io.Writer, r *data.Report, classes models.Classes) error {
	if len(r.Sizes) == 0 {
		fmt.Fprintf(w, "%s, %d pictures, none of which can be read\n", r.Set, r.Records)
		return writeProblems(w, r)
	}
	fmt.Fprintf(w, "%s, %d pictures from %dx%d to %dx%d\n", r.Set, r.Records, r.MinSize[0], r.MinSize[1], r.MaxSize[0], r.MaxSize[1])
	fmt.Fprintf(w, "mean %.4f %.4f %.4f, standard deviation %.4f %.4f %.4f (RGB, 0 to 1), ignored %.2f %%\n",
		r.Mean[0], r.Mean[1], r.Mean[2], r.Std[0], r.Std[1], r.Std[2], 100*r.Ignored)
	var pixels int64
	for _, l := range r.Labels {
		pixels += l.Pixels
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "label\tclass\tpixels\tshare\tfiles\t")
	for _, l := range r.Labels {
		class := "ignored"
		switch {
		case !l.Allowed:
			class = "out of range"
		case l.Class >= 0:
			class = classes.Name(l.Class)
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%.2f %%\t%d\t\n", l.Value, class, l.Pixels, 100*float64(l.Pixels)/float64(max(pixels, 1)), l.Files)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeProblems(w, r)
}

func writeProblems(w io.Writer, r *data.Report) error {
	const most = 5 // of each kind; one mistake in a setting is a problem of every file
	shown := map[string]int{}
	for _, p := range r.Problems {
		if kind := string(p.Kind); shown[kind] < most {
			shown[kind]++
			fmt.Fprintf(w, "%s: %s: %s\n", p.Kind, p.Name, p.Text)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		if more := r.Counts[kind] - shown[string(kind)]; more > 0 {
			fmt.Fprintf(w, "%s: %d more\n", kind, more)
		}
	}
	return nil
}
