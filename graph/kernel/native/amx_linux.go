//go:build amd64

package native

import (
	"sync"
	"syscall"
)

// allowTiles asks the kernel, once, to let this process use the registers of
// AMX, which it keeps 8 KB for in every thread that does. That the kernel has
// switched them on it knows too: else it refuses.
var allowTiles = sync.OnceValue(func() bool {
	const requestPermission, tileData = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
})
