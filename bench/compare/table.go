package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/bench"
	"github.com/graft-onnx/graft/onnx"
)

// Two sides compute the same thing if they are no further apart than this.
const (
	// lossTolerance is for the first losses of training, relative: dropout
	// draws other channels on every side, and bf16 rounds.
	lossTolerance = 0.05
	// probabilityTolerance is for all probabilities as one vector: the norm
	// of the difference over the norm. On the deepest network here PyTorch and
	// ONNX Runtime lie 4e-4 from float64; another network lies near 1.
	probabilityTolerance = 0.01
)

// table is what was measured of one network and batch.
type table struct {
	title string
	unit  string  // what one time is of
	flops float64 // of the convolutions in it
	sides []*side
}

// measured returns the sides that have results.
func (t *table) measured() []*side {
	return slices.DeleteFunc(slices.Clone(t.sides), func(s *side) bool { return len(s.results) == 0 })
}

// check makes sure that the sides computed the same thing.
func (t *table) check() error {
	sides := t.measured()
	for _, s := range sides {
		if err := s.agrees(sides[0]); err != nil {
			return err
		}
	}
	return nil
}

// agrees compares a side with another by the first losses of training, or else
// by the probabilities written last.
func (s *side) agrees(other *side) error {
	if s.output == "" {
		want := other.results[0].Losses[0]
		for _, r := range s.results {
			if got := r.Losses[0]; !(math.Abs(got-want) <= lossTolerance*math.Abs(want)) {
				return fmt.Errorf("%s begins with a loss of %g, %s with %g: they do not train the same network", s.name, got, other.name, want)
			}
		}
		return nil
	}
	got, shape, err := bench.ReadTensor(s.output, onnx.Floats)
	if err != nil {
		return err
	}
	want, wantShape, err := bench.ReadTensor(other.output, onnx.Floats)
	if err != nil {
		return err
	}
	if !slices.Equal(shape, wantShape) {
		return fmt.Errorf("%s makes probabilities of shape %v, %s of %v", s.name, shape, other.name, wantShape)
	}
	var square, norm float64
	for i, v := range want {
		d := float64(got[i]) - float64(v)
		square, norm = square+d*d, norm+float64(v)*float64(v)
	}
	if d := math.Sqrt(square / norm); !(d <= probabilityTolerance) {
		return fmt.Errorf("the probabilities of %s and %s are a relative distance of %.2g apart: they do not run the same network", s.name, other.name, d)
	}
	return nil
}

// best returns the fastest side, by its median, that sides of a precision are
// compared with, nil without any.
func (t *table) best(precision string) *side {
	var best *side
	for _, s := range t.measured() {
		if s.against && s.precision == precision && (best == nil || bench.Median(s.seconds()) < bench.Median(best.seconds())) {
			best = s
		}
	}
	return best
}

// write prints the table in Markdown. The ratios say how many times faster a
// side is than the best that it is compared with, and what share of that side's
// memory it takes.
func (t *table) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | median s | fastest s | slowest s | GFLOP/s | peak GB | speed | memory |\n|---|---:|---:|---:|---:|---:|---:|---:|\n", t.title)
	for _, s := range t.measured() {
		seconds := s.seconds()
		median, peak := bench.Median(seconds), s.peak()
		fmt.Fprintf(&b, "| %s | %.3f | %.3f | %.3f | %.0f | %.2f | ", s.name, median, slices.Min(seconds), slices.Max(seconds),
			t.flops/median/1e9, float64(peak)/1e9)
		if best := t.best(s.precision); best != nil {
			fmt.Fprintf(&b, "%.2f | %.2f |\n", bench.Median(best.seconds())/median, float64(peak)/float64(best.peak()))
		} else {
			b.WriteString("| |\n")
		}
	}
	fmt.Fprintf(&b, "\n%.0f GFLOP of convolutions a %s. ", t.flops/1e9, t.unit)
	var programs []string
	for _, s := range t.sides {
		for _, r := range s.results {
			if !slices.Contains(programs, r.Program) {
				programs = append(programs, r.Program)
			}
		}
	}
	fmt.Fprintf(&b, "%s\n", strings.Join(programs, "; "))
	for _, s := range t.sides {
		if s.refused != "" {
			fmt.Fprintf(&b, "%s not measured: %s\n", s.name, s.refused)
		}
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}
