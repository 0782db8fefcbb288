package ort

import (
	"fmt"
	"runtime"
	"sort"
	"strings"
	"unsafe"
)

// Run computes the named outputs (all of them where none is named) and returns
// them in memory of their own. Inputs are read in place, not copied.
func (s *Session) Run(inputs map[string]Tensor, outputs ...string) (map[string]Tensor, error) {
	if len(outputs) == 0 {
		outputs = make([]string, len(s.outputs))
		for i, v := range s.outputs {
			outputs[i] = v.Name
		}
	}
	result := make(map[string]Tensor, len(outputs))
	err := s.call(inputs, outputs, nil, func(name string, value unsafe.Pointer) error {
		t, err := s.rt.read(value)
		result[name] = t
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// RunInto computes the outputs that the map names and writes them into the
// slices it holds, which must have the outputs' types and shapes.
func (s *Session) RunInto(inputs, outputs map[string]Tensor) error {
	names := make([]string, 0, len(outputs))
	for name := range outputs {
		names = append(names, name)
	}
	sort.Strings(names)
	return s.call(inputs, names, outputs, nil)
}

// call runs the model. Outputs found in into are written there, the others are
// allocated by the library and shown to collect before they are freed.
func (s *Session) call(inputs map[string]Tensor, outputs []string, into map[string]Tensor, collect func(name string, value unsafe.Pointer) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ptr == nil {
		return ErrClosed
	}
	if err := s.checkInputs(inputs); err != nil {
		return err
	}
	if len(outputs) == 0 {
		return fmt.Errorf("onnx runtime: %s: no output asked for", s.model)
	}

	// The library keeps the addresses it is given until the run is over: pin
	// what they point to.
	var pins runtime.Pinner
	defer pins.Unpin()
	inNames, outNames := make([]*byte, 0, len(inputs)+1), make([]*byte, len(outputs))
	inValues, outValues := make([]unsafe.Pointer, 0, len(inputs)+1), make([]unsafe.Pointer, len(outputs))
	defer func() {
		for _, v := range append(inValues, outValues...) {
			s.rt.release(slotReleaseValue, v)
		}
	}()
	for _, in := range s.inputs {
		v, err := s.rt.wrap(&pins, inputs[in.Name])
		if err != nil {
			return s.named(fmt.Errorf("input %q: %w", in.Name, err))
		}
		name := s.inNames[in.Name]
		pins.Pin(name)
		inNames, inValues = append(inNames, name), append(inValues, v)
	}
	for i, out := range outputs {
		name, ok := s.outNames[out]
		if !ok {
			return fmt.Errorf("onnx runtime: %s: there is no output %q; outputs: %s", s.model, out, listNames(s.outputs))
		}
		pins.Pin(name)
		outNames[i] = name
		if t, ok := into[out]; ok {
			if err := t.valid(); err != nil {
				return fmt.Errorf("onnx runtime: %s: output %q: %w", s.model, out, err)
			}
			v, err := s.rt.wrap(&pins, t)
			if err != nil {
				return s.named(fmt.Errorf("output %q: %w", out, err))
			}
			outValues[i] = v
		}
	}
	// A model may have no input at all: the arrays' addresses stay valid.
	n := len(inNames)
	inNames, inValues = append(inNames, nil), append(inValues, nil)
	pins.Pin(&inNames[0])
	pins.Pin(&inValues[0])
	pins.Pin(&outNames[0])
	pins.Pin(&outValues[0])
	err := check(s.rt, "run", slotRun, uintptr(s.ptr), 0,
		uintptr(unsafe.Pointer(&inNames[0])), uintptr(unsafe.Pointer(&inValues[0])), uintptr(n),
		uintptr(unsafe.Pointer(&outNames[0])), uintptr(len(outputs)), uintptr(unsafe.Pointer(&outValues[0])))
	if err != nil {
		return s.named(err)
	}
	if collect != nil {
		for i, name := range outputs {
			if err := collect(name, outValues[i]); err != nil {
				return s.named(fmt.Errorf("output %q: %w", name, err))
			}
		}
	}
	return nil
}

// checkInputs finds an input that is unknown, missing, or not what the model
// takes, before the library does.
func (s *Session) checkInputs(inputs map[string]Tensor) error {
	for _, in := range s.inputs {
		t, ok := inputs[in.Name]
		if !ok {
			return fmt.Errorf("onnx runtime: %s: input %q is missing; inputs: %s", s.model, in.Name, listNames(s.inputs))
		}
		if err := t.valid(); err != nil {
			return fmt.Errorf("onnx runtime: %s: input %q: %w", s.model, in.Name, err)
		}
		if got := t.DType(); got != in.Type {
			return fmt.Errorf("onnx runtime: %s: input %q takes %s, not %s", s.model, in.Name, in.Type, got)
		}
	}
	if len(s.inputs) == len(inputs) {
		return nil
	}
	for name := range inputs {
		if _, ok := s.inNames[name]; !ok {
			return fmt.Errorf("onnx runtime: %s: there is no input %q; inputs: %s", s.model, name, listNames(s.inputs))
		}
	}
	return nil
}

func listNames(values []Value) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = v.Name
	}
	return strings.Join(names, ", ")
}

// wrap makes an OrtValue over a tensor's own memory.
func (rt *Runtime) wrap(pins *runtime.Pinner, t Tensor) (unsafe.Pointer, error) {
	data, n, dtype := t.view()
	if n == 0 {
		data = unsafe.Pointer(new(uint64)) // an empty tensor still needs an address
	}
	pins.Pin(data)
	dims := make([]int64, len(t.Shape)+1)
	for i, d := range t.Shape {
		dims[i] = int64(d)
	}
	var value unsafe.Pointer
	err := check(rt, "wrap tensor", slotCreateTensorWithDataAsValue, uintptr(rt.cpu), uintptr(data), uintptr(n*dtype.size()),
		uintptr(unsafe.Pointer(&dims[0])), uintptr(len(t.Shape)), uintptr(dtype), uintptr(unsafe.Pointer(&value)))
	return value, err
}

// read copies an OrtValue into a tensor.
func (rt *Runtime) read(value unsafe.Pointer) (Tensor, error) {
	var kind int32
	if err := check(rt, "get kind of value", slotGetValueType, uintptr(value), uintptr(unsafe.Pointer(&kind))); err != nil {
		return Tensor{}, err
	}
	if kind != onnxTypeTensor {
		return Tensor{}, fmt.Errorf("is a sequence, map or optional; only tensors can be read")
	}
	var info, data unsafe.Pointer
	if err := check(rt, "get type of value", slotGetTensorTypeAndShape, uintptr(value), uintptr(unsafe.Pointer(&info))); err != nil {
		return Tensor{}, err
	}
	defer rt.release(slotReleaseTensorTypeAndShapeInfo, info)
	dtype, shape, _, err := rt.describe(info)
	if err != nil {
		return Tensor{}, err
	}
	n, err := elements(shape)
	if err != nil {
		return Tensor{}, err
	}
	if err := check(rt, "get data of value", slotGetTensorMutableData, uintptr(value), uintptr(unsafe.Pointer(&data))); err != nil {
		return Tensor{}, err
	}
	slice, err := copyOf(dtype, data, n)
	return Tensor{Shape: shape, Data: slice}, err
}
