package dl

import (
	"errors"
	"runtime"
	"testing"
)

func TestMissing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: these are the words of Linux's dynamic linker")
	}
	tests := []struct {
		path, err string
		want      bool
	}{
		{"libdnnl.so.3", "libdnnl.so.3: cannot open shared object file: No such file or directory", true},
		{"libdnnl.so.3", "libgomp.so.1: cannot open shared object file: No such file or directory", false},
		{"libdnnl.so.3.6", "/lib/libc.so.6: version `GLIBC_2.38' not found (required by libdnnl.so.3.6)", false},
		{"/tmp/libdnnl.so.3", "/tmp/libdnnl.so.3: file too short", false},
	}
	for _, test := range tests {
		if got := Missing(test.path, errors.New(test.err)); got != test.want {
			t.Errorf("Missing(%q, %q) = %v", test.path, test.err, got)
		}
	}
}
