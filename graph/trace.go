package graph

import (
	"encoding/json"
	"io"
	"time"
)

// traceEvent is one entry of the trace event format, which chrome://tracing
// and ui.perfetto.dev open:
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
type traceEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Phase    string         `json:"ph"`
	Time     float64        `json:"ts"` // µs
	Duration float64        `json:"dur"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Args     map[string]any `json:"args,omitempty"`
}

// WriteTrace writes the last few runs, and what was recorded around them, as
// complete events of one track, in order of time: a run holds its steps, and
// nothing else overlaps. Times count from the first event.
func (p *Profiler) WriteTrace(w io.Writer) error {
	events := []traceEvent{{Name: "process_name", Phase: "M", Process: 1, Thread: 1, Args: map[string]any{"name": "graft"}}}
	var origin time.Time
	add := func(name, category string, begin, end time.Time, args map[string]any) {
		if origin.IsZero() {
			origin = begin
		}
		events = append(events, traceEvent{
			Name: name, Category: category, Phase: "X", Process: 1, Thread: 1, Args: args,
			Time: microseconds(begin.Sub(origin)), Duration: microseconds(end.Sub(begin)),
		})
	}
	for i := range p.spans {
		s := &p.spans[(p.next+i)%len(p.spans)]
		if len(s.marks) < 2 {
			continue // failed, or a Plan without steps
		}
		if s.steps == nil {
			add(s.name, "around", s.marks[0], s.marks[1], nil)
			continue
		}
		add(s.name, "run", s.marks[0], s.marks[len(s.marks)-1], nil)
		for k, step := range s.steps {
			begin, end := s.marks[k], s.marks[k+1]
			args := map[string]any{"node": step.node, "kernel": step.kernel, "shape": step.shape}
			if step.flops > 0 {
				args["GFLOP/s"] = rate(step.flops, end.Sub(begin))
			}
			args["GB/s"] = rate(step.bytes, end.Sub(begin))
			add(step.kind, "step", begin, end, args)
		}
	}
	return json.NewEncoder(w).Encode(map[string]any{"displayTimeUnit": "ms", "traceEvents": events})
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
