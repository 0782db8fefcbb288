package graph

import "golang.org/x/sys/unix"

// machineMemory returns the bytes of memory of this machine, 0 if unknown.
func machineMemory() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int(uint64(info.Totalram) * uint64(info.Unit))
}
