package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/bench"
)

func exampleTable() *table {
	t := newTable(network{"x", "resnet18", "c1", 2, 32, 64}, 8e9, []side{
		{name: "slow"}, {name: "fast"}, {name: "half", bf16: true}, {name: "ours", graft: true},
	})
	t.add(0, &bench.Result{Program: "A", Seconds: []float64{4, 5}, Losses: []float64{5}, PeakBytes: 1e9})
	t.add(1, &bench.Result{Program: "A", Seconds: []float64{2, 3}, Losses: []float64{5.1}, PeakBytes: 2e9})
	t.add(2, &bench.Result{Program: "A", Seconds: []float64{1}, Losses: []float64{5.1}, PeakBytes: 3e9})
	t.add(3, &bench.Result{Program: "B", Seconds: []float64{1}, Losses: []float64{4.9}, PeakBytes: 5e8})
	t.add(3, &bench.Result{Program: "B", Seconds: []float64{1.5, 1.25}, Losses: []float64{4.9}, PeakBytes: 1e9})
	return t
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
	want := `resnet18 + c1, 2x32x64, 8 GFLOP of convolutions a step

| | median s | fastest s | GFLOP/s | peak GB | speed | memory |
|---|---:|---:|---:|---:|---:|---:|
| slow | 4.500 | 4.000 | 2 | 1.00 | 0.56 | 0.50 |
| fast | 2.500 | 2.000 | 3 | 2.00 | 1.00 | 1.00 |
| half | 1.000 | 1.000 | 8 | 3.00 | 2.50 | 1.50 |
| ours | 1.250 | 1.000 | 6 | 1.00 | 2.00 | 0.50 |

A; B

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestSidesThatTrainDifferentNetworksAreRefused(t *testing.T) {
	for name, loss := range map[string]float64{"other": 5.3, "not a number": nan()} {
		table := exampleTable()
		table.results[3][1].Losses[0] = loss
		if err := table.check(); err == nil || !strings.Contains(err.Error(), "ours") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func nan() float64 {
	zero := 0.0
	return zero / zero
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--rounds", "0"}, "--rounds"},
		{[]string{"--steps", "0"}, "--steps"},
		{[]string{"--only", "vgg", "--dir", t.TempDir()}, "vgg"},
	} {
		var out, progress bytes.Buffer
		if err := run(c.args, &out, &progress); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}
