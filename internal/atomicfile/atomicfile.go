// Package atomicfile writes files that appear complete or not at all, and
// survive a power cut: under another name in the same folder, flushed to disk,
// renamed, the folder flushed too. A file that is there keeps its permissions,
// a symbolic link its place.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Write puts what write writes at path. Where anything fails the old file, if
// there is one, stays as it was and nothing else is left. Errors are
// *fs.PathError with path as the caller wrote it. A device or a pipe is written
// to as it is: renaming would put a file in its place.
func Write(path string, write func(io.Writer) error) error {
	if special(path) {
		return writeThrough(path, write)
	}
	f, err := Stage(path, write)
	if err != nil {
		return err
	}
	defer f.Discard()
	return f.Commit()
}

// WriteBytes is Write for content that is in memory.
func WriteBytes(path string, content []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Staged is a complete file that waits under another name, so that several
// files can be written before the first takes its place.
type Staged struct {
	temp, path string
	shown      string // path as the caller wrote it, for errors
}

// special reports whether path is there and neither a file nor a folder.
func special(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

func writeThrough(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return failure(path, err)
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return failure(path, err)
	}
	return nil
}

// errSpecial is why a device or a pipe cannot be staged.
var errSpecial = errors.New("neither a file nor a folder")

// Stage writes the file under another name; nothing is left where it fails.
func Stage(path string, write func(io.Writer) error) (*Staged, error) {
	if special(path) {
		return nil, failure(path, errSpecial)
	}
	s := &Staged{path: path, shown: path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		s.path = real
	}
	f, err := createTemp(s.path)
	if err != nil {
		return nil, failure(s.shown, err)
	}
	s.temp = f.Name()
	if info, serr := os.Stat(s.path); serr == nil && info.Mode().IsRegular() {
		err = f.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		s.Discard()
		return nil, failure(s.shown, err)
	}
	return s, nil
}

// Commit gives the file its name.
func (s *Staged) Commit() error {
	if err := os.Rename(s.temp, s.path); err != nil {
		return failure(s.shown, err)
	}
	syncFolder(filepath.Dir(s.path))
	return nil
}

// Discard removes the file if it still waits; after Commit it does nothing.
func (s *Staged) Discard() { os.Remove(s.temp) }

// failure names the file the caller wanted instead of the one that waits.
func failure(shown string, err error) error {
	cause := err
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		cause = pe.Err
	case errors.As(err, &le):
		cause = le.Err
	}
	return &fs.PathError{Op: "write", Path: shown, Err: cause}
}

// Tidy removes what interrupted writes of files of these plain names have left in
// a folder under other names. Nobody may be writing them. What cannot be removed stays.
func Tidy(dir string, names ...string) {
	for _, name := range names {
		left, _ := fs.Glob(os.DirFS(dir), "."+name+"."+strings.Repeat("[0-9a-f]", 8)+".tmp")
		for _, temp := range left {
			temp = filepath.Join(dir, temp)
			if info, err := os.Lstat(temp); err == nil && info.Mode().IsRegular() {
				os.Remove(temp)
			}
		}
	}
}

// createTemp opens a new file beside path, with the permissions that a file
// created directly would get.
func createTemp(path string) (*os.File, error) {
	for try := 0; ; try++ {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x.tmp", filepath.Base(path), rand.Uint32()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil || !errors.Is(err, os.ErrExist) || try == 100 {
			return f, err
		}
	}
}

// syncFolder makes a rename survive a power cut. Systems that cannot flush a
// folder keep the rename in their own journal, so its errors mean nothing.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}
