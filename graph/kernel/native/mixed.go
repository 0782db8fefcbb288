package native

import (
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
)

// mixed compiles a computation with bfloat16 arguments. Dense convolutions
// multiply bfloat16 where the processor can; everything else computes in
// float32 on widened copies.
func (d *Device) mixed(p *program, m kernel.Mixed) error {
	if d.isa.half != nil {
		if d.mixedWinograd(p, m) {
			return nil
		}
		switch c := m.Desc.(type) {
		case kernel.Conv:
			if d.halfConv(p, c) {
				return nil
			}
		case kernel.ConvBackwardData:
			if d.halfConvBackwardData(p, c) {
				return nil
			}
		case kernel.ConvBackwardFilter:
			if d.halfConvBackwardFilter(p, c) {
				return nil
			}
		}
	}
	if streams(m) || d.isa.half != nil && wholly(m) {
		return d.build(p, m.Desc)
	}
	for i, a := range p.args {
		if a.DType == kernel.BFloat16 && m.Desc.Args()[i].DType == kernel.Float32 {
			p.wide[i] = p.reserve(kernel.Len(a.Shape))
		}
	}
	for i, a := range p.args {
		if p.wide[i] >= 0 && a.Dir != kernel.Out {
			p.splitAligned(kernel.Len(a.Shape), grain, 32, func(lo, hi int) { p.isa.widen(p.f[i][lo:hi], p.h[i][lo:hi]) })
		}
	}
	if err := d.build(p, m.Desc); err != nil {
		return err
	}
	for i, a := range p.args {
		if p.wide[i] >= 0 && a.Dir != kernel.In {
			p.splitAligned(kernel.Len(a.Shape), grain, 32, func(lo, hi int) { p.isa.narrow(p.h[i][lo:hi], p.f[i][lo:hi]) })
		}
	}
	return nil
}

// mixedWinograd compiles a convolution by Winograd's method, or reports that it
// is slower so. Filters and biases are float32.
func (d *Device) mixedWinograd(p *program, m kernel.Mixed) bool {
	w, faster := d.planWinograd(m)
	if !faster {
		return false
	}
	switch c := m.Desc.(type) {
	case kernel.Conv:
		if p.isHalf(1) || c.Bias && p.isHalf(2) {
			return false
		}
		w.conv(p, c)
	case kernel.ConvBackwardData:
		if p.isHalf(1) {
			return false
		}
		w.convBackwardData(p)
	case kernel.ConvBackwardFilter:
		if p.isHalf(2) {
			return false
		}
		w.convBackwardFilter(p)
	}
	return true
}

// wholly reports whether a kernel has a version for arguments that are all
// bfloat16, and these are.
func wholly(m kernel.Mixed) bool {
	if slices.Contains(m.DTypes, kernel.Float32) {
		return false
	}
	switch d := m.Desc.(type) {
	case kernel.Pool:
		return d.Op == kernel.MaxPool
	case kernel.PoolBackward:
		return d.Op == kernel.MaxPool
	case kernel.Dropout:
		return true
	}
	return false
}

// streams reports whether a kernel reads and writes activations by stretches,
// which it converts on the way.
func streams(m kernel.Mixed) bool {
	switch d := m.Desc.(type) {
	case kernel.Unary, kernel.UnaryBackward, kernel.AddN,
		kernel.BatchNormStats, kernel.BatchNorm, kernel.BatchNormReduce, kernel.BatchNormBackward,
		kernel.Resample, kernel.LogSoftmaxNLLBackward:
		return true
	case kernel.Softmax:
		return d.Inner == 1
	case kernel.SoftmaxBackward:
		return d.Inner == 1
	case kernel.Reduce:
		_, _, ok := channelSum(d)
		return ok && m.DTypes[1] == kernel.Float32
	case kernel.Binary:
		return slices.Equal(d.A, d.Out) && slices.Equal(d.B, d.Out)
	}
	return false
}
