package data

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/graft-onnx/graft/train/config"
)

// Record is one entry of a Set.
type Record struct {
	Name          string // as the list has it, for messages and result files
	Image         string // file
	Mask          string // file; "" where there is none
	Width, Height int    // of the picture, pixels; 0 when unknown until Set.Measure
	Line          int    // in the list, 1-based; 0 without one
	// Coding reads the mask; nil where its grey or palette values are meant.
	Coding MaskCoding
}

// Set is a list of records.
type Set struct {
	Name    string // file or folder it came from
	Records []Record
}

// Split names a part of a data set.
type Split string

// The parts a configuration names.
const (
	Train Split = "train"
	Val   Split = "val"
)

// Open reads the set a configuration names for split, in the format of
// DATASET.format. Sizes missing from it are measured.
func Open(c *config.Config, split Split) (*Set, error) {
	set, err := List(c, split)
	if err != nil {
		return nil, err
	}
	if err := set.Measure(context.Background(), OptionsFrom(c).Orientation); err != nil {
		return nil, err
	}
	return set, nil
}

// List is Open without measuring: no picture is read, so that Inspect can
// tell of all unreadable ones at once.
func List(c *config.Config, split Split) (*Set, error) {
	set, err := formatOf(c).List(split)
	if err != nil || c.Dataset.MaskColours == "" {
		return set, err
	}
	table, err := openColours(c.Dataset.MaskColours)
	if err != nil {
		return nil, err
	}
	for i := range set.Records {
		set.Records[i].Coding = table
	}
	return set, nil
}

// Spread returns n records at even distances in the set, all of them where it
// has no more: pictures of a film beside each other show the same.
func (s *Set) Spread(n int) *Set {
	if n >= len(s.Records) {
		return s
	}
	part := &Set{Name: s.Name, Records: make([]Record, n)}
	for i := range part.Records {
		part.Records[i] = s.Records[i*len(s.Records)/n]
	}
	return part
}

// Measure fills in sizes that the list did not give, from the files' headers.
func (s *Set) Measure(ctx context.Context, o Orientation) error {
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range s.Records {
		r := &s.Records[i]
		if r.Width > 0 && r.Height > 0 {
			continue
		}
		if group.Err() != nil {
			break
		}
		g.Go(func() error {
			w, h, err := Measure(r.Image, o)
			if err == nil {
				r.Width, r.Height = w, h
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// Options is everything that decides what a loader yields.
type Options struct {
	ImgSizes             []int // short sides, pixels
	ImgMaxSize           int   // cap on the long side
	PaddingConstant      int
	SegmDownsamplingRate int
	RandomFlip           bool
	Augment              []config.Step // done in order; valid ones
	BatchSize            int
	Seed                 uint64
	Mean, Std            [3]float32 // RGB, of values in 0..1
	Labels               Labels
	MaxPixels            int
	Orientation          Orientation
	CacheBytes           int64 // of decoded pictures and masks; 0 for none
	Workers              int   // goroutines making batches; at least one runs
	Prefetch             int   // batches made ahead
	// Streams yield every Parts-th batch or picture, Part after the one they
	// are asked to begin with; all if Parts is 0.
	Part, Parts int
}

// OptionsFrom takes the options out of a valid configuration.
func OptionsFrom(c *config.Config) Options {
	d := &c.Dataset
	o := Options{
		ImgSizes: d.ImgSizes, ImgMaxSize: d.ImgMaxSize, PaddingConstant: d.PaddingConstant,
		SegmDownsamplingRate: d.SegmDownsamplingRate, RandomFlip: d.RandomFlip && !d.HasStep(config.StepFlip), Augment: d.Augment,
		BatchSize: c.Train.BatchSizePerGPU, Seed: uint64(c.Train.Seed),
		Labels:    Labels{Classes: d.NumClass, Shift: d.LabelShift, Index: d.IgnoreIndex, Ignore: d.IgnoreLabels},
		MaxPixels: d.MaxPixels, CacheBytes: int64(d.CacheMB) << 20,
		Workers: c.Train.Workers, Prefetch: c.Train.Prefetch,
	}
	for i := range 3 {
		o.Mean[i], o.Std[i] = float32(d.Mean[i]), float32(d.Std[i])
	}
	switch d.ExifOrientation {
	case "ignore":
		o.Orientation = IgnoreOrientation
	case "apply":
		o.Orientation = ApplyOrientation
	}
	return o
}

// fits refuses to enlarge a picture beyond what may be decoded.
func (o *Options) fits(short, width, height int) error {
	if int64(width)*int64(height) <= int64(o.MaxPixels) {
		return nil
	}
	return fmt.Errorf("a short side of %d makes it %d x %d pixels, more than the %d of DATASET.max_pixels; lower DATASET.imgSizes or imgMaxSize (of predict: --sizes or --max-size)",
		short, width, height, o.MaxPixels)
}

// workers bounds the goroutines: more than the processors only costs memory.
func (o *Options) workers() int { return min(max(o.Workers, 1), 2*runtime.GOMAXPROCS(0)) }

func (o *Options) check() error {
	switch {
	case len(o.ImgSizes) == 0:
		return fmt.Errorf("data: no imgSizes")
	case o.ImgMaxSize < 1 || o.PaddingConstant < 1 || o.SegmDownsamplingRate < 1 || o.BatchSize < 1 || o.MaxPixels < 1:
		return fmt.Errorf("data: imgMaxSize %d, padding_constant %d, segm_downsampling_rate %d, batch size %d and max_pixels %d must be 1 or more",
			o.ImgMaxSize, o.PaddingConstant, o.SegmDownsamplingRate, o.BatchSize, o.MaxPixels)
	case o.PaddingConstant%o.SegmDownsamplingRate != 0:
		return fmt.Errorf("data: padding_constant %d is not a multiple of segm_downsampling_rate %d", o.PaddingConstant, o.SegmDownsamplingRate)
	case o.Labels.Classes < 1 || o.Labels.Classes > 65535:
		return fmt.Errorf("data: %d classes are outside 1..65535", o.Labels.Classes)
	}
	for _, s := range o.ImgSizes {
		if s < 1 {
			return fmt.Errorf("data: imgSizes has %d; short sides are 1 or more", s)
		}
	}
	for _, s := range o.Std {
		if !(s > 0) {
			return fmt.Errorf("data: std has %g; it must be above 0", s)
		}
	}
	return nil
}

// join is filepath.Join that leaves absolute paths alone.
func join(root, path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) || root == "" {
		return path
	}
	return filepath.Join(root, path)
}
