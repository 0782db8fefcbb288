package data

import (
	"context"
	"errors"
	"image"
	"path/filepath"
	"slices"
	"testing"
)

func TestFrequencies(t *testing.T) {
	dir := t.TempDir()
	mask := func(name string, pix ...uint8) Record {
		m := image.NewGray(image.Rect(0, 0, 4, 2))
		copy(m.Pix, pix)
		return Record{Name: name, Mask: write(t, dir, name, pngBytes(t, m))}
	}
	// 0 is not labelled; classes count from 1.
	set := &Set{Name: "set", Records: []Record{
		mask("a.png", 1, 1, 1, 1, 1, 1, 2, 0),
		mask("b.png", 1, 1, 4, 4, 0, 0, 0, 0),
		mask("c.png", 0, 0, 0, 0, 0, 0, 0, 0),
	}}
	o := Options{Labels: Labels{Classes: 4, Shift: 1, Index: -1}, MaxPixels: 100}
	got, err := Frequencies(context.Background(), set, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{8.0 / 11, 1.0 / 7, 0, 2.0 / 4}; !slices.Equal(got, want) {
		t.Errorf("frequencies %v, want %v", got, want)
	}
	set.Records = append(set.Records, mask("d.png", 5))
	var label *LabelError
	if _, err := Frequencies(context.Background(), set, o); !errors.As(err, &label) || label.File != filepath.Join(dir, "d.png") {
		t.Errorf("a label that is no class: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Frequencies(ctx, set, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
