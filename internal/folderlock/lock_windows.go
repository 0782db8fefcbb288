package folderlock

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

const (
	lockFile           = ".lock"
	deleteOnClose      = 0x04000000        // FILE_FLAG_DELETE_ON_CLOSE
	errSharedViolation = syscall.Errno(32) // ERROR_SHARING_VIOLATION
)

// acquire opens a file that nobody else may open, and that the system removes
// with its last handle.
func acquire(dir string) (func() error, error) {
	path := filepath.Join(dir, lockFile)
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL|deleteOnClose, 0)
	if errors.Is(err, errSharedViolation) {
		err = ErrHeld
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() error { return syscall.CloseHandle(h) }, nil
}
