package native

import (
	"errors"
	"fmt"
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
)

// errInvalid is wrapped for descriptions that describe nothing.
var errInvalid = errors.New("native: invalid description")

// check rejects descriptions whose kernels could reach outside their
// arguments. It is the border that lets the kernels themselves trust shapes.
func check(d kernel.Desc) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %T: %s", errInvalid, d, fmt.Sprintf(format, args...))
	}
	if d == nil {
		return fmt.Errorf("native: nil description: %w", kernel.ErrUnsupported)
	}
	// These need fields to be sound before Args may be called.
	switch k := d.(type) {
	case kernel.Mixed:
		if err := check(k.Desc); err != nil {
			return err
		}
		if msg := checkMixed(k); msg != "" {
			return bad("%s", msg)
		}
	case kernel.Conv:
		if msg := checkGeometry(k.Geometry, true); msg != "" {
			return bad("%s", msg)
		}
	case kernel.PackFilter:
		if msg := checkGeometry(filterGeometry(k), true); msg != "" {
			return bad("%s", msg)
		}
	case kernel.ConvBackwardData:
		if msg := checkGeometry(k.Geometry, true); msg != "" {
			return bad("%s", msg)
		}
	case kernel.ConvBackwardFilter:
		if msg := checkGeometry(k.Geometry, true); msg != "" {
			return bad("%s", msg)
		}
	case kernel.Pool:
		if msg := checkGeometry(k.Geometry, false); msg != "" {
			return bad("%s", msg)
		}
	case kernel.PoolBackward:
		if msg := checkGeometry(k.Geometry, false); msg != "" {
			return bad("%s", msg)
		}
	case kernel.AddN:
		if k.Inputs < 1 {
			return bad("%d inputs", k.Inputs)
		}
	case kernel.Binary:
		if len(k.A) != len(k.Out) || len(k.B) != len(k.Out) {
			return bad("ranks differ: %v, %v -> %v", k.A, k.B, k.Out)
		}
		for i, n := range k.Out {
			if (k.A[i] != n && k.A[i] != 1) || (k.B[i] != n && k.B[i] != 1) {
				return bad("cannot broadcast %v and %v to %v", k.A, k.B, k.Out)
			}
		}
	case kernel.Reduce:
		if len(k.In) != len(k.Shape) {
			return bad("ranks differ: %v -> %v", k.In, k.Shape)
		}
		for i, n := range k.Shape {
			if n != k.In[i] && n != 1 {
				return bad("cannot fold %v into %v", k.In, k.Shape)
			}
		}
	case kernel.Copy:
		if msg := checkCopy(k); msg != "" {
			return bad("%s", msg)
		}
	case kernel.Take:
		if msg := checkIndex(k.Index, k.Axis); msg != "" {
			return bad("%s", msg)
		}
	case kernel.TakeBackward:
		if msg := checkIndex(k.Index, k.Axis); msg != "" {
			return bad("%s", msg)
		}
	case kernel.Dropout:
		if k.Channel && len(k.Shape) < 2 {
			return bad("no channels in %v", k.Shape)
		}
		if !(k.Ratio >= 0 && k.Ratio <= 1) {
			return bad("ratio %v is outside [0,1]", k.Ratio)
		}
	case kernel.Loss:
		if msg := checkLoss(k); msg != "" {
			return bad("%s", msg)
		}
	case kernel.LossBackward:
		if k.Loss == nil {
			return bad("no loss")
		}
		if msg := checkLoss(k.Loss); msg != "" {
			return bad("%s", msg)
		}
	case kernel.BatchNormReduce:
		if k.Residual && !k.Act.On {
			return bad("a residual sum without activation lets everything through")
		}
	case kernel.Resample:
		if msg := checkTaps(k.Rows); msg != "" {
			return bad("rows: %s", msg)
		}
		if msg := checkTaps(k.Cols); msg != "" {
			return bad("columns: %s", msg)
		}
		for _, c := range []kernel.Channels{k.From, k.To} {
			if c = c.Over(k.C); c.First < 0 || k.C < 0 || c.First > c.Of-k.C {
				return bad("%d channels from %d on are not in %d", k.C, c.First, c.Of)
			}
		}
	}
	for _, a := range d.Args() {
		n := 1
		for _, s := range a.Shape {
			if s < 0 {
				return bad("argument %s has shape %v", a.Name, a.Shape)
			}
			if s > 0 && n > math.MaxInt/16/s {
				return bad("argument %s of shape %v is too large", a.Name, a.Shape)
			}
			n *= max(s, 1)
		}
	}
	return nil
}

