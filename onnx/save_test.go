package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestSaveAndLoad(t *testing.T) {
	m := smallModel(t)
	m.SetMetadata("k", "v")
	dir := t.TempDir()
	path := filepath.Join(dir, "net.onnx")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("%v is left", got)
	}
	back, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m.ModelProto, back.ModelProto) || back.Path != path {
		t.Error("the model comes back changed")
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Clone().Save(path); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(path); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same model gives other bytes, %v", err)
	}
}

// Where writing fails, nothing is left.
func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	var e *Error
	// A folder in the file's place lets the rename fail, after the writing.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "inside"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := smallModel(t).Save(taken); !errors.As(err, &e) || e.File != taken {
		t.Errorf("saved over a folder: %v", err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("%v is left", got)
	}
	if err := smallModel(t).Save(filepath.Join(dir, "none", "net.onnx")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("saved into no folder: %v", err)
	}
}

// Models past 2 GiB are refused before anything is written. The tensors share
// their bytes, so the test itself needs little memory.
func TestSaveRefusesMoreThan2GiB(t *testing.T) {
	m := smallModel(t)
	raw := make([]byte, 64<<20)
	for range 33 {
		m.Graph.Initializer = append(m.Graph.Initializer, &pb.TensorProto{
			Name: "t", Dims: []int64{64 << 20}, DataType: int32(pb.TensorProto_UINT8), RawData: raw})
	}
	dir := t.TempDir()
	if err := m.Save(filepath.Join(dir, "net.onnx")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("%v is left", got)
	}
	slim, weights := m.detach("w")
	if proto.Size(slim) > 1<<20 || len(weights) != 33 {
		t.Errorf("with external data it still takes %d bytes", proto.Size(slim))
	}
}

// Saving over a file keeps its permissions, saving over a link what it is.
func TestSaveOverAFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "net.onnx"), filepath.Join(dir, "link.onnx")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("net.onnx", link); err != nil {
		t.Skipf("skipped: no symbolic links here: %v", err)
	}
	if err := smallModel(t).Save(link); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is replaced: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions %v, %v", info.Mode(), err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}
