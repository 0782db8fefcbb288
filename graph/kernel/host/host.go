// Package host keeps kernel buffers in the memory of this process, for the
// devices that compute there.
package host

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Align is the alignment, in bytes, of the memory that Alloc returns: a cache
// line, and the widest vector of the processors of today.
const Align = 64

// Memory is a stretch of this process's memory. The garbage collector frees it
// when neither it nor a slice of it (Slice) is reachable. The Go slices that
// Bytes, Float32 and the like return do not keep what Map returned: who uses
// one keeps the Memory as well.
type Memory struct {
	data []byte
	from *mapping // nil for memory of Go's heap
}

var _ kernel.Buffer = (*Memory)(nil)

// Alloc returns zeroed memory of Go's heap whose first byte is aligned to Align.
// Negative sizes panic, as in make.
func Alloc(bytes int) *Memory {
	if bytes == 0 {
		return &Memory{}
	}
	raw := make([]byte, bytes+Align)
	advise(raw)
	skip := 0
	if r := int(uintptr(unsafe.Pointer(&raw[0])) % Align); r != 0 {
		skip = Align - r
	}
	return &Memory{data: raw[skip : skip+bytes : skip+bytes]}
}

// Map returns zeroed memory for a device: where it is large it comes from the
// system and not from Go's heap.
func Map(bytes int) *Memory {
	if bytes >= leastMapped {
		if m := newMapping(bytes); m != nil {
			return &Memory{m.data[:bytes:bytes], m}
		}
	}
	return Alloc(bytes)
}

// Free gives the memory of a buffer that Map returned back at once. Neither it
// nor a slice of it may be used any more.
func Free(b kernel.Buffer) {
	if m := b.(*Memory); m.from != nil {
		m.from.free()
		m.data = nil
	}
}

// Size implements kernel.Buffer.
func (m *Memory) Size() int { return len(m.data) }

// Slice implements kernel.Buffer.
func (m *Memory) Slice(offset, size int) kernel.Buffer {
	return &Memory{m.data[offset : offset+size : offset+size], m.from}
}

// Bytes returns the memory itself.
func (m *Memory) Bytes() []byte { return m.data }

// Pointer returns the address of the first byte, nil for empty memory.
func (m *Memory) Pointer() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m.data)) }

// Float32 returns the memory as float32 elements.
func (m *Memory) Float32() []float32 { return view[float32](m.data) }

// Of returns the memory behind a buffer, or an error for a buffer of another
// kind of device.
func Of(b kernel.Buffer) (*Memory, error) {
	m, ok := b.(*Memory)
	if !ok || m == nil {
		return nil, fmt.Errorf("host: buffer %T is not in host memory; allocate it with this device", b)
	}
	return m, nil
}

// Float32 returns the elements of a host buffer. Like a type assertion, it
// panics for a buffer of another device; see Of.
func Float32(b kernel.Buffer) []float32 { return view[float32](b.(*Memory).data) }

// Int32 returns the elements of a host buffer.
func Int32(b kernel.Buffer) []int32 { return view[int32](b.(*Memory).data) }

// Uint64 returns the elements of a host buffer.
func Uint64(b kernel.Buffer) []uint64 { return view[uint64](b.(*Memory).data) }

// Uint16 returns the elements of a host buffer of bfloat16 as their bits.
func Uint16(b kernel.Buffer) []uint16 { return view[uint16](b.(*Memory).data) }

// Bytes returns the bytes of a host buffer.
func Bytes(b kernel.Buffer) []byte { return b.(*Memory).data }

// Upload copies into a host buffer, as kernel.Device.Upload asks.
func Upload(dst kernel.Buffer, src []byte) error {
	m, err := Of(dst)
	if err != nil {
		return err
	}
	if len(m.data) != len(src) {
		return fmt.Errorf("host: upload of %d bytes into a buffer of %d", len(src), len(m.data))
	}
	copy(m.data, src)
	runtime.KeepAlive(m)
	return nil
}

// Download copies from a host buffer, as kernel.Device.Download asks.
func Download(dst []byte, src kernel.Buffer) error {
	m, err := Of(src)
	if err != nil {
		return err
	}
	if len(m.data) != len(dst) {
		return fmt.Errorf("host: download of a buffer of %d bytes into %d", len(m.data), len(dst))
	}
	copy(dst, m.data)
	runtime.KeepAlive(m)
	return nil
}

// view reinterprets bytes; trailing bytes that fill no element are left out.
func view[T any](data []byte) []T {
	var t T
	n := len(data) / int(unsafe.Sizeof(t))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), n)
}
