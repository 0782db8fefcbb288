//go:build !linux

package graph

// machineMemory returns 0: the memory of this machine is not known.
func machineMemory() int { return 0 }
