package onednn

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
	"github.com/graft-onnx/graft/graph/kernel/kerneltest"
)

func TestSuite(t *testing.T) {
	for _, threads := range []int{2, 3} {
		d := openDevice(t, threads)
		t.Run(fmt.Sprintf("threads=%d", threads), func(t *testing.T) { kerneltest.Run(t, d) })
	}
}

// Layers must run on code made for this processor, never on the reference, and
// depthwise ones on code made for them; else they belong to the native device,
// as do those that it computes by Winograd's method.
func TestLayersRunVectorCode(t *testing.T) {
	d := openDevice(t, 2)
	for _, g := range benchmarkGeometries() {
		for _, desc := range []kernel.Desc{kernel.Conv{Geometry: g}, kernel.ConvBackwardData{Geometry: g}, kernel.ConvBackwardFilter{Geometry: g}} {
			k, err := d.Compile(desc)
			if err != nil {
				t.Fatalf("%+v: %v", desc, err)
			}
			p, ok := k.(*program)
			if !ok {
				if !g.Depthwise() && !d.native.PrefersWinograd(desc) {
					t.Errorf("%T of %+v runs on the native device", desc, g)
				}
				continue
			}
			impl := p.Implementation()
			if isReference(impl) || g.Depthwise() && !strings.Contains(impl, "dw") {
				t.Errorf("%T of %+v runs %s", desc, g, impl)
			}
		}
	}
}

// What oneDNN has no kernel for comes from the native device, and what is
// wrong is an error of its own.
func TestCompileFallsBack(t *testing.T) {
	d := openDevice(t, 1)
	k, err := d.Compile(kernel.Fill{Len: 3, Value: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.(*program); ok {
		t.Error("Fill runs on oneDNN")
	}
	for name, desc := range map[string]kernel.Desc{
		"no groups":     kernel.Conv{},
		"negative size": kernel.MatMul{Batch: 1, M: -1, N: 1, K: 1},
	} {
		if k, err := d.Compile(desc); err == nil {
			t.Errorf("%s: compiled to %T", name, k)
		}
	}
}

// foreign is memory of no known device.
type foreign struct{ size int }

func (f foreign) Size() int                       { return f.size }
func (f foreign) Slice(_, size int) kernel.Buffer { return foreign{size} }

func TestRunChecksArguments(t *testing.T) {
	d := openDevice(t, 1)
	p := compiled(t, d, kernel.Conv{Geometry: geometry(1, 16, 5, 16, 3, 1, 1, 1)})
	full := func() []kernel.Buffer {
		var bufs []kernel.Buffer
		for _, a := range p.args {
			bufs = append(bufs, host.Alloc(a.Size()))
		}
		return append(bufs, host.Alloc(p.Scratch()))
	}
	if err := p.Run(full()); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(b []kernel.Buffer) []kernel.Buffer{
		"one missing":   func(b []kernel.Buffer) []kernel.Buffer { return b[:3] },
		"one too many":  func(b []kernel.Buffer) []kernel.Buffer { return append(b, b[0]) },
		"short input":   func(b []kernel.Buffer) []kernel.Buffer { b[0] = host.Alloc(b[0].Size() - 4); return b },
		"short scratch": func(b []kernel.Buffer) []kernel.Buffer { b[3] = host.Alloc(b[3].Size() - 4); return b },
		"no buffer":     func(b []kernel.Buffer) []kernel.Buffer { b[1] = nil; return b },
		"foreign":       func(b []kernel.Buffer) []kernel.Buffer { b[2] = foreign{b[2].Size()}; return b },
	}
	for name, spoil := range tests {
		if err := p.Run(spoil(full())); err == nil || !strings.Contains(err.Error(), "kernel.Conv") {
			t.Errorf("%s: error %v, want one that names the kernel", name, err)
		}
	}
}

func TestClosed(t *testing.T) {
	d := openDevice(t, 1)
	p := compiled(t, d, kernel.MatMul{Batch: 1, M: 16, N: 16, K: 16})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	bufs := []kernel.Buffer{host.Alloc(1024), host.Alloc(1024), host.Alloc(1024)}
	if p.scratch > 0 {
		bufs = append(bufs, host.Alloc(p.Scratch()))
	}
	if err := p.Run(bufs); !errors.Is(err, errClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	if _, err := d.Compile(kernel.MatMul{Batch: 1, M: 16, N: 16, K: 16}); !errors.Is(err, errClosed) {
		t.Errorf("Compile after Close: %v", err)
	}
}
