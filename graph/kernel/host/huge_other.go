//go:build !linux

package host

func advise([]byte) {}
