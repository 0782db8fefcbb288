package graph

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Profile is what a Profiler has measured so far.
type Profile struct {
	// Runs counts the runs of Plans.
	Runs int `json:"runs"`
	// Total is the time of all rows of Kinds, and so of Nodes.
	Total time.Duration `json:"total_ns"`
	// Kinds has a row for each kind of operator, Nodes one for each kind and
	// node; both begin with what takes longest.
	Kinds []ProfileRow `json:"kinds"`
	Nodes []ProfileRow `json:"nodes,omitempty"`
}

// ProfileRow is the time of one kind of operator or of one node. What the
// caller did around the runs (Profiler.Record) has rows as well.
type ProfileRow struct {
	// Kind is the operator: "Conv" for the forward pass, "Conv.dx" and
	// "Conv.dw" for the gradients by data and by filter. "+ clip" has a Relu
	// or Clip fused, "+ add" a residual sum.
	Kind string `json:"kind"`
	// Node is the name of the ONNX node that the work is for, "" in
	// Profile.Kinds.
	Node string `json:"node,omitempty"`
	// Calls counts kernel calls, Runs the runs that had any.
	Calls int `json:"calls"`
	Runs  int `json:"runs"`
	// Total is the time of all calls, Median that of one run (of the last 256).
	Total  time.Duration `json:"total_ns"`
	Median time.Duration `json:"median_ns"`
	// FLOPs counts floating-point operations of convolutions, matrix products
	// and poolings, Bytes the memory that the kernels had to move at least:
	// every operand and result once. 0 where neither is known.
	FLOPs float64 `json:"flops"`
	Bytes float64 `json:"bytes"`
}

// GFLOPS returns 10^9 floating-point operations a second.
func (r ProfileRow) GFLOPS() float64 { return rate(r.FLOPs, r.Total) }

// GBs returns 10^9 bytes a second.
func (r ProfileRow) GBs() float64 { return rate(r.Bytes, r.Total) }

func rate(amount float64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return amount / float64(d.Nanoseconds())
}

// Profile returns the measurements so far.
func (p *Profiler) Profile() *Profile {
	r := &Profile{Runs: p.runs}
	for kind, t := range p.kinds {
		r.Kinds = append(r.Kinds, t.row(label{kind: kind}))
		r.Total += t.total
	}
	for l, t := range p.nodes {
		r.Nodes = append(r.Nodes, t.row(l))
	}
	for _, rows := range [][]ProfileRow{r.Kinds, r.Nodes} {
		slices.SortFunc(rows, func(a, b ProfileRow) int {
			return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Node, b.Node))
		})
	}
	return r
}

func (t *tally) row(l label) ProfileRow {
	r := ProfileRow{Kind: l.kind, Node: l.node, Calls: t.calls, Runs: t.runs, Total: t.total, FLOPs: t.flops, Bytes: t.bytes}
	if n := len(t.times); n > 0 {
		times := slices.Sorted(slices.Values(t.times))
		r.Median = (times[(n-1)/2] + times[n/2]) / 2
	}
	return r
}

// WriteKinds writes the table by kind of operator.
func (p *Profile) WriteKinds(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%d runs, %.3f s measured\n\n", p.Runs, p.Total.Seconds()); err != nil {
		return err
	}
	return p.table(w, "operator", p.Kinds)
}

// Write writes the tables by kind of operator and by node.
func (p *Profile) Write(w io.Writer) error {
	if err := p.WriteKinds(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return p.table(w, fmt.Sprintf(operatorAndNode, "operator", "node"), p.Nodes)
}

// operatorAndNode aligns the names in the table by node.
const operatorAndNode = "%-26s  %s"

func (p *Profile) table(w io.Writer, title string, rows []ProfileRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "time s\tshare\tms a run\tcalls\tGFLOP/s\tGB/s\t  "+title)
	for _, r := range rows {
		share := 0.0
		if p.Total > 0 {
			share = 100 * float64(r.Total) / float64(p.Total)
		}
		name := r.Kind
		if r.Node != "" {
			name = fmt.Sprintf(operatorAndNode, r.Kind, r.Node)
		}
		fmt.Fprintf(t, "%.3f\t%.1f %%\t%.3f\t%d\t%s\t%s\t  %s\n",
			r.Total.Seconds(), share, 1e3*r.Median.Seconds(), r.Calls, known(r.GFLOPS()), known(r.GBs()), name)
	}
	return t.Flush()
}

// known writes a rate, or nothing for one that was not counted.
func known(rate float64) string {
	if rate == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", rate)
}
