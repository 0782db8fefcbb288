package ort

import "testing"

func TestAtLeast(t *testing.T) {
	tests := []struct {
		version string
		want    bool
	}{
		{"1.30.0", true}, {"1.11.0", true}, {"1.10.2", false}, {"1.9.0", false}, {"2.0.0", true}, {"0.99", false}, {"", false}, {"dev", false},
	}
	for _, tt := range tests {
		if got := atLeast(tt.version, 1, 11); got != tt.want {
			t.Errorf("atLeast(%q, 1, 11) = %v, want %v", tt.version, got, tt.want)
		}
	}
}

func TestUsualNames(t *testing.T) {
	for goos, want := range map[string]string{"linux": "libonnxruntime.so.1", "darwin": "libonnxruntime.1.dylib", "windows": "onnxruntime.dll"} {
		if got := usualNames(goos)[0]; got != want {
			t.Errorf("first name on %s is %s, want %s", goos, got, want)
		}
	}
}
