package kerneltest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
)

// unknown is a description that no device has a kernel for.
type unknown struct{}

func (unknown) Args() []kernel.Arg { return nil }

func testDevice(t *testing.T, dev kernel.Device) {
	if dev.Name() == "" || dev.String() == "" {
		t.Error("the device has no name or no description")
	}
	t.Run("memory", func(t *testing.T) {
		for _, n := range []int{0, 4, 64, 100000} {
			b, err := dev.Alloc(n)
			if err != nil {
				t.Fatal(err)
			}
			if b.Size() != n {
				t.Errorf("Alloc(%d) has size %d", n, b.Size())
			}
			got := bytes.Repeat([]byte{1}, n)
			if err := dev.Download(got, b); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, make([]byte, n)) {
				t.Errorf("Alloc(%d) is not zeroed", n)
			}
		}
	})
	t.Run("slices", func(t *testing.T) {
		b, err := dev.Alloc(64)
		if err != nil {
			t.Fatal(err)
		}
		if err := dev.Upload(b.Slice(16, 8), []byte{1, 2, 3, 4, 5, 6, 7, 8}); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if err := dev.Download(got, b.Slice(8, 24).Slice(12, 4)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, []byte{5, 6, 7, 8}) {
			t.Errorf("a slice of a slice holds %v, want [5 6 7 8]", got)
		}
		for _, c := range [][2]int{{0, 68}, {60, 8}, {-4, 4}} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("Slice(%d, %d) of 64 bytes did not panic", c[0], c[1])
					}
				}()
				b.Slice(c[0], c[1])
			}()
		}
	})
	t.Run("lengths", func(t *testing.T) {
		b, err := dev.Alloc(8)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 4, 12} {
			if dev.Upload(b, make([]byte, n)) == nil {
				t.Errorf("%d bytes uploaded into 8", n)
			}
			if dev.Download(make([]byte, n), b) == nil {
				t.Errorf("8 bytes downloaded into %d", n)
			}
		}
	})
	t.Run("unsupported", func(t *testing.T) {
		for _, d := range []kernel.Desc{unknown{}, kernel.Unary{Op: 200, Len: 4}, kernel.UnaryBackward{Op: 200, Len: 4},
			kernel.Binary{Op: 200, A: []int{1}, B: []int{1}, Out: []int{1}}, kernel.Reduce{Op: 200, In: []int{2}, Shape: []int{1}},
			kernel.Pool{Op: 200, Geometry: geometry(1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, same(0), 1)}} {
			if _, err := dev.Compile(d); !errors.Is(err, kernel.ErrUnsupported) {
				t.Errorf("Compile(%T %+v) says %v, want an error that wraps ErrUnsupported", d, d, err)
			}
		}
	})
	t.Run("do", func(t *testing.T) {
		want := errors.New("mine")
		ran := false
		if err := dev.Do(func() error { ran = true; return want }); !errors.Is(err, want) || !ran {
			t.Errorf("Do ran: %v, and says %v, want the function's own error", ran, err)
		}
		if err := dev.Do(func() error { return nil }); err != nil {
			t.Errorf("Do says %v", err)
		}
	})
}
