package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/graft-onnx/graft/internal/testutil"
)

// repairPNG sets the checksums of chunks right, so that mutations reach what
// lies behind them.
func repairPNG(b []byte) {
	for at := 8; at+12 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n < 0 || n > len(b)-at-12 {
			return
		}
		binary.BigEndian.PutUint32(b[at+8+n:], crc32.ChecksumIEEE(b[at+4:at+8+n]))
		at += 12 + n
	}
}

// mutations per seed file; GRAFT_MUTATIONS of them when the variable is set.
func mutations(t *testing.T, usual int) int {
	if v := os.Getenv("GRAFT_MUTATIONS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("GRAFT_MUTATIONS=%q is not a number of mutations", v)
		}
		return n
	}
	if testing.Short() {
		return usual / 10
	}
	return usual
}

// TestMutatedFiles reads files of every format with bytes changed: each must
// be read or refused with one of our errors, within a second and 64 MiB.
func TestMutatedFiles(t *testing.T) {
	seeds, err := filepath.Glob("testdata/*.[pjbtw]*")
	if err != nil || len(seeds) < 10 {
		t.Fatal(seeds, err)
	}
	const pixels = 1 << 20
	path := filepath.Join(t.TempDir(), "m")
	r := rand.New(rand.NewPCG(1, 1))
	read, refused := 0, 0
	var before, after runtime.MemStats
	for _, seed := range seeds {
		whole, err := os.ReadFile(seed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range mutations(t, 60) {
			b := testutil.Mutate(r, whole)
			if filepath.Ext(seed) == ".png" && i%4 != 0 {
				repairPNG(b)
			}
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, perr := DecodePicture(path, pixels, RefuseOrientation)
			_, merr := DecodeMask(path, pixels, abc)
			_, _, serr := Measure(path, RefuseOrientation)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			// Three readings; a picture of 2^20 pixels takes 3 MiB, at 16
			// bits and four channels 8 MiB more.
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 || took > 5*time.Second {
				keep := filepath.Join(os.TempDir(), "graft-slow-mutation")
				os.WriteFile(keep, b, 0o644)
				t.Fatalf("%s, mutation %d: %d bytes allocated in %v (kept as %s)", seed, i, used, took, keep)
			}
			for _, err := range []error{perr, merr, serr} {
				if err == nil {
					read++
				} else if refused++; !ours(err) {
					t.Fatalf("%s, mutation %d: an untyped error: %v", seed, i, err)
				}
			}
		}
	}
	t.Logf("%d readings, %d refusals", read, refused)
	if read == 0 || refused == 0 {
		t.Error("the mutations are all of one kind")
	}
}

func ours(err error) bool {
	var decode *DecodeError
	var large *TooLargeError
	var label *LabelError
	var turned *OrientationError
	var size *SizeError
	var list *ListError
	return errors.As(err, &decode) || errors.As(err, &large) || errors.As(err, &label) ||
		errors.As(err, &turned) || errors.As(err, &size) || errors.As(err, &list)
}

// TestMutatedLists does the same with lists.
func TestMutatedLists(t *testing.T) {
	list := []byte(`{"fpath_img": "images/a.jpg", "fpath_segm": "m/a.png", "width": 480, "height": 360}
{"fpath_img": "images/b.jpg", "fpath_segm": "m/b.png", "width": 320, "height": 240}
`)
	r := rand.New(rand.NewPCG(2, 2))
	read := 0
	for range mutations(t, 3000) {
		set, err := ReadList(bytes.NewReader(testutil.Mutate(r, list)), "l", "root")
		if err == nil {
			read++
			for _, rec := range set.Records {
				if rec.Image == "" || rec.Width < 0 || rec.Height < 0 {
					t.Fatalf("%+v", rec)
				}
			}
		} else if !ours(err) {
			t.Fatalf("an untyped error: %v", err)
		}
	}
	if read == 0 {
		t.Error("nothing was readable")
	}
}

func FuzzDecode(f *testing.F) {
	seeds, _ := filepath.Glob("testdata/*.[pjbtw]*")
	for _, s := range seeds {
		if b, err := os.ReadFile(s); err == nil {
			f.Add(b)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if p, err := DecodePicture(path, 1<<16, ApplyOrientation); err == nil {
			if len(p.Pix) != 3*p.Width*p.Height {
				t.Fatalf("%d bytes for %d x %d", len(p.Pix), p.Width, p.Height)
			}
		} else if !ours(err) {
			t.Fatal(err)
		}
		if _, err := DecodeMask(path, 1<<16, abc); err != nil && !ours(err) {
			t.Fatal(err)
		}
	})
}
