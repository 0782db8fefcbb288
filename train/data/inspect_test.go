package data

import (
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"path/filepath"
	"reflect"
	"testing"
)

func TestInspect(t *testing.T) {
	set := folder(t, 6, [2]int{20, 16}, [2]int{10, 24})
	dir := filepath.Dir(filepath.Dir(set.Records[0].Image))
	grey := func(w, h int, fill, one uint8) []byte {
		m := image.NewGray(image.Rect(0, 0, w, h))
		for i := range m.Pix {
			m.Pix[i] = fill
		}
		m.SetGray(3, 2, color.Gray{one})
		return pngBytes(t, m)
	}
	write(t, dir, "m/000.png", grey(20, 16, 1, 200)) // out of range
	write(t, dir, "m/001.png", grey(24, 10, 2, 2))   // size
	write(t, dir, "i/002.png", []byte("broken"))
	set.Records[3].Mask = filepath.Join(dir, "none.png")
	write(t, dir, "m/004.png", grey(20, 16, 0, 0)) // all ignored
	steps := 0
	r, err := Inspect(context.Background(), set, options(), func(int) { steps++ })
	if err != nil {
		t.Fatal(err)
	}
	if want := map[ProblemKind]int{OutOfRange: 1, SizeMismatch: 1, Unreadable: 1, Missing: 1, AllIgnored: 1}; !reflect.DeepEqual(r.Counts, want) {
		t.Errorf("problems %v, want %v", r.Counts, want)
	}
	for i, p := range r.Problems {
		if p.Index != i || p.Name != set.Records[i].Name {
			t.Errorf("problem %d is %+v", i, p)
		}
	}
	if r.OK() || steps != 6 || r.Records != 6 || r.Sizes["20x16"] != 2 || r.Sizes["10x24"] != 3 || r.Tall != 3 {
		t.Errorf("%+v", r)
	}
	var total int64
	for _, l := range r.Labels {
		total += l.Pixels
		if l.Allowed != (l.Value != 200) || (l.Value == 200 && (l.Pixels != 1 || l.Files != 1)) {
			t.Errorf("%+v", l)
		}
	}
	// Masks 0, 1, 2, 4 and 5 were readable.
	if total != 20*16+24*10+20*16+20*16+10*24 {
		t.Errorf("%d label pixels", total)
	}
	share := 0.0
	for _, c := range r.Classes {
		share += c.Share
	}
	if math.Abs(share-1) > 1e-12 {
		t.Errorf("shares sum to %v", share)
	}
	for c := range 3 { // noise is uniform over 0..255
		if math.Abs(r.Mean[c]-0.5) > 0.05 || math.Abs(r.Std[c]-0.2887) > 0.03 {
			t.Errorf("channel %d: mean %v, deviation %v", c, r.Mean[c], r.Std[c])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Inspect(ctx, set, options(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
