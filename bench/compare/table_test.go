package main

import (
	"bytes"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/bench"
	"github.com/graft-onnx/graft/onnx"
)

func exampleTable() *table {
	return &table{title: "x, 2 x 32 x 64", unit: "step", flops: 8e9, sides: []*side{
		{name: "slow", against: true, precision: "fp32", results: []*bench.Result{
			{Program: "A", Seconds: []float64{4, 5}, Losses: []float64{5}, PeakBytes: 1e9}}},
		{name: "fast", against: true, precision: "fp32", results: []*bench.Result{
			{Program: "A", Seconds: []float64{2, 3}, Losses: []float64{5.1}, PeakBytes: 2e9}}},
		{name: "ours", precision: "fp32", results: []*bench.Result{
			{Program: "B", Seconds: []float64{1}, Losses: []float64{4.9}, PeakBytes: 5e8},
			{Program: "B", Seconds: []float64{1.5, 1.25}, Losses: []float64{4.9}, PeakBytes: 1e9}}},
		{name: "half", against: true, precision: "bf16", results: []*bench.Result{
			{Program: "A", Seconds: []float64{1}, Losses: []float64{5.1}, PeakBytes: 3e9}}},
		{name: "our half", precision: "bf16", results: []*bench.Result{
			{Program: "B", Seconds: []float64{0.5}, Losses: []float64{5.1}, PeakBytes: 6e8}}},
		{name: "other half", precision: "bf16", refused: "no such instructions"},
	}}
}

func TestTable(t *testing.T) {
	table := exampleTable()
	if err := table.check(); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := table.write(&out); err != nil {
		t.Fatal(err)
	}
	want := `| x, 2 x 32 x 64 | median s | fastest s | slowest s | GFLOP/s | peak GB | speed | memory |
|---|---:|---:|---:|---:|---:|---:|---:|
| slow | 4.500 | 4.000 | 5.000 | 2 | 1.00 | 0.56 | 0.50 |
| fast | 2.500 | 2.000 | 3.000 | 3 | 2.00 | 1.00 | 1.00 |
| ours | 1.250 | 1.000 | 1.500 | 6 | 1.00 | 2.00 | 0.50 |
| half | 1.000 | 1.000 | 1.000 | 8 | 3.00 | 1.00 | 1.00 |
| our half | 0.500 | 0.500 | 0.500 | 16 | 0.60 | 2.00 | 0.20 |

8 GFLOP of convolutions a step. A; B
other half not measured: no such instructions

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestSidesThatTrainDifferentNetworksAreRefused(t *testing.T) {
	for name, loss := range map[string]float64{"other": 5.3, "not a number": math.NaN()} {
		table := exampleTable()
		table.sides[2].results[1].Losses[0] = loss
		if err := table.check(); err == nil || !strings.Contains(err.Error(), "ours") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSidesThatFindOtherProbabilitiesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		shape  []int
		values []float32
		want   string
	}{
		"same":         {[]int{1, 2, 1, 1}, []float32{0.252, 0.748}, ""},
		"other":        {[]int{1, 2, 1, 1}, []float32{0.26, 0.74}, "0.018"},
		"not a number": {[]int{1, 2, 1, 1}, []float32{float32(math.NaN()), 0.75}, "NaN"},
		"other shape":  {[]int{2, 1, 1, 1}, []float32{0.25, 0.75}, "shape"},
	} {
		dir := t.TempDir()
		table := &table{}
		for i, tensor := range []struct {
			shape  []int
			values []float32
		}{{[]int{1, 2, 1, 1}, []float32{0.25, 0.75}}, {c.shape, c.values}} {
			s := &side{name: []string{"first", "second"}[i], output: filepath.Join(dir, []string{"a", "b"}[i]), results: []*bench.Result{{}}}
			if err := bench.WriteTensor(s.output, onnx.NewFloats("probability", tensor.shape, tensor.values)); err != nil {
				t.Fatal(err)
			}
			table.sides = append(table.sides, s)
		}
		if err := table.check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
