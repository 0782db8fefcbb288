package onednn

import (
	"fmt"
	"math"
	"strings"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/internal/dl"
)

// problem translates a geometry: the activations channels-last, the filter in
// whatever layout the primitive prefers (for a filter as it lies in memory
// both generations have reference code only). stored describes the filter as
// it lies in memory, (O,KH,KW,I).
func (l *library) problem(g kernel.Geometry) (p *convolution, stored *memoryDesc, err error) {
	for _, n := range []int{g.N, g.C, g.H, g.W, g.O, g.OH, g.OW, g.KH, g.KW, g.StrideH, g.StrideW, g.DilationH, g.DilationW, g.Groups} {
		if n <= 0 {
			return nil, nil, fmt.Errorf("onednn: %w: a convolution of %+v", kernel.ErrUnsupported, g)
		}
	}
	if g.C%g.Groups != 0 || g.O%g.Groups != 0 {
		return nil, nil, fmt.Errorf("onednn: %w: %d groups of %d and %d channels", kernel.ErrUnsupported, g.Groups, g.C, g.O)
	}
	p = &convolution{
		strides:  [2]int64{int64(g.StrideH), int64(g.StrideW)},
		dilates:  [2]int64{int64(g.DilationH) - 1, int64(g.DilationW) - 1},
		padBegin: [2]int64{int64(g.PadTop), int64(g.PadLeft)},
		padEnd:   [2]int64{int64(g.PadBottom), int64(g.PadRight)},
	}
	if p.x, err = l.channelsLast(g.X()); err != nil {
		return nil, nil, err
	}
	if p.y, err = l.channelsLast(g.Y()); err != nil {
		return nil, nil, err
	}
	o, i, h, w := int64(g.O), int64(g.C/g.Groups), int64(g.KH), int64(g.KW)
	dims := []int64{o, i, h, w}
	strides := []int64{h * w * i, 1, w * i, i}
	if g.Groups > 1 {
		// (groups, O/groups, C/groups, KH, KW): the groups are the slowest
		// part of O.
		dims = []int64{int64(g.Groups), o / int64(g.Groups), i, h, w}
		strides = append([]int64{o / int64(g.Groups) * h * w * i}, strides...)
	}
	if stored, err = l.strided(dims, strides); err != nil {
		return nil, nil, err
	}
	p.w, err = l.anyFormat(dims)
	return p, stored, err
}

// channelsLast describes an activation of a logical shape (N,C,H,W).
func (l *library) channelsLast(shape []int) (*memoryDesc, error) {
	dims, strides := make([]int64, 4), make([]int64, 4)
	for i, s := range kernel.Strides(shape) {
		dims[i], strides[i] = int64(shape[i]), int64(s)
	}
	return l.strided(dims, strides)
}

// compileConv makes the program of a forward convolution. The activation is a
// native step after it: those that oneDNN would fuse make 0 of NaN, and hide
// that a training has gone wrong.
func (d *Device) compileConv(c kernel.Conv) (*program, error) {
	if c.Packed > 0 {
		return nil, fmt.Errorf("onednn: %w: a packed filter is the native kernels' own", kernel.ErrUnsupported)
	}
	l := d.lib
	problem, stored, err := l.problem(c.Geometry)
	if err != nil {
		return nil, err
	}
	if c.Bias {
		if problem.bias, err = l.strided([]int64{int64(c.O)}, []int64{1}); err != nil {
			return nil, err
		}
	}
	attr, err := l.attributes()
	if err != nil {
		return nil, err
	}
	defer dl.Call(l.fn.attrDestroy, attr)
	pd, err := l.convForward(problem, attr, false)
	if err != nil {
		return nil, err
	}
	defer dl.Call(l.fn.pdDestroy, pd)
	if err := l.worthwhile(pd, c.Geometry); err != nil {
		return nil, err
	}

	p := d.newProgram(c)
	b := binder{p: p}
	w := b.input(stored, l.queryDesc(pd, queryWeightsDesc), 1)
	uses := []use{{argSrc, b.argument(problem.x, 0)}, {argWeights, w}}
	if c.Bias {
		uses = append(uses, use{argBias, b.argument(problem.bias, 2)})
	}
	y := len(p.args) - 1
	b.add(pd, append(uses, use{argDst, b.argument(problem.y, y)})...)
	if c.Act.On {
		b.native(activation(c.Act, kernel.Len(c.Y())), y, y)
	}
	return p, b.err
}

