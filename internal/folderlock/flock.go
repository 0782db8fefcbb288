//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package folderlock

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// acquire locks the folder itself, so that no file is left behind.
func acquire(dir string) (func() error, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: ErrHeld}
	}
	// Other errors are those of file systems without locks.
	return f.Close, nil
}
