package ort

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// ErrClosed is returned by a Session after Close.
var ErrClosed = errors.New("onnx runtime: session is closed")

// Options says how a model is run.
type Options struct {
	// Threads is how many threads work within one operator; 0 leaves the
	// choice to ONNX Runtime (one for every physical core).
	Threads int
	// Optimize lets ONNX Runtime rewrite the graph (fusion, folding, layout).
	// Without it every node runs as the file has it.
	Optimize bool
	// Spin lets idle threads wait busily for the next operator: a little
	// faster on a machine that does nothing else, slower on one that does.
	Spin bool
}

// Value describes an input or an output of a model.
type Value struct {
	Name    string
	Type    DType    // 0 where the value is not a tensor
	Shape   []int    // -1 for a dimension that is not fixed
	Symbols []string // the name of each dimension that has one, else ""
}

// Session is a model ready to run. Run may be called from several goroutines
// at once; Close waits for them.
type Session struct {
	rt       *Runtime
	model    string
	mu       sync.RWMutex
	ptr      unsafe.Pointer // OrtSession; nil once closed
	inputs   []Value
	outputs  []Value
	inNames  map[string]*byte // zero-terminated, for every input
	outNames map[string]*byte // and every output
}

// Session loads the model in a file. External data is read from beside it.
func (rt *Runtime) Session(path string, opts Options) (*Session, error) {
	file, err := pathArgument(path)
	if err != nil {
		return nil, fmt.Errorf("onnx runtime: %s: %w", path, err)
	}
	return rt.open(path, opts, func(options unsafe.Pointer, s *Session) error {
		return check(rt, "load model", slotCreateSession, uintptr(rt.env), uintptr(file), uintptr(options), uintptr(unsafe.Pointer(&s.ptr)))
	})
}

// SessionBytes loads a model from the bytes of its file, which are not kept.
// name stands for the file in errors.
func (rt *Runtime) SessionBytes(model []byte, name string, opts Options) (*Session, error) {
	if len(model) == 0 {
		return nil, &Error{Code: NoModel, Message: "the model is empty", Doing: "load model", Model: name}
	}
	return rt.open(name, opts, func(options unsafe.Pointer, s *Session) error {
		return check(rt, "load model", slotCreateSessionFromArray, uintptr(rt.env), uintptr(unsafe.Pointer(&model[0])),
			uintptr(len(model)), uintptr(options), uintptr(unsafe.Pointer(&s.ptr)))
	})
}

func (rt *Runtime) open(name string, opts Options, create func(options unsafe.Pointer, s *Session) error) (*Session, error) {
	s := &Session{rt: rt, model: name, inNames: map[string]*byte{}, outNames: map[string]*byte{}}
	options, err := rt.options(opts)
	if err != nil {
		return nil, s.named(err)
	}
	defer rt.release(slotReleaseSessionOptions, options)
	if err := create(options, s); err != nil {
		return nil, s.named(err)
	}
	if s.inputs, err = s.values(slotSessionGetInputCount, slotSessionGetInputName, slotSessionGetInputTypeInfo, s.inNames); err == nil {
		s.outputs, err = s.values(slotSessionGetOutputCount, slotSessionGetOutputName, slotSessionGetOutputTypeInfo, s.outNames)
	}
	if err != nil {
		s.Close()
		return nil, s.named(err)
	}
	return s, nil
}

func (rt *Runtime) options(opts Options) (unsafe.Pointer, error) {
	var options unsafe.Pointer
	if err := check(rt, "create session options", slotCreateSessionOptions, uintptr(unsafe.Pointer(&options))); err != nil {
		return nil, err
	}
	level := uintptr(optimizeNothing)
	if opts.Optimize {
		level = optimizeAll
	}
	err := check(rt, "set optimization level", slotSetGraphOptimizationLevel, uintptr(options), level)
	if err == nil && opts.Threads < 0 {
		err = &Error{Code: InvalidArgument, Message: fmt.Sprintf("%d threads asked for", opts.Threads), Doing: "set threads"}
	}
	if err == nil {
		err = check(rt, "set threads", slotSetIntraOpNumThreads, uintptr(options), uintptr(opts.Threads))
	}
	if err == nil && !opts.Spin {
		err = check(rt, "stop idle threads from spinning", slotAddSessionConfigEntry, uintptr(options),
			uintptr(unsafe.Pointer(dl.CString("session.intra_op.allow_spinning"))), uintptr(unsafe.Pointer(dl.CString("0"))))
	}
	if err != nil {
		rt.release(slotReleaseSessionOptions, options)
		return nil, err
	}
	return options, nil
}

