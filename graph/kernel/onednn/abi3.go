package onednn

import (
	"runtime"
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// abi3 speaks to oneDNN 3.x: memory descriptors are objects, and a primitive
// descriptor is made by one function for each operation.
type abi3 struct {
	l *library

	descStrided, descTagged, descDestroy uintptr
	convForwardPD, convDataPD            uintptr
	convFilterPD, matMulPD               uintptr
	attrDeterministic                    uintptr // since 3.3; 0 before
}

func newABI3(l *library, handle uintptr) (abi, error) {
	a := &abi3{l: l}
	err := resolve(handle, []symbol{
		{&a.descStrided, "dnnl_memory_desc_create_with_strides"},
		{&a.descTagged, "dnnl_memory_desc_create_with_tag"},
		{&a.descDestroy, "dnnl_memory_desc_destroy"},
		{&a.convForwardPD, "dnnl_convolution_forward_primitive_desc_create"},
		{&a.convDataPD, "dnnl_convolution_backward_data_primitive_desc_create"},
		{&a.convFilterPD, "dnnl_convolution_backward_weights_primitive_desc_create"},
		{&a.matMulPD, "dnnl_matmul_primitive_desc_create"},
	})
	if err != nil {
		return nil, err
	}
	a.attrDeterministic = dl.Symbol(handle, "dnnl_primitive_attr_set_deterministic")
	return a, nil
}

// own makes a descriptor that is destroyed when Go has no more use for it.
func (a *abi3) own(handle uintptr) *memoryDesc {
	d := &memoryDesc{handle: handle}
	destroy := a.descDestroy
	runtime.AddCleanup(d, func(h uintptr) { dl.Call(destroy, h) }, handle)
	return d
}

func (a *abi3) strided(dims, strides []int64) (*memoryDesc, error) {
	var h uintptr
	r := dl.Call(a.descStrided, uintptr(unsafe.Pointer(&h)), uintptr(len(dims)), uintptr(unsafe.Pointer(&dims[0])), typeFloat32, uintptr(unsafe.Pointer(&strides[0])))
	if err := check("dnnl_memory_desc_create_with_strides", r); err != nil {
		return nil, err
	}
	return a.own(h), nil
}

func (a *abi3) anyFormat(dims []int64) (*memoryDesc, error) {
	var h uintptr
	r := dl.Call(a.descTagged, uintptr(unsafe.Pointer(&h)), uintptr(len(dims)), uintptr(unsafe.Pointer(&dims[0])), typeFloat32, formatAny)
	if err := check("dnnl_memory_desc_create_with_tag", r); err != nil {
		return nil, err
	}
	return a.own(h), nil
}

func (a *abi3) deterministic(attr uintptr) error {
	if a.attrDeterministic == 0 {
		return nil
	}
	return check("dnnl_primitive_attr_set_deterministic", dl.Call(a.attrDeterministic, attr, 1))
}

func (a *abi3) convForward(p *convolution, attr uintptr, training bool) (uintptr, error) {
	kind := uintptr(forwardInference)
	if training {
		kind = forwardTraining
	}
	var pd uintptr
	r := dl.Call(a.convForwardPD, uintptr(unsafe.Pointer(&pd)), a.l.engine, kind, algDirect, p.x.at(), p.w.at(), p.bias.at(), p.y.at(),
		uintptr(unsafe.Pointer(&p.strides)), uintptr(unsafe.Pointer(&p.dilates)), uintptr(unsafe.Pointer(&p.padBegin)), uintptr(unsafe.Pointer(&p.padEnd)), attr)
	runtime.KeepAlive(p)
	return pd, check("dnnl_convolution_forward_primitive_desc_create", r)
}

func (a *abi3) convBackwardData(p *convolution, attr, hint uintptr) (uintptr, error) {
	var pd uintptr
	r := dl.Call(a.convDataPD, uintptr(unsafe.Pointer(&pd)), a.l.engine, algDirect, p.x.at(), p.w.at(), p.y.at(),
		uintptr(unsafe.Pointer(&p.strides)), uintptr(unsafe.Pointer(&p.dilates)), uintptr(unsafe.Pointer(&p.padBegin)), uintptr(unsafe.Pointer(&p.padEnd)), hint, attr)
	runtime.KeepAlive(p)
	return pd, check("dnnl_convolution_backward_data_primitive_desc_create", r)
}

func (a *abi3) convBackwardFilter(p *convolution, attr, hint uintptr) (uintptr, error) {
	var pd uintptr
	r := dl.Call(a.convFilterPD, uintptr(unsafe.Pointer(&pd)), a.l.engine, algDirect, p.x.at(), p.w.at(), 0, p.y.at(),
		uintptr(unsafe.Pointer(&p.strides)), uintptr(unsafe.Pointer(&p.dilates)), uintptr(unsafe.Pointer(&p.padBegin)), uintptr(unsafe.Pointer(&p.padEnd)), hint, attr)
	runtime.KeepAlive(p)
	return pd, check("dnnl_convolution_backward_weights_primitive_desc_create", r)
}

func (a *abi3) matMul(x, w, y *memoryDesc, attr uintptr) (uintptr, error) {
	var pd uintptr
	r := dl.Call(a.matMulPD, uintptr(unsafe.Pointer(&pd)), a.l.engine, x.at(), w.at(), 0, y.at(), attr)
	runtime.KeepAlive([]*memoryDesc{x, w, y})
	return pd, check("dnnl_matmul_primitive_desc_create", r)
}
