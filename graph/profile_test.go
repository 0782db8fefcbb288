package graph

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// profiled is a network with one convolution and pooling, and two training
// Plans of it.
func profiled(t *testing.T) (*Network, []*Plan) {
	t.Helper()
	b := onnx.NewBuilder("profiled", 13)
	image := b.Input("image", pb.TensorProto_FLOAT, "N", 2, "H", "W")
	w := b.Initializer(onnx.NewFloats("w", []int{3, 2, 3, 3}, slices.Repeat([]float32{0.1, -0.2, 0.3}, 18)))
	relu := b.Op("Relu", "relu", []string{b.Op("Conv", "stem", []string{image, w}, onnx.IntsAttr("pads", 1, 1, 1, 1))})
	pool := b.Op("MaxPool", "pool", []string{relu}, onnx.IntsAttr("kernel_shape", 2, 2), onnx.IntsAttr("strides", 2, 2))
	b.Node("LogSoftmax", []string{pool}, []string{"logprob"}, onnx.IntAttr("axis", 1))
	b.Output("logprob", pb.TensorProto_FLOAT, "N", 3, "H2", "W2")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	net, err := NewNetwork(m, native.New(1))
	if err != nil {
		t.Fatal(err)
	}
	var plans []*Plan
	for _, shape := range [][]int{{1, 2, 8, 6}, {2, 2, 16, 12}} {
		p, err := net.Plan(Spec{
			Inputs: map[string][]int{"image": shape}, Mode: Train,
			Loss: &Loss{Ignore: -1, Outputs: []LossOutput{{"logprob", 1}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetInput("image", make([]float32, kernel.Len(shape))); err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	return net, plans
}

func runAll(t *testing.T, p *Plan) {
	t.Helper()
	if err := p.RunAll(); err != nil {
		t.Fatal(err)
	}
}

func TestProfileSums(t *testing.T) {
	net, plans := profiled(t)
	prof := NewProfiler()
	runAll(t, plans[0]) // not watched
	net.SetProfiler(prof)
	begin := time.Now()
	const rounds = 3
	for range rounds {
		runAll(t, plans[0])
		runAll(t, plans[1])
		prof.Record("update", time.Now(), 400)
	}
	elapsed := time.Since(begin)
	net.SetProfiler(nil)
	runAll(t, plans[0])

	p := prof.Profile()
	if p.Runs != 2*rounds {
		t.Errorf("%d runs, want %d", p.Runs, 2*rounds)
	}
	if p.Total <= 0 || p.Total > elapsed {
		t.Errorf("%v measured in %v", p.Total, elapsed)
	}
	calls := rounds * (1 + len(plans[0].steps) + len(plans[1].steps))
	byKind := map[string]ProfileRow{}
	for _, rows := range [][]ProfileRow{p.Kinds, p.Nodes} {
		var total time.Duration
		n := 0
		for i, r := range rows {
			total += r.Total
			n += r.Calls
			if i > 0 && r.Total > rows[i-1].Total {
				t.Errorf("row %d takes longer than the one above: %+v", i, r)
			}
			if r.Median > r.Total || r.Median < 0 {
				t.Errorf("median of more than all: %+v", r)
			}
		}
		if total != p.Total || n != calls {
			t.Errorf("rows add up to %v of %v, %d of %d calls", total, p.Total, n, calls)
		}
	}
	for _, r := range p.Kinds {
		byKind[r.Kind] = r
	}
	// A 3x3 filter on 2 channels makes 3 at every place, a sum and a product each.
	places := float64(rounds * (8*6 + 2*16*12))
	for kind, flops := range map[string]float64{
		"Conv + clip": 2 * places * 3 * 2 * 9, "Conv.dw": 2 * places * 3 * 2 * 9,
		"MaxPool": places * 3, "MaxPool.dx": places * 3, "LogSoftmax": 0, "update": 0,
	} {
		if r, ok := byKind[kind]; !ok || r.FLOPs != flops || r.Node != "" {
			t.Errorf("%s: %v operations, want %v (row there: %v)", kind, r.FLOPs, flops, ok)
		}
	}
	if r := byKind["MaxPool"]; r.Bytes != 4*3*places*1.25 || r.Runs != 2*rounds {
		t.Errorf("MaxPool moves %v bytes in %d runs", r.Bytes, r.Runs)
	}
	if r := byKind["update"]; r.Bytes != 3*400 || r.Calls != rounds {
		t.Errorf("%+v", r)
	}
	var stem []string
	for _, r := range p.Nodes {
		if r.Node == "stem" {
			stem = append(stem, r.Kind)
		}
	}
	if slices.Sort(stem); !slices.Contains(stem, "Conv + clip") || !slices.Contains(stem, "Conv.dw") {
		t.Errorf("the node stem has rows %q", stem)
	}
	for _, r := range p.Nodes {
		if r.Node == "" && r.Kind != "update" {
			t.Errorf("no node: %+v", r)
		}
	}

	var text strings.Builder
	if err := p.Write(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if want := 2 + 1 + len(p.Kinds) + 1 + 1 + len(p.Nodes); len(lines) != want {
		t.Errorf("%d lines, want %d:\n%s", len(lines), want, text.String())
	}
	if first := strings.TrimSpace(lines[3]); !strings.Contains(first, p.Kinds[0].Kind) {
		t.Errorf("the first row is %q, not of %s", first, p.Kinds[0].Kind)
	}
}

func TestProfileRowRates(t *testing.T) {
	var y tally
	for _, ms := range []int{5, 1, 9, 3} {
		y.add(time.Duration(ms)*time.Millisecond, 1e9, 3e6)
		y.close()
	}
	r := y.row(label{kind: "x"})
	if r.Median != 4*time.Millisecond || r.Total != 18*time.Millisecond {
		t.Errorf("%+v", r)
	}
	if math.Abs(r.GFLOPS()-4/0.018) > 1e-9 || math.Abs(r.GBs()-0.012/0.018) > 1e-9 {
		t.Errorf("%v GFLOP/s, %v GB/s", r.GFLOPS(), r.GBs())
	}
	for range 2 * recentTimes {
		y.add(time.Second, 0, 0)
		y.close()
	}
	if r := y.row(label{}); len(y.times) != recentTimes || r.Median != time.Second || r.Runs != 4+2*recentTimes {
		t.Errorf("%d times kept, median %v of %d", len(y.times), r.Median, r.Runs)
	}
	if (ProfileRow{FLOPs: 1, Bytes: 1}).GFLOPS() != 0 {
		t.Error("a rate without time")
	}
}

// The trace holds the last runs alone, each around its steps, one after the
// other.
func TestTrace(t *testing.T) {
	net, plans := profiled(t)
	prof := NewProfiler()
	net.SetProfiler(prof)
	for range recentSpans {
		begin := time.Now()
		prof.Record("wait", begin, 0)
		runAll(t, plans[1])
	}
	var text strings.Builder
	if err := prof.WriteTrace(&text); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []struct {
			Name, Cat, Ph string
			Ts, Dur       float64
			Pid, Tid      int
			Args          struct {
				Node, Kernel string
				Shape        []int
			}
		}
	}
	if err := json.Unmarshal([]byte(text.String()), &trace); err != nil {
		t.Fatal(err)
	}
	const nanosecond = 1e-3 // half of it is more than rounding of µs leaves
	var runEnd, end float64
	count := map[string]int{}
	for _, e := range trace.TraceEvents {
		if e.Ph != "X" {
			continue
		}
		count[e.Cat]++
		if e.Pid != 1 || e.Tid != 1 || e.Dur < 0 || e.Name == "" {
			t.Fatalf("%+v", e)
		}
		if e.Ts < end-nanosecond/2 {
			t.Fatalf("%+v begins before %v, where the last one ends", e, end)
		}
		switch e.Cat {
		case "run":
			runEnd, end = e.Ts+e.Dur, e.Ts
		case "step":
			end = e.Ts + e.Dur
			if end > runEnd+nanosecond/2 {
				t.Fatalf("%+v ends after its run, at %v", e, runEnd)
			}
			if e.Args.Kernel == "" || len(e.Args.Shape) == 0 || e.Args.Node == "" {
				t.Errorf("%+v", e)
			}
		default:
			end = e.Ts + e.Dur
		}
	}
	if count["run"] != recentSpans/2 || count["around"] != recentSpans/2 || count["step"] != recentSpans/2*len(plans[1].steps) {
		t.Errorf("%v events; the plan has %d steps", count, len(plans[1].steps))
	}
}

// A Plan that nobody watches allocates what its kernels do, and watching adds
// no more than the call's closure.
func TestProfilerAllocations(t *testing.T) {
	net, plans := profiled(t)
	p := plans[0]
	measure := func(run func() error) float64 {
		return testing.AllocsPerRun(20, func() {
			if err := run(); err != nil {
				t.Fatal(err)
			}
		})
	}
	bare := measure(func() error {
		if err := p.bind(); err != nil {
			return err
		}
		if err := net.dev.Upload(net.rng, kernel.Bytes(p.seedStep[:])); err != nil {
			return err
		}
		return net.dev.Do(p.run)
	})
	if off := measure(p.RunAll); off != bare {
		t.Errorf("%v allocations in a run without profiler, %v without the choice", off, bare)
	}
	net.SetProfiler(NewProfiler())
	for range recentSpans {
		runAll(t, p)
	}
	if on := measure(p.RunAll); on > bare+2 {
		t.Errorf("%v allocations in a run with profiler, %v without", on, bare)
	}
	net.SetProfiler(nil)
	if off := measure(p.RunAll); off != bare {
		t.Errorf("%v allocations in a run after profiling, %v before", off, bare)
	}
}

func TestTraffic(t *testing.T) {
	for _, c := range []struct {
		desc kernel.Desc
		want float64
	}{
		{kernel.Unary{Op: kernel.Relu, Len: 10}, 80},
		{kernel.SGD{Len: 10}, 4 * (3 + 10 + 20 + 20)},
		// Five of twenty elements go into a hundred.
		{kernel.Copy{Shape: []int{5}, SrcStrides: []int{1}, DstStrides: []int{1}, SrcLen: 20, DstLen: 100}, 40},
		// One element goes everywhere.
		{kernel.Copy{Shape: []int{5}, SrcStrides: []int{0}, DstStrides: []int{1}, SrcLen: 1, DstLen: 5}, 24},
	} {
		if got := traffic(c.desc); got != c.want {
			t.Errorf("%+v: %v bytes, want %v", c.desc, got, c.want)
		}
	}
}
