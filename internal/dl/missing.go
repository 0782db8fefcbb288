package dl

import (
	"runtime"
	"strings"
)

// Missing reports whether the system's loader just did not find the file at path,
// as opposed to a library that the file depends on. err is Open's.
func Missing(path string, err error) bool {
	s := err.Error()
	if runtime.GOOS == "linux" {
		return strings.HasPrefix(s, path+":") && strings.Contains(s, "No such file")
	}
	return strings.Contains(s, "no such file") && !strings.Contains(s, "Library not loaded") ||
		strings.Contains(s, "could not be found")
}
