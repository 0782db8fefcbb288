package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// only fails where the folder holds other names than those wanted.
func only(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("%d files, want %q: %v", len(entries), want, entries)
		return
	}
	for i, e := range entries {
		if e.Name() != want[i] {
			t.Errorf("file %q, want %q", e.Name(), want[i])
		}
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", filepath.Base(path), got, err, want)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second"} {
		if err := WriteBytes(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		holds(t, path, text)
		only(t, dir, "file")
	}
}

// Where writing fails, the old file stays and nothing else is left.
func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := Write(path, func(w io.Writer) error {
		if _, err := w.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		return broken
	})
	var pe *fs.PathError
	if !errors.Is(err, broken) || !errors.As(err, &pe) || pe.Path != path {
		t.Errorf("error %v", err)
	}
	holds(t, path, "old")
	only(t, dir, "file")
	// A folder in the file's place lets the rename fail, after the writing.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "inside"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := WriteBytes(taken, nil); !errors.As(err, &pe) || pe.Path != taken {
		t.Errorf("written over a folder: %v", err)
	}
	only(t, dir, "file", "taken")
	missing := filepath.Join(dir, "none", "file")
	if err := WriteBytes(missing, nil); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &pe) || pe.Path != missing {
		t.Errorf("written into no folder: %v", err)
	}
}

func TestStagedFileWaits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write := func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }
	s, err := Stage(path, write)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there before Commit: %v", err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Discard()
	holds(t, path, "new")
	only(t, dir, "file")
	if s, err = Stage(filepath.Join(dir, "other"), write); err != nil {
		t.Fatal(err)
	}
	s.Discard()
	only(t, dir, "file")
}

// Writing over a file keeps its permissions, writing over a link what it is.
func TestWriteOverALink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Skipf("skipped: no symbolic links here: %v", err)
	}
	if err := WriteBytes(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "new")
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is replaced: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions %v, %v", info.Mode(), err)
	}
}

// A device is written to and stays what it is.
func TestWriteToADevice(t *testing.T) {
	before, err := os.Stat(os.DevNull)
	if err != nil || before.Mode().IsRegular() {
		t.Skipf("skipped: no device %s here: %v", os.DevNull, err)
	}
	// A link of our own, so that a failure of this test leaves the device.
	link := filepath.Join(t.TempDir(), "null")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Skipf("skipped: no symbolic links here: %v", err)
	}
	if !special(link) {
		t.Fatalf("%s passes for a file", link)
	}
	if err := WriteBytes(link, []byte("new")); err != nil {
		t.Error(err)
	}
	if _, err := Stage(link, func(io.Writer) error { return nil }); !errors.Is(err, errSpecial) {
		t.Errorf("staged over a device: %v", err)
	}
	if after, err := os.Stat(os.DevNull); err != nil || after.Mode() != before.Mode() {
		t.Errorf("the device became %v, %v", after.Mode(), err)
	}
}

// Tidy takes away what a write that was cut off has left, and nothing else.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := WriteBytes(path, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cut, err := Stage(path, func(w io.Writer) error { return nil }) // never committed
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(cut.temp) != dir {
			t.Fatalf("waits as %s", cut.temp)
		}
	}
	others := []string{".file.0123456.tmp", ".file.01234567.tmp.tmp", ".file.x.01234567.tmp", ".other.01234567.tmp", "file.01234567.tmp"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".file.01234567.tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	Tidy(dir, "file", "none")
	holds(t, path, "whole")
	want := append(others, ".file.01234567.tmp", "file")
	slices.Sort(want)
	only(t, dir, want...)
	Tidy(filepath.Join(dir, "none"), "file")
}
