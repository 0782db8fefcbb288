//go:build unix

package data

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// Opening a pipe would wait for a writer that never comes.
func TestPipeIsNoPicture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.png")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("skipped: no pipes here: %v", err)
	}
	var unreadable *DecodeError
	if _, err := DecodePicture(path, 100, IgnoreOrientation); !errors.As(err, &unreadable) {
		t.Errorf("DecodePicture: %v", err)
	}
	if _, _, err := Measure(path, IgnoreOrientation); !errors.As(err, &unreadable) {
		t.Errorf("Measure: %v", err)
	}
}
