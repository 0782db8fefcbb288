package native

import (
	"math"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
	"github.com/graft-onnx/graft/graph/kernel/kerneltest"
)

// TestKernels runs the suite on every instruction set that this processor has,
// on several numbers of threads.
func TestKernels(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct {
		simd    string
		threads int
	}{{"", 0}, {"avx512", 2}, {"avx2", 3}, {"off", 5}} {
		t.Setenv("GRAFT_SIMD", c.simd)
		dev := New(c.threads)
		defer dev.Close()
		if seen[dev.isa.name] {
			continue
		}
		seen[dev.isa.name] = true
		t.Run(dev.isa.name, func(t *testing.T) {
			t.Log(dev)
			kerneltest.Run(t, dev)
		})
	}
}

func BenchmarkKernels(b *testing.B) {
	dev := New(0)
	defer dev.Close()
	kerneltest.Bench(b, dev)
}

// buffers allocates the arguments of a kernel, scratch included.
func buffers(d kernel.Desc, k kernel.Kernel) []kernel.Buffer {
	var args []kernel.Buffer
	for _, a := range d.Args() {
		args = append(args, host.Alloc(a.Size()))
	}
	if n := k.Scratch(); n > 0 {
		args = append(args, host.Alloc(n))
	}
	return args
}

// TestRunAllocatesNothing covers one description of every kind.
func TestRunAllocatesNothing(t *testing.T) {
	g := kernel.Geometry{N: 2, C: 24, H: 30, W: 31, O: 40, OH: 30, OW: 31, KH: 3, KW: 3, StrideH: 1, StrideW: 1,
		DilationH: 1, DilationW: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Groups: 1}
	deep := g
	deep.O, deep.Groups = 24, 24
	max := kernel.Pool{Geometry: deep}
	average := kernel.Pool{Geometry: deep, Op: kernel.AveragePool}
	taps := kernel.Taps{In: 8, Start: []int{0, 2, 3, 4}, Index: []int{0, 1, 4, 7}, Weight: []float32{0.5, 0.5, 1, 2}}
	softmax := kernel.Softmax{Outer: 900, Axis: 30, Inner: 1, Log: true}
	nll := kernel.NLL{N: 1, C: 30, H: 30, W: 30, Ignore: -1}
	descs := []kernel.Desc{
		kernel.Conv{Geometry: g, Bias: true, Act: kernel.Clip{On: true, Hi: 6}}, kernel.ConvBackwardData{Geometry: g}, kernel.ConvBackwardFilter{Geometry: g},
		kernel.Conv{Geometry: deep}, kernel.ConvBackwardData{Geometry: deep}, kernel.ConvBackwardFilter{Geometry: deep},
		kernel.MatMul{Batch: 2, M: 50, N: 60, K: 70},
		kernel.Unary{Op: kernel.Tanh, Len: 20000}, kernel.UnaryBackward{Op: kernel.Relu, Len: 20000}, kernel.UnaryBackward{Op: kernel.Sigmoid, Len: 20000},
		kernel.Binary{Op: kernel.Sub, A: []int{2, 30, 20, 20}, B: []int{2, 30, 1, 1}, Out: []int{2, 30, 20, 20}},
		kernel.Binary{Op: kernel.Max, A: []int{20000}, B: []int{20000}, Out: []int{20000}},
		kernel.AddN{Inputs: 3, Len: 20000}, kernel.Fill{Len: 20000, Value: 1},
		kernel.Reduce{Op: kernel.ReduceMean, In: []int{2, 30, 20, 20}, Shape: []int{2, 30, 1, 1}},
		kernel.Reduce{In: []int{2, 30, 20, 20}, Shape: []int{1, 30, 1, 1}},
		kernel.Copy{Shape: []int{2, 30, 400}, SrcStrides: []int{12000, 400, 1}, DstStrides: []int{12000, 1, 30}, SrcLen: 24000, DstLen: 24000},
		kernel.Take{Outer: 90, Axis: 5, Inner: 40, Index: []int{1, -1, 3}}, kernel.TakeBackward{Outer: 90, Axis: 5, Inner: 40, Index: []int{1, -1, 3}},
		kernel.Dropout{Shape: []int{2, 30, 20, 20}, Ratio: 0.5},
		kernel.BatchNormStats{N: 2, C: 30, H: 20, W: 20}, kernel.BatchNormFrozen{C: 30}, kernel.BatchNorm{N: 2, C: 30, H: 20, W: 20},
		kernel.BatchNormReduce{N: 2, C: 30, H: 20, W: 20}, kernel.BatchNormBackward{N: 2, C: 30, H: 20, W: 20, Count: 800},
		kernel.BatchNorm{N: 2, C: 30, H: 20, W: 20, Residual: true}, kernel.BatchNormReduce{N: 2, C: 30, H: 20, W: 20, Act: kernel.Clip{On: true, Hi: 6}},
		kernel.BatchNormReduce{N: 2, C: 30, H: 20, W: 20, Residual: true, Act: kernel.Clip{On: true, Hi: 6}},
		kernel.BatchNormBackward{N: 2, C: 30, H: 20, W: 20, Count: 800, Act: kernel.Clip{On: true, Hi: 6}}, kernel.BatchNormRunning{C: 30, Count: 800},
		max, average, kernel.PoolBackward{Pool: max}, kernel.PoolBackward{Pool: average},
		kernel.Resample{N: 2, C: 50, Rows: taps, Cols: taps},
		softmax, kernel.SoftmaxBackward{Softmax: softmax}, nll, kernel.NLLBackward{NLL: nll}, kernel.LogSoftmaxNLLBackward{NLL: nll}, kernel.SGD{Len: 20000},
		kernel.SGD{Len: 20000, Nesterov: true}, kernel.AdamW{Len: 20000}, kernel.Average{Len: 20000},
		kernel.Cast(kernel.Float32, kernel.BFloat16, 20000),
	}
	for _, l := range []kernel.Loss{kernel.CrossEntropy{Smoothing: 0.1}, kernel.OHEM{Threshold: 0.7}, kernel.Dice{Smooth: 1}, kernel.Focal{Gamma: 2}, kernel.Lovasz{}} {
		l = l.On(kernel.Pixels(nll))
		descs = append(descs, l, kernel.LossBackward{Loss: l})
	}
	for _, simd := range []string{"", "off"} {
		t.Setenv("GRAFT_SIMD", simd)
		dev := New(2)
		defer dev.Close()
		for _, d := range descs {
			k, err := dev.Compile(d)
			if err != nil {
				t.Fatal(err)
			}
			args := buffers(d, k)
			run := func() {
				if err := k.Run(args); err != nil {
					t.Fatalf("%T: %v", d, err)
				}
			}
			if n := testing.AllocsPerRun(5, run); n >= 1 {
				t.Errorf("%s: %+v allocates %v times a run", dev.isa.name, d, n)
			}
		}
	}
}

