// Package kernel is the border between a Plan and the hardware that runs it.
//
// A Plan never computes. It describes each computation with a Desc (a plain
// struct with every shape fixed), asks the Device to compile it once, and then
// calls the returned Kernel in every step with the buffers of that step:
//
//	k, err := dev.Compile(kernel.Conv{Geometry: g, Bias: true})
//	...
//	err = dev.Do(func() error { return k.Run([]kernel.Buffer{x, w, bias, y}) })
//
// Memory is reached through handles only, so a device may keep it anywhere;
// copies to and from the host are explicit (Upload, Download).
//
// # Layout
//
// Every tensor of rank 4 is stored channels-last: a tensor of logical shape
// (N,C,H,W) lies in memory as (N,H,W,C), a convolution filter (O,I,KH,KW) as
// (O,KH,KW,I). Every other rank is row-major. There is no second layout, so a
// kernel needs no format negotiation; Strides gives the physical strides of a
// logical shape. Shapes in descriptions are always logical.
//
// # Precision
//
// Descriptions are in float32; Mixed stores arguments of any of them as
// BFloat16.
//
// # Determinism
//
// For one device and one thread count a kernel gives the same bits for the
// same arguments: work is split by a fixed rule, never by who is free first.
package kernel

import (
	"errors"
	"unsafe"
)

// ErrUnsupported is wrapped by Device.Compile for a description that the
// device has no kernel for.
var ErrUnsupported = errors.New("kernel: not supported by this device")

// DType is the element type of a buffer.
type DType uint8

// The element types that kernels work on.
const (
	Float32 DType = iota
	BFloat16
	Int32
	Uint64
)

// Size returns the bytes of one element.
func (t DType) Size() int {
	switch t {
	case BFloat16:
		return 2
	case Uint64:
		return 8
	default:
		return 4
	}
}

// String returns the name of the type as Go writes it.
func (t DType) String() string {
	switch t {
	case Float32:
		return "float32"
	case BFloat16:
		return "bfloat16"
	case Int32:
		return "int32"
	case Uint64:
		return "uint64"
	}
	return "unknown"
}

// Buffer is a handle to a stretch of a device's memory.
type Buffer interface {
	// Size returns the length in bytes.
	Size() int
	// Slice returns the handle of size bytes from offset on; both are
	// multiples of the element size. It panics out of range, like Go's own
	// slices: a Plan's offsets are checked when it is compiled.
	Slice(offset, size int) Buffer
}

// Kernel is a compiled computation. It is used by one goroutine at a time.
type Kernel interface {
	// Scratch returns how many bytes of scratch memory Run wants as an
	// additional last argument; zero for none. Its contents do not outlive
	// the call.
	Scratch() int
	// Run computes. The arguments are those that Desc.Args lists, in that
	// order, and the scratch buffer if the kernel wants one.
	Run(args []Buffer) error
}

// Device compiles and runs kernels and owns the memory they work on.
type Device interface {
	// Name returns the name that --device takes: "native", "onednn".
	Name() string
	// String describes the device for a person: library version, instruction
	// set, threads.
	String() string
	// Alloc returns zeroed memory aligned to 64 bytes. It is freed by the
	// garbage collector, by Free or by Close.
	Alloc(bytes int) (Buffer, error)
	// Free gives memory that Alloc returned back before the collector would.
	// Neither it nor a slice of it may be used any more.
	Free(b Buffer)
	// Upload copies from the host. The lengths must be equal.
	Upload(dst Buffer, src []byte) error
	// Download copies to the host. The lengths must be equal.
	Download(dst []byte, src Buffer) error
	// Compile builds the kernel of a description, or an error that wraps
	// ErrUnsupported.
	Compile(d Desc) (Kernel, error)
	// Do calls f where this device's kernels must run (some libraries tie
	// their worker threads to one OS thread) and returns when it is done.
	Do(f func() error) error
	// Close releases what the garbage collector does not reach.
	Close() error
}

// Dir says whether a kernel reads or writes an argument.
type Dir uint8

// The directions of an argument.
const (
	In Dir = iota
	Out
	InOut
)

// Arg is one argument of a kernel.
type Arg struct {
	Name  string
	Shape []int // logical
	DType DType
	Dir   Dir
}

// Size returns the bytes of the argument.
func (a Arg) Size() int { return Len(a.Shape) * a.DType.Size() }

// Desc describes one computation with all shapes fixed.
type Desc interface {
	// Args lists the arguments of Kernel.Run, in order.
	Args() []Arg
}

// Coster is implemented by descriptions whose floating-point work is worth
// counting (a multiplication and an addition are two).
type Coster interface {
	FLOPs() float64
}

// Bytes views numbers as bytes in the machine's order, as Device.Upload and
// Device.Download take them.
func Bytes[T float32 | int32 | uint64](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}

// Len returns the number of elements of a shape: 1 for a scalar.
func Len(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Strides returns the physical strides, in elements, of a logical shape:
// channels-last for rank 4, row-major otherwise.
func Strides(shape []int) []int {
	s := make([]int, len(shape))
	if len(shape) == 4 {
		c, h, w := shape[1], shape[2], shape[3]
		s[0], s[1], s[2], s[3] = h*w*c, 1, w*c, c
		return s
	}
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// Walk calls f for every element of a logical shape, in row-major order, with
// its row-major index and its physical index.
func Walk(shape []int, f func(logical, physical int)) {
	n := Len(shape)
	if len(shape) != 4 {
		for i := range n {
			f(i, i)
		}
		return
	}
	c, h, w := shape[1], shape[2], shape[3]
	i := 0
	for b := range shape[0] {
		for k := range c {
			for p := range h * w {
				f(i, (b*h*w+p)*c+k)
				i++
			}
		}
	}
}
