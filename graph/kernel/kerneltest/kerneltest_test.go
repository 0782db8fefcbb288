package kerneltest_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
	"github.com/graft-onnx/graft/graph/kernel/kerneltest"
	"github.com/graft-onnx/graft/graph/kernel/native"
)

// faultVariable tells a copy of this test program which fault to have.
const faultVariable = "GRAFT_KERNELTEST_FAULT"

// faults are what can be wrong with a device, and the word by which the suite
// must complain.
var faults = map[string]string{
	"value":       "differ",
	"small":       "differ",
	"overrun":     "outside the buffer",
	"input":       "changed an input",
	"unsteady":    "other bits",
	"unwritten":   "differ",
	"unsupported": "ErrUnsupported",
	"swallow":     "want the function's own error",
	"upload":      "uploaded",
	"dirty":       "not zeroed",
}

// faulty is the native device with one fault.
type faulty struct {
	kernel.Device
	fault string
}

func (d faulty) Compile(desc kernel.Desc) (kernel.Kernel, error) {
	k, err := d.Device.Compile(desc)
	if err != nil {
		if d.fault == "unsupported" {
			err = errors.New("no such kernel")
		}
		return nil, err
	}
	return &faultyKernel{Kernel: k, args: desc.Args(), fault: d.fault}, nil
}

func (d faulty) Do(f func() error) error {
	err := d.Device.Do(f)
	if d.fault == "swallow" {
		return nil
	}
	return err
}

func (d faulty) Upload(dst kernel.Buffer, src []byte) error {
	if d.fault == "upload" {
		copy(host.Bytes(dst), src)
		return nil
	}
	return d.Device.Upload(dst, src)
}

func (d faulty) Alloc(bytes int) (kernel.Buffer, error) {
	b, err := d.Device.Alloc(bytes)
	if err == nil && d.fault == "dirty" && bytes > 0 {
		host.Bytes(b)[bytes/2] = 1
	}
	return b, err
}

type faultyKernel struct {
	kernel.Kernel
	args  []kernel.Arg
	fault string
	runs  int
}

func (k *faultyKernel) Run(bufs []kernel.Buffer) error {
	last := len(k.args) - 1
	out := host.Bytes(bufs[last])
	if len(out) == 0 {
		return k.Kernel.Run(bufs)
	}
	before := out[len(out)-2]
	if err := k.Kernel.Run(bufs); err != nil {
		return err
	}
	k.runs++
	switch k.fault {
	case "value":
		out[len(out)-1] ^= 0x80 // the sign of a float32
	case "small":
		host.Float32(bufs[last])[0] *= 1 + 1e-3
	case "overrun":
		*(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(out)), len(out)))++
	case "input":
		host.Bytes(bufs[0])[0]++
	case "unsteady":
		out[0] ^= byte(k.runs & 1) // the last bit
	case "unwritten":
		out[len(out)-2] = before
	}
	return nil
}

// TestFaultyDevice is run by TestSuiteFindsFaults in a process of its own.
func TestFaultyDevice(t *testing.T) {
	fault := os.Getenv(faultVariable)
	if fault == "" {
		t.Skip("skipped: a helper of TestSuiteFindsFaults")
	}
	dev := native.New(1)
	defer dev.Close()
	kerneltest.Run(t, faulty{dev, fault})
}

// TestSuiteFindsFaults checks that the suite fails, for the right reason, on a
// device with a fault, and passes on the same device without.
func TestSuiteFindsFaults(t *testing.T) {
	run := func(fault string) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestFaultyDevice$/^(Device|MatMul|Softmax)$")
		cmd.Env = append(os.Environ(), faultVariable+"="+fault)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("none"); err != nil {
		t.Fatalf("the suite fails on a sound device: %v\n%s", err, out)
	}
	for fault, word := range faults {
		out, err := run(fault)
		if err == nil {
			t.Errorf("fault %q passes the suite", fault)
		} else if !strings.Contains(out, word) {
			t.Errorf("fault %q: the suite does not say %q:\n%.2000s", fault, word, out)
		}
	}
}