// named adds the model's name to an *Error.
func (s *Session) named(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Model == "" {
		e.Model = s.model
	}
	return err
}

// values describes every input or every output.
func (s *Session) values(slotCountOf, slotNameOf, slotInfoOf int, names map[string]*byte) ([]Value, error) {
	rt := s.rt
	var n uintptr
	if err := check(rt, "count inputs and outputs", slotCountOf, uintptr(s.ptr), uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	out := make([]Value, n)
	for i := range out {
		var text, info, tensor unsafe.Pointer
		if err := check(rt, "get name of input or output", slotNameOf, uintptr(s.ptr), uintptr(i), uintptr(rt.alloc), uintptr(unsafe.Pointer(&text))); err != nil {
			return nil, err
		}
		v := &out[i]
		v.Name = dl.GoString(uintptr(text))
		names[v.Name] = dl.CString(v.Name)
		if err := check(rt, "free name", slotAllocatorFree, uintptr(rt.alloc), uintptr(text)); err != nil {
			return nil, err
		}
		if err := check(rt, "get type of "+v.Name, slotInfoOf, uintptr(s.ptr), uintptr(i), uintptr(unsafe.Pointer(&info))); err != nil {
			return nil, err
		}
		// tensor stays nil for a sequence or a map.
		err := check(rt, "get type of "+v.Name, slotCastTypeInfoToTensorInfo, uintptr(info), uintptr(unsafe.Pointer(&tensor)))
		if err == nil && tensor != nil {
			v.Type, v.Shape, v.Symbols, err = rt.describe(tensor)
		}
		rt.release(slotReleaseTypeInfo, info)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// describe reads an OrtTensorTypeAndShapeInfo.
func (rt *Runtime) describe(info unsafe.Pointer) (DType, []int, []string, error) {
	var dtype int32
	var rank uintptr
	if err := check(rt, "get element type", slotGetTensorElementType, uintptr(info), uintptr(unsafe.Pointer(&dtype))); err != nil {
		return 0, nil, nil, err
	}
	if err := check(rt, "get rank", slotGetDimensionsCount, uintptr(info), uintptr(unsafe.Pointer(&rank))); err != nil {
		return 0, nil, nil, err
	}
	if rank == 0 {
		return DType(dtype), []int{}, []string{}, nil
	}
	dims, texts := make([]int64, rank), make([]unsafe.Pointer, rank)
	if err := check(rt, "get shape", slotGetDimensions, uintptr(info), uintptr(unsafe.Pointer(&dims[0])), rank); err != nil {
		return 0, nil, nil, err
	}
	if err := check(rt, "get names of dimensions", slotGetSymbolicDimensions, uintptr(info), uintptr(unsafe.Pointer(&texts[0])), rank); err != nil {
		return 0, nil, nil, err
	}
	shape, symbols := make([]int, rank), make([]string, rank)
	for i := range shape {
		shape[i], symbols[i] = int(dims[i]), dl.GoString(uintptr(texts[i]))
	}
	return DType(dtype), shape, symbols, nil
}

// Inputs describes what the model takes, in the file's order.
func (s *Session) Inputs() []Value { return s.inputs }

// Outputs describes what the model gives, in the file's order.
func (s *Session) Outputs() []Value { return s.outputs }

// Close frees the model once no Run is under way. Closing twice is harmless.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rt.release(slotReleaseSession, s.ptr)
	s.ptr = nil
	return nil
}
