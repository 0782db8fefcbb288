//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package host

// mapMemory returns nil: memory comes from Go's heap here.
func mapMemory(int) []byte { return nil }

func unmapMemory([]byte) {}
