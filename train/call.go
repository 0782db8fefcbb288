package train

import "github.com/graft-onnx/graft/graph/kernel"

// call is a kernel with its arguments, run outside of a Plan.
type call struct {
	kernel kernel.Kernel
	args   []kernel.Buffer
}

func newCall(dev kernel.Device, d kernel.Desc, args ...kernel.Buffer) (*call, error) {
	k, err := dev.Compile(d)
	if err != nil {
		return nil, err
	}
	if n := k.Scratch(); n > 0 {
		b, err := dev.Alloc(n)
		if err != nil {
			return nil, err
		}
		args = append(args, b)
	}
	return &call{k, args}, nil
}

func (c *call) run() error { return c.kernel.Run(c.args) }

// runAll runs calls one after another.
func runAll(dev kernel.Device, calls []*call) error {
	return dev.Do(func() error {
		for _, c := range calls {
			if err := c.run(); err != nil {
				return err
			}
		}
		return nil
	})
}

// allocate returns device memory that holds numbers.
func allocate(dev kernel.Device, values []float32) (kernel.Buffer, error) {
	b, err := dev.Alloc(4 * len(values))
	if err != nil {
		return nil, err
	}
	return b, dev.Upload(b, kernel.Bytes(values))
}
