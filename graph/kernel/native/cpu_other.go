//go:build !amd64

package native

func widest(string) *isa { return portable }
