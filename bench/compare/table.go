package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/bench"
)

// lossTolerance is how far, relative, the first losses of two fp32 sides may
// lie apart: dropout draws other channels on every side.
const lossTolerance = 0.05

// table collects the measurements of one network.
type table struct {
	network network
	flops   float64 // of the convolutions of a step
	sides   []side
	results [][]*bench.Result // by side
}

func newTable(n network, flops float64, sides []side) *table {
	return &table{network: n, flops: flops, sides: sides, results: make([][]*bench.Result, len(sides))}
}

func (t *table) add(side int, r *bench.Result) { t.results[side] = append(t.results[side], r) }

// check makes sure that the sides trained the same thing.
func (t *table) check() error {
	want := t.results[0][0].Losses[0]
	for i, results := range t.results {
		for _, r := range results {
			if got := r.Losses[0]; !(math.Abs(got-want) <= lossTolerance*math.Abs(want)) {
				return fmt.Errorf("%s begins with a loss of %g, %s with %g: they do not train the same network",
					t.sides[i].name, got, t.sides[0].name, want)
			}
		}
	}
	return nil
}

// seconds returns all step times of a side.
func (t *table) seconds(side int) []float64 {
	var all []float64
	for _, r := range t.results[side] {
		all = append(all, r.Seconds...)
	}
	return all
}

// peak returns the largest resident memory of a side's processes in bytes.
func (t *table) peak(side int) int64 {
	var most int64
	for _, r := range t.results[side] {
		most = max(most, r.PeakBytes)
	}
	return most
}

// best returns PyTorch's fp32 side with the smallest median, -1 without any.
func (t *table) best() int {
	best := -1
	for i, s := range t.sides {
		if s.graft || s.bf16 || len(t.results[i]) == 0 {
			continue
		}
		if best < 0 || bench.Median(t.seconds(i)) < bench.Median(t.seconds(best)) {
			best = i
		}
	}
	return best
}

// write prints the table in Markdown. The ratios say how many times faster a
// side is than PyTorch's best fp32 side, and what share of that side's memory
// it takes.
func (t *table) write(w io.Writer) error {
	var b strings.Builder
	n := t.network
	fmt.Fprintf(&b, "%s + %s, %dx%dx%d, %.0f GFLOP of convolutions a step\n\n", n.encoder, n.decoder, n.batch, n.height, n.width, t.flops/1e9)
	b.WriteString("| | median s | fastest s | GFLOP/s | peak GB | speed | memory |\n|---|---:|---:|---:|---:|---:|---:|\n")
	best := t.best()
	for i, s := range t.sides {
		seconds := t.seconds(i)
		if len(seconds) == 0 {
			continue
		}
		median, peak := bench.Median(seconds), t.peak(i)
		fmt.Fprintf(&b, "| %s | %.3f | %.3f | %.0f | %.2f | ", s.name, median, slices.Min(seconds), t.flops/median/1e9, float64(peak)/1e9)
		if best >= 0 {
			fmt.Fprintf(&b, "%.2f | %.2f |\n", bench.Median(t.seconds(best))/median, float64(peak)/float64(t.peak(best)))
		} else {
			b.WriteString("| |\n")
		}
	}
	b.WriteString("\n")
	var programs []string
	for _, results := range t.results {
		for _, r := range results {
			if !slices.Contains(programs, r.Program) {
				programs = append(programs, r.Program)
			}
		}
	}
	fmt.Fprintf(&b, "%s\n\n", strings.Join(programs, "; "))
	_, err := io.WriteString(w, b.String())
	return err
}
