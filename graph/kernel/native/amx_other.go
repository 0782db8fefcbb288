//go:build amd64 && !linux

package native

// allowTiles reports whether AMX can be used: how to ask is known for Linux.
func allowTiles() bool { return false }