// TestRunRejects checks that wrong arguments are errors, not memory damage.
func TestRunRejects(t *testing.T) {
	dev := New(2)
	defer dev.Close()
	d := kernel.MatMul{Batch: 1, M: 3, N: 4, K: 5}
	k, err := dev.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	good := buffers(d, k)
	if err := k.Run(good); err != nil {
		t.Fatal(err)
	}
	short := append([]kernel.Buffer(nil), good...)
	short[1] = host.Alloc(4)
	foreign := append([]kernel.Buffer(nil), good...)
	foreign[2] = nil
	scratch := append([]kernel.Buffer(nil), good...)
	scratch[3] = host.Alloc(8)
	for name, args := range map[string][]kernel.Buffer{"too few": good[:3], "too short": short, "foreign": foreign, "small scratch": scratch} {
		if k.Run(args) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestCompileRejects checks that descriptions which reach outside their
// arguments, or describe nothing, are errors.
func TestCompileRejects(t *testing.T) {
	dev := New(1)
	defer dev.Close()
	g := kernel.Geometry{N: 1, C: 4, H: 5, W: 5, O: 4, OH: 3, OW: 3, KH: 3, KW: 3, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1, Groups: 1}
	change := func(f func(g *kernel.Geometry)) kernel.Geometry {
		c := g
		f(&c)
		return c
	}
	taps := func(index int) kernel.Taps {
		return kernel.Taps{In: 2, Start: []int{0, 1}, Index: []int{index}, Weight: []float32{1}}
	}
	for _, d := range []kernel.Desc{
		kernel.Conv{Geometry: change(func(g *kernel.Geometry) { g.StrideH = 0 })},
		kernel.Conv{Geometry: change(func(g *kernel.Geometry) { g.DilationW = 0 })},
		kernel.Conv{Geometry: change(func(g *kernel.Geometry) { g.Groups = 3 })},
		kernel.Conv{Geometry: change(func(g *kernel.Geometry) { g.Groups = 0 })},
		kernel.ConvBackwardData{Geometry: change(func(g *kernel.Geometry) { g.N = -1 })},
		kernel.ConvBackwardFilter{Geometry: change(func(g *kernel.Geometry) { g.PadTop = -1 })},
		kernel.Pool{Geometry: change(func(g *kernel.Geometry) { g.KH = 0 })},
		kernel.Unary{Len: -1},
		kernel.Unary{Len: math.MaxInt / 2},
		kernel.AddN{Len: 3},
		kernel.Binary{A: []int{2}, B: []int{3}, Out: []int{3}},
		kernel.Binary{A: []int{3}, B: []int{1, 3}, Out: []int{1, 3}},
		kernel.Reduce{In: []int{2, 3}, Shape: []int{2}},
		kernel.Reduce{In: []int{2, 3}, Shape: []int{2, 2}},
		kernel.Copy{Shape: []int{3}, SrcStrides: []int{1}, DstStrides: []int{1}, SrcLen: 2, DstLen: 3},
		kernel.Copy{Shape: []int{3}, SrcStrides: []int{-1}, DstStrides: []int{1}, SrcOffset: 1, SrcLen: 3, DstLen: 3},
		kernel.Copy{Shape: []int{3}, SrcStrides: []int{1}, DstStrides: []int{0}, SrcLen: 3, DstLen: 3},
		kernel.Copy{Shape: []int{3}, SrcStrides: []int{1}, DstStrides: []int{1}, DstOffset: 1, SrcLen: 3, DstLen: 3},
		kernel.Take{Outer: 1, Axis: 3, Inner: 1, Index: []int{3}},
		kernel.TakeBackward{Outer: 1, Axis: 3, Inner: 1, Index: []int{7}},
		kernel.Dropout{Shape: []int{3}, Ratio: 1.5},
		kernel.BatchNormReduce{N: 1, C: 2, H: 3, W: 3, Residual: true},
		kernel.Conv{Geometry: g, Packed: 7}, kernel.PackFilter{O: 4, C: 4, KH: 3, KW: 3, Groups: 1, Packed: 7}, kernel.PackFilter{O: 4, C: 4, KH: 3, KW: 3},
		kernel.Mixed{Desc: kernel.Conv{Geometry: g, Packed: New(1).packed(g)}, DTypes: []kernel.DType{kernel.BFloat16, kernel.Float32, kernel.BFloat16}},
		kernel.Dropout{Shape: []int{3}, Channel: true},
		kernel.Resample{N: 1, C: 1, Rows: taps(2), Cols: taps(0)},
		kernel.Resample{N: 1, C: 1, Rows: taps(0), Cols: taps(-1)},
		kernel.Resample{N: 1, C: 1, Rows: kernel.Taps{}, Cols: taps(0)},
		kernel.Resample{N: 1, C: 2, Rows: taps(0), Cols: taps(0), To: kernel.Channels{First: 2, Of: 3}},
		kernel.Resample{N: 1, C: 2, Rows: taps(0), Cols: taps(0), From: kernel.Channels{First: -1, Of: 3}},
	} {
		if _, err := dev.Compile(d); err == nil {
			t.Errorf("Compile(%T %+v) succeeds", d, d)
		}
	}
}

// TestPanicIsAnError checks that a fault on a worker reaches the caller, and
// that the pool works on.
func TestPanicIsAnError(t *testing.T) {
	p := newPool(3)
	defer p.close()
	if err := p.run(3, func(_, part int) {
		if part == 2 {
			panic("fault")
		}
	}); err == nil {
		t.Error("a panic on a worker is lost")
	}
	count := make([]int, 3)
	if err := p.run(3, func(_, part int) { count[part]++ }); err != nil || count[0]+count[1]+count[2] != 3 {
		t.Errorf("after a panic the pool ran %v, error %v", count, err)
	}
}

func TestSpanCoversEverything(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 1000} {
		for parts := 1; parts <= 9; parts++ {
			for _, align := range []int{1, 16} {
				next := 0
				for part := range parts {
					lo, hi := span(n, part, parts, align)
					if lo != next || hi < lo {
						t.Fatalf("span(%d, %d, %d, %d) = %d, %d after %d", n, part, parts, align, lo, hi, next)
					}
					next = hi
				}
				if next != n {
					t.Fatalf("%d parts of %d end at %d", parts, n, next)
				}
			}
		}
	}
}

func TestClosedDeviceStillComputes(t *testing.T) {
	dev := New(4)
	d := kernel.Fill{Len: 200000, Value: 3}
	k, err := dev.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	args := buffers(d, k)
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Errorf("a second Close says %v", err)
	}
	if err := k.Run(args); err != nil {
		t.Fatal(err)
	}
	for i, v := range host.Float32(args[0]) {
		if v != 3 {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}

func TestAllocRejects(t *testing.T) {
	dev := New(1)
	defer dev.Close()
	for _, n := range []int{-1, math.MaxInt, math.MaxInt / 3} {
		if _, err := dev.Alloc(n); err == nil {
			t.Errorf("Alloc(%d) succeeds", n)
		}
	}
}
