package graph

import (
	"fmt"
	"strings"
	"time"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Limits of what a Profiler keeps, so that it may watch a run of any length.
const (
	recentTimes = 256 // times of a row, for its median
	recentSpans = 24  // stretches of the trace: five training steps or so
)

// Profiler times every kernel call of the Plans of the Networks that it is set
// on. Times of one node are added up over Plans, so a training that changes
// shapes has one row for each node. A Profiler takes a few hundred nanoseconds
// of a call; a Plan without one takes nothing. It is not for use by several
// goroutines at once.
type Profiler struct {
	runs  int
	nodes map[label]*tally
	kinds map[string]*tally
	spans []span // a ring
	next  int    // place of the oldest span once the ring is full
}

// NewProfiler returns a Profiler that has seen nothing, for Network.SetProfiler.
func NewProfiler() *Profiler {
	return &Profiler{nodes: map[label]*tally{}, kinds: map[string]*tally{}}
}

// label says where a step comes from: the operator's kind, such as "Conv.dx",
// and the ONNX node.
type label struct{ kind, node string }

// work is what a step does, for people and for rates.
type work struct {
	label
	kernel       string
	shape        []int // of the last argument, the result
	flops, bytes float64
}

// tally adds up the runs of one row.
type tally struct {
	calls, runs  int
	total        time.Duration
	run          time.Duration // of the run being added
	times        []time.Duration
	flops, bytes float64
}

func (t *tally) add(d time.Duration, flops, bytes float64) {
	t.calls++
	t.run += d
	t.flops += flops
	t.bytes += bytes
}

// close ends a run. A row that had no call in it stays as it is.
func (t *tally) close() {
	if len(t.times) < recentTimes {
		t.times = append(t.times, t.run)
	} else {
		t.times[t.runs%recentTimes] = t.run
	}
	t.runs++
	t.total += t.run
	t.run = 0
}

// span is a stretch of time: a run of a Plan with the marks between its steps,
// or something that the caller timed.
type span struct {
	name  string
	steps []work      // empty for the caller's
	marks []time.Time // one more than steps; begin and end for the caller's
}

// watched is what a Profiler keeps with a Plan.
type watched struct {
	by     *Profiler
	name   string
	steps  []work
	nodes  []*tally // of each step
	kinds  []*tally
	unique []*tally // each of both once
}

// SetProfiler has all Plans of the network timed from now on; nil ends that.
func (n *Network) SetProfiler(p *Profiler) { n.profiler = p }

// Profiler returns what SetProfiler set, or nil.
func (n *Network) Profiler() *Profiler { return n.profiler }

// Record adds what the caller did around the runs, from begin to now: loading,
// uploads, the optimizer. The stretch must overlap no run and no other stretch.
// Bytes is the memory that it read and wrote, 0 where that says nothing. On a
// nil Profiler it does nothing.
func (p *Profiler) Record(kind string, begin time.Time, bytes float64) {
	if p == nil {
		return
	}
	end := time.Now()
	for _, t := range []*tally{p.node(label{kind: kind}), p.kind(kind)} {
		t.add(end.Sub(begin), 0, bytes)
		t.close()
	}
	s := p.span()
	s.name, s.steps = kind, nil
	s.marks = append(s.marks[:0], begin, end)
}

func (p *Profiler) node(l label) *tally {
	t := p.nodes[l]
	if t == nil {
		t = &tally{}
		p.nodes[l] = t
	}
	return t
}

func (p *Profiler) kind(name string) *tally {
	t := p.kinds[name]
	if t == nil {
		t = &tally{}
		p.kinds[name] = t
	}
	return t
}

// span returns the place of a new span, which takes the oldest one's.
func (p *Profiler) span() *span {
	if len(p.spans) < recentSpans {
		p.spans = append(p.spans, span{})
		return &p.spans[len(p.spans)-1]
	}
	s := &p.spans[p.next]
	p.next = (p.next + 1) % recentSpans
	return s
}

// profile is run with a look at the clock between steps: the time of a step
// reaches from mark to mark, so those of a run add up to the whole.
func (p *Plan) profile(by *Profiler) error {
	if p.watched == nil || p.watched.by != by {
		p.watched = p.watch(by)
	}
	if err := p.settle(); err != nil {
		return err
	}
	w := p.watched
	s := by.span()
	s.name, s.steps = "", nil
	s.marks = append(s.marks[:0], time.Now())
	for i := range p.steps {
		if err := p.step(i); err != nil {
			s.marks = s.marks[:0]
			return err
		}
		s.marks = append(s.marks, time.Now())
	}
	s.name, s.steps = w.name, w.steps
	by.runs++
	for i, step := range w.steps {
		d := s.marks[i+1].Sub(s.marks[i])
		w.nodes[i].add(d, step.flops, step.bytes)
		w.kinds[i].add(d, step.flops, step.bytes)
	}
	for _, t := range w.unique {
		t.close()
	}
	return nil
}

func (p *Plan) watch(by *Profiler) *watched {
	w := &watched{by: by, name: p.title}
	seen := map[*tally]bool{}
	for _, s := range p.steps {
		l := label{refined(s.kind, s.desc), s.node}
		args := s.desc.Args()
		step := work{label: l, kernel: strings.TrimPrefix(fmt.Sprintf("%T", unmixed(s.desc)), "kernel."), shape: args[len(args)-1].Shape, bytes: traffic(s.desc)}
		if c, ok := s.desc.(kernel.Coster); ok {
			step.flops = c.FLOPs()
		}
		w.steps = append(w.steps, step)
		w.nodes = append(w.nodes, by.node(l))
		w.kinds = append(w.kinds, by.kind(l.kind))
		for _, t := range []*tally{by.node(l), by.kind(l.kind)} {
			if !seen[t] {
				seen[t] = true
				w.unique = append(w.unique, t)
			}
		}
	}
	return w
}

// unmixed is the description without the element types of mixed precision.
func unmixed(d kernel.Desc) kernel.Desc {
	if m, ok := d.(kernel.Mixed); ok {
		return m.Desc
	}
	return d
}

// refined tells kinds apart that kernels do very differently well.
func refined(kind string, d kernel.Desc) string {
	act, depthwise, residual := false, false, false
	switch d := unmixed(d).(type) {
	case kernel.Conv:
		act, depthwise = d.Act.On, d.Depthwise()
	case kernel.ConvBackwardData:
		depthwise = d.Depthwise()
	case kernel.ConvBackwardFilter:
		depthwise = d.Depthwise()
	case kernel.AddN:
		act = d.Act.On
	case kernel.BatchNorm:
		act, residual = d.Act.On, d.Residual
	case kernel.BatchNormReduce:
		act, residual = d.Act.On, d.Residual
	case kernel.BatchNormBackward:
		act = d.Act.On
	case kernel.Resample:
		kind = "Resample" // in whatever operator
	}
	if depthwise {
		kind += " (depthwise)"
	}
	if residual {
		kind += " + add"
	}
	if act {
		kind += " + clip"
	}
	return kind
}

// traffic returns the bytes that a kernel must move if it reads every operand
// and writes every result once. A Copy and a Resample touch their part of the
// buffers only.
func traffic(d kernel.Desc) float64 {
	args := d.Args()
	switch c := unmixed(d).(type) {
	case kernel.Copy:
		box := kernel.Len(c.Shape)
		return float64(min(box, c.SrcLen)*args[0].DType.Size() + box*args[1].DType.Size())
	case kernel.Resample:
		in, out := c.Rows.In*c.Cols.In, c.Rows.Out()*c.Cols.Out()
		return float64(c.N * c.C * (in*args[0].DType.Size() + out*args[1].DType.Size()))
	}
	sum := 0
	for _, a := range args {
		sum += a.Size()
		if a.Dir == kernel.InOut {
			sum += a.Size()
		}
	}
	return float64(sum)
}
