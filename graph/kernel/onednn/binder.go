package onednn

import "github.com/graft-onnx/graft/graph/kernel"

// binder adds operands and steps to a program and keeps the first error.
type binder struct {
	p   *program
	err error
}

func (b *binder) keep(operand int, err error) int {
	if b.err == nil {
		b.err = err
	}
	return operand
}

// argument binds the i-th argument of Run.
func (b *binder) argument(desc *memoryDesc, i int) int {
	if b.err != nil {
		return 0
	}
	return b.keep(b.p.argument(desc, i))
}

// temporary binds scratch memory.
func (b *binder) temporary(desc *memoryDesc) int {
	if b.err != nil {
		return 0
	}
	return b.keep(b.p.temporary(desc))
}

// input binds the i-th argument of Run in the layout wanted, copied into
// scratch memory if it is stored in another one.
func (b *binder) input(stored, wanted *memoryDesc, i int) int {
	if b.err != nil {
		return 0
	}
	if b.p.dev.lib.equal(stored, wanted) {
		return b.argument(stored, i)
	}
	src, dst := b.argument(stored, i), b.temporary(wanted)
	b.reorder(stored, wanted, src, dst)
	return dst
}

// reorder appends a copy between layouts.
func (b *binder) reorder(from, to *memoryDesc, src, dst int) {
	if b.err == nil {
		b.err = b.p.reorder(from, to, src, dst)
	}
}

// add appends a primitive.
func (b *binder) add(pd uintptr, uses ...use) {
	if b.err == nil {
		b.err = b.p.add(pd, uses...)
	}
}

// native appends a native kernel on the given arguments of Run. It must want
// no scratch memory.
func (b *binder) native(desc kernel.Desc, args ...int) {
	if b.err == nil {
		b.err = b.p.native(desc, args)
	}
}
