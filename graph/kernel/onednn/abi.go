package onednn

import (
	"runtime"
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// abi is what the two generations of the library do differently. Every
// primitive descriptor that a method returns is destroyed by the caller.
type abi interface {
	// strided describes dense or strided float32 memory, strides in elements.
	strided(dims, strides []int64) (*memoryDesc, error)
	// anyFormat leaves the layout to the primitive.
	anyFormat(dims []int64) (*memoryDesc, error)
	// deterministic asks for the same bits at every run, where that is an
	// option of the library.
	deterministic(attr uintptr) error

	convForward(p *convolution, attr uintptr, training bool) (uintptr, error)
	convBackwardData(p *convolution, attr, hint uintptr) (uintptr, error)
	convBackwardFilter(p *convolution, attr, hint uintptr) (uintptr, error)
	matMul(a, b, y *memoryDesc, attr uintptr) (uintptr, error)
}

// memoryDesc is a dnnl_memory_desc_t: in generation 2 a struct, which lives
// in store, in generation 3 an object of the library's.
type memoryDesc struct {
	handle uintptr
	store  *[memoryDescWords]uint64
}

// memoryDescWords is the size of generation 2's dnnl_memory_desc_t, 696 bytes,
// in 8-byte words.
const memoryDescWords = 87

// at returns the address to pass to the library, 0 for no descriptor. It is
// valid as long as d is reachable: what store points to is on the heap, where
// Go moves nothing.
func (d *memoryDesc) at() uintptr {
	if d == nil {
		return 0
	}
	return d.handle
}

// convolution is the problem of a convolution primitive.
type convolution struct {
	x, w, bias, y    *memoryDesc // bias nil: none
	strides, dilates [2]int64    // dilates is 0 for a dense filter
	padBegin, padEnd [2]int64
}

// attributes creates primitive attributes: scratch memory is given by the
// caller, and runs repeat bit for bit.
func (l *library) attributes() (uintptr, error) {
	var attr uintptr
	if err := check("dnnl_primitive_attr_create", dl.Call(l.fn.attrCreate, uintptr(unsafe.Pointer(&attr)))); err != nil {
		return 0, err
	}
	err := check("dnnl_primitive_attr_set_scratchpad_mode", dl.Call(l.fn.attrScratchpad, attr, scratchpadUser))
	if err == nil {
		err = l.deterministic(attr)
	}
	if err != nil {
		dl.Call(l.fn.attrDestroy, attr)
		return 0, err
	}
	return attr, nil
}

// implementation returns the name of the code behind a primitive descriptor,
// such as "brgconv:avx512_core".
func (l *library) implementation(pd uintptr) string {
	var p uintptr
	if dl.Call(l.fn.pdQuery, pd, queryImplementation, 0, uintptr(unsafe.Pointer(&p))) != 0 {
		return ""
	}
	return dl.GoString(p)
}

// queryDesc returns a memory descriptor of a primitive descriptor; it belongs
// to the primitive descriptor. A descriptor that does not exist is empty.
func (l *library) queryDesc(pd uintptr, what uintptr) *memoryDesc {
	return &memoryDesc{handle: dl.Call(l.fn.pdQueryDesc, pd, what, 0)}
}

// bytes returns how much memory a descriptor spans.
func (l *library) bytes(d *memoryDesc) int {
	if d.at() == 0 {
		return 0
	}
	n := dl.Call(l.fn.descSize, d.at())
	runtime.KeepAlive(d)
	return int(n)
}

// equal reports whether two descriptors are the same layout.
func (l *library) equal(a, b *memoryDesc) bool {
	r := int32(dl.Call(l.fn.descEqual, a.at(), b.at()))
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	return r != 0
}
