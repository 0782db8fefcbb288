package host

import (
	"runtime"
	"sync/atomic"
)

// leastMapped is the size in bytes from which memory is mapped from the system
// instead of taken from Go's heap. The collector lets its heap grow by as much
// as it holds before it looks for garbage, so the weights and activations of a
// network there would have it keep as much garbage again. Mapped memory goes
// back to the system at once, and takes huge pages where the system has them.
const leastMapped = 1 << 20

// mapping is memory that came from the system. It is unmapped when it is freed
// or when the collector finds that nothing refers to it.
type mapping struct {
	data  []byte
	freed *atomic.Bool
}

// newMapping returns nil where the system maps nothing.
func newMapping(bytes int) *mapping {
	data := mapMemory(bytes)
	if data == nil {
		return nil
	}
	m := &mapping{data: data, freed: &atomic.Bool{}}
	freed := m.freed
	runtime.AddCleanup(m, func(data []byte) { unmapOnce(data, freed) }, data)
	return m
}

func (m *mapping) free() { unmapOnce(m.data, m.freed) }

func unmapOnce(data []byte, freed *atomic.Bool) {
	if !freed.Swap(true) {
		unmapMemory(data)
	}
}
