package host

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of the large pages of today's processors.
const hugePage = 2 << 20

// advise asks for large pages for the whole ones that lie in the memory, which
// saves most of the address translations of kernels that walk many rows. It is
// advice: where the system does not take it, nothing changes.
func advise(raw []byte) {
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % hugePage
	if uintptr(len(raw)) < skip+hugePage {
		return
	}
	inner := raw[skip:]
	_ = unix.Madvise(inner[:len(inner)/hugePage*hugePage], unix.MADV_HUGEPAGE)
}
