package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Report is what Inspect finds out about a set.
type Report struct {
	Set     string `json:"set"`
	Records int    `json:"records"`
	// Problems are the findings in the order of the set, at most
	// maxProblems; Counts numbers all of them by kind.
	Problems []Problem           `json:"problems"`
	Counts   map[ProblemKind]int `json:"problem_counts"`
	Labels   []LabelCount        `json:"labels"` // every mask value found, ascending
	Classes  []ClassCount        `json:"classes"`
	Ignored  float64             `json:"ignored_share"` // of all mask pixels
	Mean     [3]float64          `json:"mean"`          // RGB, of values in 0..1
	Std      [3]float64          `json:"std"`
	Sizes    map[string]int      `json:"sizes"` // "480x360": pictures
	MinSize  [2]int              `json:"min_size"`
	MaxSize  [2]int              `json:"max_size"`
	Tall     int                 `json:"tall"` // pictures taller than wide
}

// LabelCount is one value as it stands in the masks.
type LabelCount struct {
	Value   int   `json:"value"`
	Pixels  int64 `json:"pixels"`
	Files   int   `json:"files"`
	Class   int   `json:"class"` // -1 ignored
	Allowed bool  `json:"allowed"`
}

// ClassCount is one class.
type ClassCount struct {
	Class  int     `json:"class"`
	Pixels int64   `json:"pixels"`
	Files  int     `json:"files"`
	Share  float64 `json:"share"` // of pixels that are not ignored
}

// ProblemKind sorts problems.
type ProblemKind string

// Kinds of problems.
const (
	Missing       ProblemKind = "missing file"
	Unreadable    ProblemKind = "unreadable"
	SizeMismatch  ProblemKind = "size mismatch"
	OutOfRange    ProblemKind = "label out of range"
	Turned        ProblemKind = "EXIF orientation"
	AllIgnored    ProblemKind = "no labelled pixel"
	otherProblem  ProblemKind = "other"
	maxProblems               = 100
	histogramSize             = 1 << 16
)

// Problem is one record that training would stop at, or that adds nothing.
type Problem struct {
	Kind  ProblemKind `json:"kind"`
	Index int         `json:"index"` // into the set
	Name  string      `json:"name"`
	Text  string      `json:"text"`
}

// tally is what one goroutine has counted.
type tally struct {
	pixels   [histogramSize]int64
	files    [histogramSize]int32
	seen     [histogramSize]bool
	channels [3][256]int64
	problems []Problem
	sizes    map[[2]int]int
}