func checkGeometry(g kernel.Geometry, conv bool) string {
	switch {
	case g.N < 0 || g.C < 0 || g.H < 0 || g.W < 0 || g.OH < 0 || g.OW < 0 || conv && g.O < 0:
		return fmt.Sprintf("negative size in %+v", g)
	case g.KH < 1 || g.KW < 1:
		return fmt.Sprintf("kernel %dx%d", g.KH, g.KW)
	case g.StrideH < 1 || g.StrideW < 1:
		return fmt.Sprintf("stride %dx%d", g.StrideH, g.StrideW)
	case g.DilationH < 1 || g.DilationW < 1:
		return fmt.Sprintf("dilation %dx%d (1 is a dense filter)", g.DilationH, g.DilationW)
	case g.PadTop < 0 || g.PadLeft < 0 || g.PadBottom < 0 || g.PadRight < 0:
		return fmt.Sprintf("negative padding in %+v; slice the input instead", g)
	case conv && g.Groups < 1:
		return fmt.Sprintf("%d groups", g.Groups)
	case conv && (g.C%g.Groups != 0 || g.O%g.Groups != 0):
		return fmt.Sprintf("%d and %d channels do not divide into %d groups", g.C, g.O, g.Groups)
	}
	return ""
}

func checkMixed(m kernel.Mixed) string {
	if _, ok := m.Desc.(kernel.Mixed); ok {
		return "mixed twice"
	}
	if c, ok := m.Desc.(kernel.Conv); ok && c.Packed > 0 {
		return "packed filters are for float32"
	}
	args := m.Desc.Args()
	if len(m.DTypes) != len(args) {
		return fmt.Sprintf("%d element types for the %d arguments of %T", len(m.DTypes), len(args), m.Desc)
	}
	for i, a := range args {
		if t := m.DTypes[i]; t != a.DType && (a.DType != kernel.Float32 || t != kernel.BFloat16) {
			return fmt.Sprintf("argument %s of %T is %s, not %s", a.Name, m.Desc, a.DType, t)
		}
	}
	return ""
}

func checkCopy(c kernel.Copy) string {
	if len(c.SrcStrides) != len(c.Shape) || len(c.DstStrides) != len(c.Shape) {
		return fmt.Sprintf("strides %v and %v for shape %v", c.SrcStrides, c.DstStrides, c.Shape)
	}
	if kernel.Len(c.Shape) == 0 {
		return ""
	}
	srcLo, srcHi, dstLo, dstHi := c.SrcOffset, c.SrcOffset, c.DstOffset, c.DstOffset
	for i, n := range c.Shape {
		if n < 0 {
			return fmt.Sprintf("shape %v", c.Shape)
		}
		s, d := (n-1)*c.SrcStrides[i], (n-1)*c.DstStrides[i]
		srcLo, srcHi = srcLo+min(s, 0), srcHi+max(s, 0)
		dstLo, dstHi = dstLo+min(d, 0), dstHi+max(d, 0)
		if n > 1 && c.DstStrides[i] == 0 {
			return fmt.Sprintf("destination strides %v write one element several times", c.DstStrides)
		}
	}
	if srcLo < 0 || srcHi >= c.SrcLen {
		return fmt.Sprintf("reads elements %d to %d of %d", srcLo, srcHi, c.SrcLen)
	}
	if dstLo < 0 || dstHi >= c.DstLen {
		return fmt.Sprintf("writes elements %d to %d of %d", dstLo, dstHi, c.DstLen)
	}
	return ""
}

func checkIndex(index []int, axis int) string {
	for _, j := range index {
		if j >= axis {
			return fmt.Sprintf("index %d on an axis of %d", j, axis)
		}
	}
	return ""
}

func checkTaps(t kernel.Taps) string {
	if len(t.Start) < 1 || t.Start[0] != 0 || t.Start[len(t.Start)-1] != len(t.Index) || len(t.Index) != len(t.Weight) {
		return fmt.Sprintf("%d starts, %d indices, %d weights do not fit together", len(t.Start), len(t.Index), len(t.Weight))
	}
	for i := range t.Out() {
		if t.Start[i] > t.Start[i+1] {
			return fmt.Sprintf("starts fall from %d to %d", t.Start[i], t.Start[i+1])
		}
	}
	for _, i := range t.Index {
		if i < 0 || i >= t.In {
			return fmt.Sprintf("index %d of %d inputs", i, t.In)
		}
	}
	return ""
}
