//go:build linux || darwin || freebsd || netbsd || openbsd

package host

import "golang.org/x/sys/unix"

// mapMemory returns zeroed memory of the system's own, nil if it has none.
func mapMemory(bytes int) []byte {
	data, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	advise(data)
	return data
}

// unmapMemory gives back what mapMemory returned, which the system cannot
// refuse.
func unmapMemory(data []byte) { _ = unix.Munmap(data) }
