// Package folderlock keeps two processes from writing into one folder. The
// lock ends with its process, however that ends.
package folderlock

import "errors"

// ErrHeld marks a folder that another process holds.
var ErrHeld = errors.New("in use by another process")

// A Lock holds a folder until Unlock.
type Lock struct{ release func() error }

// Acquire takes the folder for this process, or returns an error that wraps
// ErrHeld. On file systems and operating systems without locks it always
// succeeds.
func Acquire(dir string) (*Lock, error) {
	release, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	return &Lock{release}, nil
}

// Unlock gives the folder back.
func (l *Lock) Unlock() error { return l.release() }
