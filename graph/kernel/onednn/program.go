package onednn

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
	"github.com/graft-onnx/graft/internal/dl"
)

// program is a compiled description: primitives that run one after another on
// the arguments of Run and on scratch memory.
type program struct {
	dev      *Device
	name     string       // of the description, for errors
	args     []kernel.Arg // without the scratch memory
	scratch  int          // bytes, without what aligning takes
	operands []operand
	steps    []step
	after    []after  // native steps
	impl     []string // what code each step runs
	held     *held
}

var _ kernel.Kernel = (*program)(nil)

// operand is a memory object: an argument of Run, or a part of the scratch
// memory.
type operand struct {
	memory  uintptr // dnnl_memory_t
	arg     int     // index in Run's arguments
	offset  int     // bytes
	address uintptr // where memory points at present
}

// step is a primitive and its arguments.
type step struct {
	primitive uintptr
	args      []execArg
	call      []uintptr // the arguments of dnnl_primitive_execute, kept so that Run allocates nothing
}

// after is a native kernel that runs when the primitives are done.
type after struct {
	kernel kernel.Kernel
	args   []int           // indices in Run's arguments
	bufs   []kernel.Buffer // those arguments, during Run
}

// execArg is dnnl_exec_arg_t.
type execArg struct {
	kind   int32 // DNNL_ARG_*
	_      int32
	memory uintptr
}

// use says what an operand is to a primitive.
type use struct {
	kind    int32
	operand int
}

// held is what a program owns outside Go's memory.
type held struct {
	l                    *library
	memories, primitives []uintptr
}

func (h *held) release() {
	for _, m := range h.memories {
		dl.Call(h.l.fn.memoryDestroy, m)
	}
	for _, p := range h.primitives {
		dl.Call(h.l.fn.primitiveDestroy, p)
	}
	h.memories, h.primitives = nil, nil
}

// newProgram starts a program for a description. Its resources are freed when
// the garbage collector finds it unused.
func (d *Device) newProgram(desc kernel.Desc) *program {
	p := &program{dev: d, name: fmt.Sprintf("%T", desc), args: desc.Args(), held: &held{l: d.lib}}
	runtime.AddCleanup(p, func(h *held) { h.release() }, p.held)
	return p
}

// argument makes an operand of the i-th argument of Run.
func (p *program) argument(desc *memoryDesc, i int) (int, error) {
	if n := p.dev.lib.bytes(desc); n > p.args[i].Size() {
		return 0, fmt.Errorf("onednn: %s: %s has %d bytes where oneDNN wants %d", p.name, p.args[i].Name, p.args[i].Size(), n)
	}
	return p.operand(desc, i, 0)
}

// temporary makes an operand in scratch memory.
func (p *program) temporary(desc *memoryDesc) (int, error) {
	offset := p.scratch
	p.scratch += (p.dev.lib.bytes(desc) + host.Align - 1) &^ (host.Align - 1)
	return p.operand(desc, len(p.args), offset)
}

func (p *program) operand(desc *memoryDesc, arg, offset int) (int, error) {
	var m uintptr
	l := p.dev.lib
	r := dl.Call(l.fn.memoryCreate, uintptr(unsafe.Pointer(&m)), desc.at(), l.engine, 0)
	runtime.KeepAlive(desc)
	if err := check("dnnl_memory_create", r); err != nil {
		return 0, err
	}
	p.held.memories = append(p.held.memories, m)
	p.operands = append(p.operands, operand{memory: m, arg: arg, offset: offset})
	return len(p.operands) - 1, nil
}

// add appends the primitive of a primitive descriptor.
func (p *program) add(pd uintptr, uses ...use) error {
	l := p.dev.lib
	if scratchpad := l.queryDesc(pd, queryScratchpadDesc); l.bytes(scratchpad) > 0 {
		o, err := p.temporary(scratchpad)
		if err != nil {
			return err
		}
		uses = append(uses, use{argScratchpad, o})
	}
	var s step
	if err := check("dnnl_primitive_create", dl.Call(l.fn.primitiveCreate, uintptr(unsafe.Pointer(&s.primitive)), pd)); err != nil {
		return err
	}
	p.held.primitives = append(p.held.primitives, s.primitive)
	for _, u := range uses {
		s.args = append(s.args, execArg{kind: u.kind, memory: p.operands[u.operand].memory})
	}
	// The address of s.args is good as long as the step is: Go's heap stays put.
	s.call = []uintptr{s.primitive, p.dev.stream, uintptr(len(s.args)), uintptr(unsafe.Pointer(&s.args[0]))}
	p.steps = append(p.steps, s)
	p.impl = append(p.impl, l.implementation(pd))
	return nil
}