// activation describes a clip on its own.
func activation(c kernel.Clip, n int) kernel.Unary {
	if c.Lo == 0 && math.IsInf(float64(c.Hi), 1) {
		return kernel.Unary{Op: kernel.Relu, Len: n}
	}
	return kernel.Unary{Op: kernel.Clamp, Alpha: c.Lo, Beta: c.Hi, Len: n}
}

// compileConvBackwardData makes the program of the gradient by the input.
func (d *Device) compileConvBackwardData(c kernel.ConvBackwardData) (*program, error) {
	return d.backward(c.Geometry, d.lib.convBackwardData, func(problem *convolution, stored *memoryDesc, pd uintptr) (*program, error) {
		p := d.newProgram(c)
		b := binder{p: p}
		w := b.input(stored, d.lib.queryDesc(pd, queryWeightsDesc), 1)
		b.add(pd, use{argDiffDst, b.argument(problem.y, 0)}, use{argWeights, w}, use{argDiffSrc, b.argument(problem.x, 2)})
		return p, b.err
	})
}

// compileConvBackwardFilter makes the program of the gradient by the filter.
func (d *Device) compileConvBackwardFilter(c kernel.ConvBackwardFilter) (*program, error) {
	return d.backward(c.Geometry, d.lib.convBackwardFilter, func(problem *convolution, stored *memoryDesc, pd uintptr) (*program, error) {
		p := d.newProgram(c)
		b := binder{p: p}
		made := d.lib.queryDesc(pd, queryDiffWeightsDesc)
		x, dy, dw := b.argument(problem.x, 0), b.argument(problem.y, 1), 0
		same := d.lib.equal(stored, made)
		if same {
			dw = b.argument(stored, 2)
		} else {
			dw = b.temporary(made)
		}
		b.add(pd, use{argSrc, x}, use{argDiffDst, dy}, use{argDiffWeights, dw})
		if !same {
			b.reorder(made, stored, dw, b.argument(stored, 2))
		}
		return p, b.err
	})
}

// backward makes the primitive descriptor of a gradient, for which the library
// wants to see that of the forward pass, and hands it to build.
func (d *Device) backward(g kernel.Geometry,
	create func(p *convolution, attr, hint uintptr) (uintptr, error),
	build func(p *convolution, stored *memoryDesc, pd uintptr) (*program, error),
) (*program, error) {
	l := d.lib
	problem, stored, err := l.problem(g)
	if err != nil {
		return nil, err
	}
	attr, err := l.attributes()
	if err != nil {
		return nil, err
	}
	defer dl.Call(l.fn.attrDestroy, attr)
	hint, err := l.convForward(problem, attr, true)
	if err != nil {
		return nil, err
	}
	defer dl.Call(l.fn.pdDestroy, hint)
	pd, err := create(problem, attr, hint)
	if err != nil {
		return nil, err
	}
	defer dl.Call(l.fn.pdDestroy, pd)
	if err := l.worthwhile(pd, g); err != nil {
		return nil, err
	}
	return build(problem, stored, pd)
}

// worthwhile returns a *SlowError for code that the native kernels beat: the
// library's reference, and general code for a depthwise convolution (dilated
// gradients, mostly), which computes whole blocks of channels for each one
// and measures 7 to 9 GFLOP/s where code made for it reaches ten times that.
func (l *library) worthwhile(pd uintptr, g kernel.Geometry) error {
	name := l.implementation(pd)
	if isReference(name) || g.Depthwise() && !strings.Contains(name, "dw") {
		return &SlowError{Implementation: name}
	}
	return nil
}

// isReference reports whether an implementation has no vector instructions.
func isReference(name string) bool {
	return strings.Contains(name, "ref") || strings.Contains(name, "simple")
}

// SlowError says that oneDNN has only slow code for a description.
type SlowError struct{ Implementation string }

// Error names the implementation.
func (e *SlowError) Error() string {
	return fmt.Sprintf("onednn: %s is slower than the native kernels", e.Implementation)
}

// Is makes the error match kernel.ErrUnsupported.
func (e *SlowError) Is(target error) bool { return target == kernel.ErrUnsupported }
