package onednn

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/internal/dl"
)

// compileMatMul makes the program of a batch of matrix products.
func (d *Device) compileMatMul(m kernel.MatMul) (*program, error) {
	l := d.lib
	if m.Batch <= 0 || m.M <= 0 || m.N <= 0 || m.K <= 0 {
		return nil, fmt.Errorf("onednn: %w: a product of %+v", kernel.ErrUnsupported, m)
	}
	if m.SharedB && !m.TransA && !m.SharedA {
		// One matrix on the right: the batch is just more rows.
		m.M, m.Batch = m.M*m.Batch, 1
	}
	a, err := l.matrix(m.Batch, m.M, m.K, m.TransA, m.SharedA)
	if err != nil {
		return nil, err
	}
	w, err := l.matrix(m.Batch, m.K, m.N, m.TransB, m.SharedB)
	if err != nil {
		return nil, err
	}
	y, err := l.matrix(m.Batch, m.M, m.N, false, false)
	if err != nil {
		return nil, err
	}
	attr, err := l.attributes()
	if err != nil {
		return nil, err
	}
	defer dl.Call(l.fn.attrDestroy, attr)
	pd, err := l.matMul(a, w, y, attr)
	if err != nil {
		return nil, err
	}
	defer dl.Call(l.fn.pdDestroy, pd)
	if name := l.implementation(pd); isReference(name) {
		return nil, &SlowError{Implementation: name}
	}
	b := binder{p: d.newProgram(m)}
	b.add(pd, use{argSrc, b.argument(a, 0)}, use{argWeights, b.argument(w, 1)}, use{argDst, b.argument(y, 2)})
	return b.p, b.err
}

// matrix describes a batch of matrices (rows, cols), or of their transposes as
// they lie in memory. shared is one matrix for the whole batch. A batch of one
// is described without it, which lets oneDNN choose among more code.
func (l *library) matrix(batch, rows, cols int, transposed, shared bool) (*memoryDesc, error) {
	r, c := int64(rows), int64(cols)
	dims, strides := []int64{r, c}, []int64{c, 1}
	if transposed {
		strides = []int64{1, r}
	}
	if batch > 1 {
		n := int64(batch)
		if shared {
			n = 1
		}
		dims, strides = append([]int64{n}, dims...), append([]int64{r * c}, strides...)
	}
	return l.strided(dims, strides)
}
