package export

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// WriteText writes the inspection for people.
func (i *Inspection) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		for k, c := range cells {
			if k > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, c)
		}
		fmt.Fprintln(t)
	}
	if i.File != "" {
		row("file", i.File)
	}
	row("producer", strings.TrimSpace(orDash(i.Producer)+" "+i.ProducerVersion))
	row("IR version", i.IR)
	for _, o := range i.Opsets {
		domain := o.Domain
		if domain == "" {
			domain = "ai.onnx"
		}
		row("operator set", fmt.Sprintf("%s %d", domain, o.Version))
	}
	for _, p := range i.Inputs {
		row("input", p.Name+"  "+p.Type)
	}
	for _, p := range i.Outputs {
		row("output", p.Name+"  "+p.Type)
	}
	row("parameters", fmt.Sprintf("%s, of which %s are running statistics", grouped(i.Parameters), grouped(i.Statistics)))
	for _, c := range i.Types {
		row("stored", fmt.Sprintf("%s: %d tensors, %s elements, %s", c.Type, c.Tensors, grouped(c.Elements), byteSize(c.Bytes)))
	}
	if c := i.Cost; c != nil {
		for _, name := range slices.Sorted(maps.Keys(c.Inputs)) {
			row("counted at", fmt.Sprintf("%s %v", name, c.Inputs[name]))
		}
		row("multiplications", grouped(c.MACs))
		row("activations", grouped(c.Activations)+" elements")
	}
	if i.TrainingState {
		row("training state", "present (a checkpoint)")
	}
	for _, f := range i.Functions {
		row("function", f)
	}
	for _, key := range slices.Sorted(maps.Keys(i.Metadata)) {
		row("metadata", key+" = "+shortened(i.Metadata[key], 100))
	}
	for _, n := range i.Notes {
		row("note", n)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d nodes\n", i.Nodes)
	work := map[string]int64{}
	if i.Cost != nil {
		for _, o := range i.Cost.Operators {
			work[o.Operator] = o.MACs
		}
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operator\tcount\tmultiplications\t")
	for _, o := range i.Operators {
		macs := "-"
		if work[o.Operator] > 0 {
			macs = grouped(work[o.Operator])
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t\n", o.Operator, o.Count, macs)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range i.Unsupported {
		if _, err := fmt.Fprintf(w, "cannot be trained: %s (%d, first at node %q)\n", o.Operator, o.Count, o.Node); err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// grouped writes a number with a comma before every three digits.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// byteSize writes a number of bytes in the largest unit that keeps it above 1.
func byteSize(n int64) string {
	size, unit := float64(n), 0
	for size >= 1024 && unit < 3 {
		size, unit = size/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, []string{"B", "KiB", "MiB", "GiB"}[unit])
}

// shortened cuts a text to a number of characters and keeps it on one line.
func shortened(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit]) + "..."
}
