package onednn

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/internal/dl"
)

// Device computes with oneDNN where it is faster and natively elsewhere.
type Device struct {
	lib    *library
	native *native.Device
	thread *thread
	stream uintptr
	n      int // threads

	closing  sync.Once
	waitCall []uintptr // the arguments of dnnl_stream_wait
}

var _ kernel.Device = (*Device)(nil)

// New loads oneDNN and starts a device with a number of threads, 0 for
// GOMAXPROCS. Without oneDNN it returns a *LoadError.
func New(threads int) (*Device, error) {
	l, err := load()
	if err != nil {
		return nil, err
	}
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	d := &Device{lib: l, native: native.New(threads), n: threads}
	d.thread = newThread(func() {
		if l.threads != 0 {
			dl.Call(l.threads, uintptr(threads)) // holds for the calling thread only
		}
	})
	if err := check("dnnl_stream_create", dl.Call(l.fn.streamCreate, uintptr(unsafe.Pointer(&d.stream)), l.engine, streamInOrder)); err != nil {
		d.thread.close()
		return nil, errors.Join(err, d.native.Close())
	}
	d.waitCall = []uintptr{d.stream}
	return d, nil
}

// Available loads oneDNN and returns its version and file, or a *LoadError.
func Available() (Version, string, error) {
	l, err := load()
	if err != nil {
		return Version{}, "", err
	}
	return l.version, l.path, nil
}

// Name implements kernel.Device.
func (d *Device) Name() string { return "onednn" }

// String implements kernel.Device.
func (d *Device) String() string {
	threads := fmt.Sprintf("%d threads", d.n)
	if d.lib.threads == 0 {
		threads = "as many threads as it likes"
	}
	return fmt.Sprintf("oneDNN %v (%s, %s, %s) over %v", d.lib.version, d.lib.path, d.lib.runtime, threads, d.native)
}

// FastBFloat16 is the native kernels' answer: they compute in mixed precision.
func (d *Device) FastBFloat16() bool { return d.native.FastBFloat16() }

// Alloc implements kernel.Device.
func (d *Device) Alloc(bytes int) (kernel.Buffer, error) { return d.native.Alloc(bytes) }

// Free implements kernel.Device.
func (d *Device) Free(b kernel.Buffer) { d.native.Free(b) }

// Upload implements kernel.Device.
func (d *Device) Upload(dst kernel.Buffer, src []byte) error { return host.Upload(dst, src) }

// Download implements kernel.Device.
func (d *Device) Download(dst []byte, src kernel.Buffer) error { return host.Download(dst, src) }

// Do implements kernel.Device: f runs on the OS thread of oneDNN. Calls may be
// nested.
func (d *Device) Do(f func() error) error { return d.thread.do(f) }

// Close implements kernel.Device. Kernels of the device return an error
// afterwards.
func (d *Device) Close() error {
	var err error
	d.closing.Do(func() {
		err = d.Do(func() error {
			return check("dnnl_stream_destroy", dl.Call(d.lib.fn.streamDestroy, d.stream))
		})
		d.thread.close()
		err = errors.Join(err, d.native.Close())
	})
	return err
}

// Compile implements kernel.Device.
func (d *Device) Compile(desc kernel.Desc) (kernel.Kernel, error) {
	var p *program
	err := d.Do(func() (err error) {
		p, err = d.compile(desc)
		return err
	})
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, kernel.ErrUnsupported):
		return d.native.Compile(desc)
	default:
		return nil, fmt.Errorf("onednn: %T: %w", desc, err)
	}
}

// compile makes the program of a description that oneDNN is worth asking for.
func (d *Device) compile(desc kernel.Desc) (*program, error) {
	if d.native.PrefersWinograd(desc) {
		// Half the time of oneDNN's direct convolution.
		return nil, kernel.ErrUnsupported
	}
	switch c := desc.(type) {
	case kernel.Conv:
		return d.compileConv(c)
	case kernel.ConvBackwardData:
		return d.compileConvBackwardData(c)
	case kernel.ConvBackwardFilter:
		return d.compileConvBackwardFilter(c)
	case kernel.MatMul:
		return d.compileMatMul(c)
	}
	return nil, kernel.ErrUnsupported
}
