package host

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/graft-onnx/graft/graph/kernel"
)

func TestAlloc(t *testing.T) {
	for _, n := range []int{0, 1, 4, 63, 64, 65, 4096, leastMapped - 1, leastMapped, 3<<20 + 5} {
		checkMemory(t, n, Alloc(n))
		checkMemory(t, n, Map(n))
	}
}

func checkMemory(t *testing.T, n int, m *Memory) {
	t.Helper()
	if m.Size() != n || len(m.Bytes()) != n {
		t.Errorf("%d bytes wanted, it has %d", n, m.Size())
	}
	if uintptr(m.Pointer())%Align != 0 {
		t.Errorf("%d bytes at %p are not aligned", n, m.Pointer())
	}
	for i, b := range m.Bytes() {
		if b != 0 {
			t.Fatalf("byte %d of %d is %d", i, n, b)
		}
	}
	runtime.KeepAlive(m)
}

func TestSliceSharesMemory(t *testing.T) {
	m := Alloc(64)
	s := m.Slice(8, 16)
	if s.Size() != 16 {
		t.Fatalf("size %d, want 16", s.Size())
	}
	Float32(s)[1] = 3
	if got := Float32(m)[3]; got != 3 {
		t.Errorf("element 3 is %v, want 3", got)
	}
	inner := s.Slice(4, 4)
	if got := Float32(inner)[0]; got != 3 {
		t.Errorf("slice of a slice holds %v, want 3", got)
	}
	if cap(Bytes(s)) != 16 {
		t.Errorf("a slice can be grown into its neighbour: capacity %d", cap(Bytes(s)))
	}
}

func TestSliceOutOfRangePanics(t *testing.T) {
	m := Alloc(64)
	for _, c := range []struct{ offset, size int }{{0, 65}, {64, 4}, {-4, 4}, {8, -4}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Slice(%d, %d) of 64 bytes did not panic", c.offset, c.size)
				}
			}()
			m.Slice(c.offset, c.size)
		}()
	}
}

func TestViews(t *testing.T) {
	m := Alloc(24)
	Uint64(m)[2] = 7
	if len(Float32(m)) != 6 || len(Int32(m)) != 6 || len(Uint64(m)) != 3 || len(Uint16(m)) != 12 {
		t.Error("a view has the wrong length")
	}
	if Int32(m)[4] != 7 {
		t.Error("views do not share memory")
	}
	if unsafe.Pointer(&m.Float32()[0]) != m.Pointer() {
		t.Error("Float32 starts elsewhere")
	}
}

type foreign struct{ kernel.Buffer }

func TestCopies(t *testing.T) {
	m := Alloc(4)
	if err := Upload(m, []byte{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if err := Download(got, m); err != nil || got[3] != 4 {
		t.Fatalf("%v, %v", got, err)
	}
	if Upload(m, got[:3]) == nil || Download(got[:3], m) == nil {
		t.Error("a wrong length was accepted")
	}
	if Upload(foreign{}, got) == nil || Download(got, foreign{}) == nil {
		t.Error("a buffer of another device was accepted")
	}
	if _, err := Of(m); err != nil {
		t.Error(err)
	}
}

// Memory of the system's own lives as long as a slice of it, or until it is
// freed.
func TestMappedMemory(t *testing.T) {
	m := Map(leastMapped)
	if m.from == nil {
		t.Skip("skipped: this system maps no memory")
	}
	freed := m.from.freed
	slice := m.Slice(leastMapped-8, 8).Slice(4, 4)
	m = nil
	for range 3 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if freed.Load() {
		t.Fatal("freed although a slice is in use")
	}
	Float32(slice)[0] = 1
	runtime.KeepAlive(slice)
	slice = nil
	for deadline := time.Now().Add(10 * time.Second); !freed.Load(); time.Sleep(time.Millisecond) {
		runtime.GC()
		if time.Now().After(deadline) {
			t.Fatal("not freed although nothing refers to it")
		}
	}

	m = Map(leastMapped)
	freed = m.from.freed
	Free(m)
	if !freed.Load() || m.Size() != 0 {
		t.Error("Free did not free")
	}
	Free(m)       // no harm
	Free(Map(64)) // of Go's heap
}
