package native

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
)

// Device computes on the processor that runs this program.
type Device struct {
	pool *pool
	isa  *isa
	// winograd allows Winograd's convolution.
	winograd bool
}

var _ kernel.Device = (*Device)(nil)

// New returns a device that works on the given number of threads, GOMAXPROCS
// if it is 0 or less. The environment variable GRAFT_SIMD chooses narrower
// instructions than the processor has: "off" for plain Go, "avx2", "avx512". With
// GRAFT_WINOGRAD=off convolutions are computed by their definition.
func New(threads int) *Device {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device{pool: newPool(threads), isa: detect(), winograd: useWinograd()}
}

// Name implements kernel.Device.
func (d *Device) Name() string { return "native" }

// String implements kernel.Device.
func (d *Device) String() string {
	return fmt.Sprintf("native Go kernels, %s, %d threads", d.isa.name, d.pool.threads)
}

// FastBFloat16 reports whether the processor multiplies bfloat16.
func (d *Device) FastBFloat16() bool { return d.isa.half != nil }

// Threads returns how many threads a kernel may use.
func (d *Device) Threads() int { return d.pool.threads }

// Alloc implements kernel.Device.
func (d *Device) Alloc(bytes int) (kernel.Buffer, error) {
	// Past this no machine has the address space, and Go would panic.
	if bytes < 0 || bytes > math.MaxInt/4 || bits.Len(uint(bytes)) > 47 {
		return nil, fmt.Errorf("native: cannot allocate %d bytes", bytes)
	}
	return host.Map(bytes), nil
}

// Free implements kernel.Device.
func (d *Device) Free(b kernel.Buffer) { host.Free(b) }

// Upload implements kernel.Device.
func (d *Device) Upload(dst kernel.Buffer, src []byte) error { return host.Upload(dst, src) }

// Download implements kernel.Device.
func (d *Device) Download(dst []byte, src kernel.Buffer) error { return host.Download(dst, src) }

// Do implements kernel.Device: native kernels run anywhere.
func (d *Device) Do(f func() error) error { return f() }

// Close implements kernel.Device: it ends the worker goroutines. Kernels of a
// closed device run on their caller alone.
func (d *Device) Close() error {
	d.pool.close()
	return nil
}

// Compile implements kernel.Device.
func (d *Device) Compile(desc kernel.Desc) (kernel.Kernel, error) {
	if err := check(desc); err != nil {
		return nil, err
	}
	p := newProgram(d, desc)
	if err := d.build(p, desc); err != nil {
		return nil, err
	}
	return p, nil
}

// build adds the stages of a description to a program with its arguments.
func (d *Device) build(p *program, desc kernel.Desc) (err error) {
	switch k := desc.(type) {
	case kernel.Mixed:
		err = d.mixed(p, k)
	case kernel.Conv:
		if w, faster := d.planWinograd(desc); faster && k.Packed == 0 {
			w.conv(p, k)
		} else {
			err = d.conv(p, k)
		}
	case kernel.PackFilter:
		err = d.packFilter(p, k)
	case kernel.ConvBackwardData:
		if w, faster := d.planWinograd(desc); faster {
			w.convBackwardData(p)
		} else {
			d.convBackwardData(p, k)
		}
	case kernel.ConvBackwardFilter:
		if w, faster := d.planWinograd(desc); faster {
			w.convBackwardFilter(p)
		} else {
			d.convBackwardFilter(p, k)
		}
	case kernel.MatMul:
		d.matMul(p, k)
	case kernel.Unary:
		err = unary(p, k)
	case kernel.UnaryBackward:
		err = unaryBackward(p, k)
	case kernel.Binary:
		err = binary(p, k)
	case kernel.AddN:
		addN(p, k)
	case kernel.Fill:
		fill(p, k)
	case kernel.Reduce:
		err = reduce(p, k)
	case kernel.Copy:
		copyBox(p, k)
	case kernel.Take:
		take(p, k)
	case kernel.TakeBackward:
		takeBackward(p, k)
	case kernel.Dropout:
		dropout(p, k)
	case kernel.BatchNormStats:
		batchNormStats(p, k)
	case kernel.BatchNormFrozen:
		batchNormFrozen(p, k)
	case kernel.BatchNorm:
		batchNorm(p, k)
	case kernel.BatchNormReduce:
		batchNormReduce(p, k)
	case kernel.BatchNormBackward:
		batchNormBackward(p, k)
	case kernel.BatchNormRunning:
		batchNormRunning(p, k)
	case kernel.Pool:
		err = pool2d(p, k)
	case kernel.PoolBackward:
		err = pool2dBackward(p, k)
	case kernel.Resample:
		resample(p, k)
	case kernel.Softmax:
		softmax(p, k)
	case kernel.SoftmaxBackward:
		softmaxBackward(p, k)
	case kernel.NLL:
		nll(p, k)
	case kernel.NLLBackward:
		nllBackward(p, k)
	case kernel.LogSoftmaxNLLBackward:
		logSoftmaxNLLBackward(p, k)
	case kernel.Loss:
		err = loss(p, k)
	case kernel.LossBackward:
		err = lossBackward(p, k)
	case kernel.SGD:
		sgd(p, k)
	case kernel.AdamW:
		adamW(p, k)
	case kernel.Average:
		average(p, k)
	default:
		err = fmt.Errorf("native: %T: %w", desc, kernel.ErrUnsupported)
	}
	return err
}