// Inspect reads a whole set in parallel. progress, which may be nil, is told
// the number of records done, from any goroutine. The error is only the
// context's: what is wrong with the set is in the report.
func Inspect(ctx context.Context, set *Set, o Options, progress func(done int)) (*Report, error) {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	next, done := 0, 0
	tallies := make([]*tally, runtime.GOMAXPROCS(0))
	for i := range tallies {
		t := &tally{sizes: map[[2]int]int{}}
		tallies[i] = t
		g.Go(func() error {
			for {
				mu.Lock()
				at := next
				next++
				mu.Unlock()
				if at >= len(set.Records) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				t.record(at, set.Records[at], o)
				mu.Lock()
				done++
				if progress != nil {
					progress(done)
				}
				mu.Unlock()
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return summarise(set, o, tallies), nil
}

func (t *tally) problem(kind ProblemKind, at int, rec Record, text string) {
	t.problems = append(t.problems, Problem{kind, at, rec.Name, text})
}

func kindOf(err error) ProblemKind {
	var size *SizeError
	var label *LabelError
	var code *CodeError
	var turn *OrientationError
	var read *DecodeError
	var large *TooLargeError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Missing
	case errors.As(err, &size):
		return SizeMismatch
	case errors.As(err, &label), errors.As(err, &code):
		return OutOfRange
	case errors.As(err, &turn):
		return Turned
	case errors.As(err, &read), errors.As(err, &large):
		return Unreadable
	}
	return otherProblem
}

func (t *tally) record(at int, rec Record, o Options) {
	fail := func(err error) { t.problem(kindOf(err), at, rec, err.Error()) }
	p, err := DecodePicture(rec.Image, o.MaxPixels, o.Orientation)
	if err != nil {
		fail(err)
	} else {
		t.sizes[[2]int{p.Width, p.Height}]++
		for i := 0; i < len(p.Pix); i += 3 {
			t.channels[0][p.Pix[i]]++
			t.channels[1][p.Pix[i+1]]++
			t.channels[2][p.Pix[i+2]]++
		}
		if rec.Width > 0 && (rec.Width != p.Width || rec.Height != p.Height) {
			fail(&SizeError{rec.Image, p.Width, p.Height, "the list", rec.Width, rec.Height, "correct the list"})
		}
	}
	if rec.Mask == "" {
		return
	}
	m, err := rec.values(o.MaxPixels)
	if err != nil {
		fail(err)
		return
	}
	if p != nil && (m.Width != p.Width || m.Height != p.Height) {
		fail(&SizeError{rec.Image, p.Width, p.Height, rec.Mask, m.Width, m.Height, "a mask has its picture's size"})
	}
	t.mask(at, rec, m, o.Labels)
}

func (t *tally) mask(at int, rec Record, m *Mask, labels Labels) {
	t.seen = [histogramSize]bool{}
	for _, v := range m.Pix {
		t.pixels[v]++
		t.seen[v] = true
	}
	labelled, bad := false, -1
	for v, seen := range t.seen {
		if !seen {
			continue
		}
		t.files[v]++
		class, ok := labels.Class(v)
		switch {
		case !ok && bad < 0:
			bad = v
		case ok && class >= 0:
			labelled = true
		}
	}
	switch {
	case bad >= 0:
		i := slices.Index(m.Pix, uint16(bad))
		err := &LabelError{rec.Mask, bad, i % m.Width, i / m.Width, labels}
		t.problem(OutOfRange, at, rec, err.Error())
	case !labelled:
		t.problem(AllIgnored, at, rec, "data: "+rec.Mask+": every pixel is ignored")
	}
}

func summarise(set *Set, o Options, tallies []*tally) *Report {
	r := &Report{Set: set.Name, Records: len(set.Records), Problems: []Problem{}, Counts: map[ProblemKind]int{},
		Labels: []LabelCount{}, Classes: make([]ClassCount, o.Labels.Classes), Sizes: map[string]int{}}
	for _, t := range tallies {
		for _, p := range t.problems {
			r.Counts[p.Kind]++
		}
		r.Problems = append(r.Problems, t.problems...)
		r.addSizes(t.sizes)
	}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int { return a.Index - b.Index })
	r.Problems = r.Problems[:min(len(r.Problems), maxProblems)]
	for i := range r.Classes {
		r.Classes[i].Class = i
	}
	var ignored, labelled, all int64
	for v := range histogramSize {
		var pixels int64
		files := 0
		for _, t := range tallies {
			pixels += t.pixels[v]
			files += int(t.files[v])
		}
		if pixels == 0 {
			continue
		}
		class, ok := o.Labels.Class(v)
		r.Labels = append(r.Labels, LabelCount{v, pixels, files, class, ok})
		all += pixels
		switch {
		case ok && class >= 0:
			labelled += pixels
			r.Classes[class].Pixels += pixels
			r.Classes[class].Files += files
		case ok:
			ignored += pixels
		}
	}
	if labelled > 0 {
		for i := range r.Classes {
			r.Classes[i].Share = float64(r.Classes[i].Pixels) / float64(labelled)
		}
	}
	if all > 0 {
		r.Ignored = float64(ignored) / float64(all)
	}
	r.channels(tallies)
	return r
}

func (r *Report) addSizes(sizes map[[2]int]int) {
	for s, n := range sizes {
		r.Sizes[fmt.Sprintf("%dx%d", s[0], s[1])] += n
		if s[1] > s[0] {
			r.Tall += n
		}
		if r.MinSize[0] == 0 || smaller(s, r.MinSize) {
			r.MinSize = s
		}
		if smaller(r.MaxSize, s) {
			r.MaxSize = s
		}
	}
}

// smaller orders sizes by area, then width.
func smaller(a, b [2]int) bool {
	if x, y := a[0]*a[1], b[0]*b[1]; x != y {
		return x < y
	}
	return a[0] < b[0]
}

// channels takes mean and deviation from the exact histograms of bytes.
func (r *Report) channels(tallies []*tally) {
	for c := range 3 {
		var n, sum, square float64
		for _, t := range tallies {
			for v, k := range t.channels[c] {
				n += float64(k)
				sum += float64(k) * float64(v)
				square += float64(k) * float64(v) * float64(v)
			}
		}
		if n > 0 {
			mean := sum / n
			r.Mean[c] = mean / 255
			r.Std[c] = math.Sqrt(max(0, square/n-mean*mean)) / 255
		}
	}
}

// OK reports whether training would meet no error.
func (r *Report) OK() bool {
	for kind := range r.Counts {
		if kind != AllIgnored {
			return false
		}
	}
	return true
}