// reorder appends a copy from one layout to another.
func (p *program) reorder(from, to *memoryDesc, src, dst int) error {
	l := p.dev.lib
	attr, err := l.attributes()
	if err != nil {
		return err
	}
	defer dl.Call(l.fn.attrDestroy, attr)
	var pd uintptr
	r := dl.Call(l.fn.reorderPD, uintptr(unsafe.Pointer(&pd)), from.at(), l.engine, to.at(), l.engine, attr)
	runtime.KeepAlive(from)
	runtime.KeepAlive(to)
	if err := check("dnnl_reorder_primitive_desc_create", r); err != nil {
		return err
	}
	defer dl.Call(l.fn.pdDestroy, pd)
	return p.add(pd, use{argSrc, src}, use{argDst, dst})
}

// native appends a native kernel.
func (p *program) native(desc kernel.Desc, args []int) error {
	k, err := p.dev.native.Compile(desc)
	if err != nil {
		return err
	}
	if n := k.Scratch(); n > 0 {
		return fmt.Errorf("onednn: %s: %w: a native step that wants %d bytes of scratch memory", p.name, kernel.ErrUnsupported, n)
	}
	p.after = append(p.after, after{kernel: k, args: args, bufs: make([]kernel.Buffer, len(args))})
	p.impl = append(p.impl, "native")
	return nil
}

// Implementation names the oneDNN code that runs, in order, such as
// "jit:uni + brgconv:avx512_core".
func (p *program) Implementation() string { return strings.Join(p.impl, " + ") }

// Scratch implements kernel.Kernel. It asks for a little more than the
// primitives want, to align it.
func (p *program) Scratch() int {
	if p.scratch == 0 {
		return 0
	}
	return p.scratch + host.Align
}

// Run implements kernel.Kernel.
func (p *program) Run(args []kernel.Buffer) error {
	if p.dev.thread.here() {
		return p.run(args)
	}
	return p.dev.thread.do(func() error { return p.run(args) })
}

func (p *program) run(args []kernel.Buffer) error {
	if err := p.checkArgs(args); err != nil {
		return err
	}
	l := p.dev.lib
	for i := range p.operands {
		o := &p.operands[i]
		address := uintptr(args[o.arg].(*host.Memory).Pointer())
		if o.arg == len(p.args) {
			address = (address + host.Align - 1) &^ (host.Align - 1)
		}
		address += uintptr(o.offset)
		if address == o.address {
			continue
		}
		if err := check("dnnl_memory_set_data_handle", dl.Call(l.fn.memorySetHandle, o.memory, address)); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		o.address = address
	}
	for i := range p.steps {
		s := &p.steps[i]
		r := dl.Call(l.fn.primitiveExecute, s.call...)
		if err := check("dnnl_primitive_execute", r); err != nil {
			return fmt.Errorf("%s (%s): %w", p.name, p.impl[i], err)
		}
	}
	err := check("dnnl_stream_wait", dl.Call(l.fn.streamWait, p.dev.waitCall...))
	runtime.KeepAlive(args)
	runtime.KeepAlive(p)
	for i := 0; i < len(p.after) && err == nil; i++ {
		a := &p.after[i]
		for j, arg := range a.args {
			a.bufs[j] = args[arg]
		}
		err = a.kernel.Run(a.bufs)
		clear(a.bufs)
	}
	return err
}

// checkArgs makes sure that the library cannot write outside the arguments.
func (p *program) checkArgs(args []kernel.Buffer) error {
	want := len(p.args)
	if p.scratch > 0 {
		want++
	}
	if len(args) != want {
		return fmt.Errorf("onednn: %s takes %d buffers, %d given", p.name, want, len(args))
	}
	for i, b := range args {
		size := p.Scratch()
		name := "scratch"
		if i < len(p.args) {
			size, name = p.args[i].Size(), p.args[i].Name
		}
		if _, err := host.Of(b); err != nil {
			return fmt.Errorf("onednn: %s: %s: %w", p.name, name, err)
		}
		if b.Size() < size {
			return fmt.Errorf("onednn: %s: %s has %d bytes, want %d", p.name, name, b.Size(), size)
		}
	}
	return nil
}
