package onnx

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// WriteFile writes a file that appears complete or not at all: under another
// name in the same folder, flushed to disk, renamed, the folder flushed too.
// A file that is there keeps its permissions, a symbolic link its place.
func WriteFile(path string, write func(io.Writer) error) error {
	f, err := stage(path, write)
	if err != nil {
		return err
	}
	defer f.discard()
	return f.commit()
}

// stagedFile is a complete file that waits under another name.
type stagedFile struct {
	temp, path string
	shown      string // path as the caller wrote it, for errors
}

func writeError(path string, err error) error {
	cause := err
	var pe *os.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		cause = pe.Err
	case errors.As(err, &le):
		cause = le.Err
	}
	return &Error{File: path, Msg: "cannot be written: " + cause.Error(), Err: err}
}

// stage writes the file under another name; nothing is left where it fails.
func stage(path string, write func(io.Writer) error) (stagedFile, error) {
	s := stagedFile{path: path, shown: path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		s.path = real
	}
	f, err := createTemp(s.path)
	if err != nil {
		return s, writeError(path, err)
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
		s.discard()
		return s, writeError(path, err)
	}
	return s, nil
}

// commit gives the file its name.
func (s stagedFile) commit() error {
	if err := os.Rename(s.temp, s.path); err != nil {
		return writeError(s.shown, err)
	}
	syncFolder(filepath.Dir(s.path))
	return nil
}

// discard removes the file if it still waits.
func (s stagedFile) discard() { os.Remove(s.temp) }

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
