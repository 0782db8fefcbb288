package graph

import "github.com/graft-onnx/graft/graph/kernel"

// download copies a value to the host, row-major. Channels-last memory is put in
// order by the device, which does that with all of its threads.
func (n *Network) download(dst []float32, s slot) error {
	b := s.buffer(n.arena)
	if len(s.shape) == 4 && s.shape[1] > 1 && s.shape[2]*s.shape[3] > 1 {
		var err error
		if b, err = n.rowMajor(b, s.shape); err != nil {
			return err
		}
	}
	return n.dev.Download(kernel.Bytes(dst), b)
}

// rowMajor returns a copy of channels-last memory as (N,C,H*W). It is valid
// until the next call.
func (n *Network) rowMajor(b kernel.Buffer, shape []int) (kernel.Buffer, error) {
	batch, c, pixels, size := shape[0], shape[1], shape[2]*shape[3], kernel.Len(shape)
	k, err := n.dev.Compile(kernel.Copy{
		Shape:      []int{batch, c, pixels},
		SrcStrides: []int{c * pixels, 1, c}, DstStrides: []int{c * pixels, pixels, 1},
		SrcLen: size, DstLen: size,
	})
	if err != nil {
		return nil, err
	}
	want := b.Size() + k.Scratch()
	if n.border == nil || n.border.Size() < want {
		n.border = nil // the old one may go before the new one comes
		if n.border, err = n.dev.Alloc(want); err != nil {
			return nil, err
		}
	}
	to := n.border.Slice(0, b.Size())
	args := []kernel.Buffer{b, to}
	if s := k.Scratch(); s > 0 {
		args = append(args, n.border.Slice(b.Size(), s))
	}
	return to, n.dev.Do(func() error { return k.Run(args) })
}
