package onednn

import (
	"runtime"
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// abi2 speaks to oneDNN 2.x: an operation is described in a struct that the
// library fills in (..._desc_init), and a primitive descriptor is made of it.
type abi2 struct {
	l *library

	descStrided, descTagged       uintptr
	pdCreate                      uintptr
	convForwardDesc, convDataDesc uintptr
	convFilterDesc, matMulDesc    uintptr
}

// Sizes of generation 2's operation descriptors, in 8-byte words:
// dnnl_convolution_desc_t has 5,976 bytes, dnnl_matmul_desc_t 2,800.
const (
	convolutionDescWords = 747
	matMulDescWords      = 350
)

func newABI2(l *library, handle uintptr) (abi, error) {
	a := &abi2{l: l}
	err := resolve(handle, []symbol{
		{&a.descStrided, "dnnl_memory_desc_init_by_strides"},
		{&a.descTagged, "dnnl_memory_desc_init_by_tag"},
		{&a.pdCreate, "dnnl_primitive_desc_create"},
		{&a.convForwardDesc, "dnnl_dilated_convolution_forward_desc_init"},
		{&a.convDataDesc, "dnnl_dilated_convolution_backward_data_desc_init"},
		{&a.convFilterDesc, "dnnl_dilated_convolution_backward_weights_desc_init"},
		{&a.matMulDesc, "dnnl_matmul_desc_init"},
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (a *abi2) newDesc() *memoryDesc {
	d := &memoryDesc{store: new([memoryDescWords]uint64)}
	d.handle = uintptr(unsafe.Pointer(d.store))
	return d
}

func (a *abi2) strided(dims, strides []int64) (*memoryDesc, error) {
	d := a.newDesc()
	r := dl.Call(a.descStrided, d.at(), uintptr(len(dims)), uintptr(unsafe.Pointer(&dims[0])), typeFloat32, uintptr(unsafe.Pointer(&strides[0])))
	return d, check("dnnl_memory_desc_init_by_strides", r)
}

func (a *abi2) anyFormat(dims []int64) (*memoryDesc, error) {
	d := a.newDesc()
	r := dl.Call(a.descTagged, d.at(), uintptr(len(dims)), uintptr(unsafe.Pointer(&dims[0])), typeFloat32, formatAny)
	return d, check("dnnl_memory_desc_init_by_tag", r)
}

// deterministic does nothing: in generation 2 the CPU code always is.
func (a *abi2) deterministic(uintptr) error { return nil }

func (a *abi2) convForward(p *convolution, attr uintptr, training bool) (uintptr, error) {
	kind := uintptr(forwardInference)
	if training {
		kind = forwardTraining
	}
	op := new([convolutionDescWords]uint64)
	r := dl.Call(a.convForwardDesc, uintptr(unsafe.Pointer(op)), kind, algDirect, p.x.at(), p.w.at(), p.bias.at(), p.y.at(),
		uintptr(unsafe.Pointer(&p.strides)), uintptr(unsafe.Pointer(&p.dilates)), uintptr(unsafe.Pointer(&p.padBegin)), uintptr(unsafe.Pointer(&p.padEnd)))
	runtime.KeepAlive(p)
	if err := check("dnnl_dilated_convolution_forward_desc_init", r); err != nil {
		return 0, err
	}
	return a.create(unsafe.Pointer(op), attr, 0)
}

func (a *abi2) convBackwardData(p *convolution, attr, hint uintptr) (uintptr, error) {
	op := new([convolutionDescWords]uint64)
	r := dl.Call(a.convDataDesc, uintptr(unsafe.Pointer(op)), algDirect, p.x.at(), p.w.at(), p.y.at(),
		uintptr(unsafe.Pointer(&p.strides)), uintptr(unsafe.Pointer(&p.dilates)), uintptr(unsafe.Pointer(&p.padBegin)), uintptr(unsafe.Pointer(&p.padEnd)))
	runtime.KeepAlive(p)
	if err := check("dnnl_dilated_convolution_backward_data_desc_init", r); err != nil {
		return 0, err
	}
	return a.create(unsafe.Pointer(op), attr, hint)
}

func (a *abi2) convBackwardFilter(p *convolution, attr, hint uintptr) (uintptr, error) {
	op := new([convolutionDescWords]uint64)
	r := dl.Call(a.convFilterDesc, uintptr(unsafe.Pointer(op)), algDirect, p.x.at(), p.w.at(), 0, p.y.at(),
		uintptr(unsafe.Pointer(&p.strides)), uintptr(unsafe.Pointer(&p.dilates)), uintptr(unsafe.Pointer(&p.padBegin)), uintptr(unsafe.Pointer(&p.padEnd)))
	runtime.KeepAlive(p)
	if err := check("dnnl_dilated_convolution_backward_weights_desc_init", r); err != nil {
		return 0, err
	}
	return a.create(unsafe.Pointer(op), attr, hint)
}

func (a *abi2) matMul(x, w, y *memoryDesc, attr uintptr) (uintptr, error) {
	op := new([matMulDescWords]uint64)
	r := dl.Call(a.matMulDesc, uintptr(unsafe.Pointer(op)), x.at(), w.at(), 0, y.at())
	runtime.KeepAlive([]*memoryDesc{x, w, y})
	if err := check("dnnl_matmul_desc_init", r); err != nil {
		return 0, err
	}
	return a.create(unsafe.Pointer(op), attr, 0)
}

// create makes the primitive descriptor of an operation descriptor.
func (a *abi2) create(op unsafe.Pointer, attr, hint uintptr) (uintptr, error) {
	var pd uintptr
	r := dl.Call(a.pdCreate, uintptr(unsafe.Pointer(&pd)), uintptr(op), attr, a.l.engine, hint)
	return pd, check("dnnl_primitive_desc_create", r)
}
