//go:build !((linux || darwin || windows) && (amd64 || arm64)) || static

package onednn

func setProcessEnv(string, string) {}
func osThread() uintptr            { return 0 }
