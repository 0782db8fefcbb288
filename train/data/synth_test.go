package data

import (
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/graft-onnx/graft/models"
)

func TestSynthesize(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	o := SynthOptions{Train: 5, Val: 2, Width: 64, Height: 48, Seed: 3}
	files, err := Synthesize(context.Background(), a, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Synthesize(context.Background(), b, o); err != nil {
		t.Fatal(err)
	}
	c := SynthClasses()
	if got, err := models.LoadDataClasses(files.Classes, len(c), 1); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("classes %+v, %v", got, err)
	}
	opt := options("DATASET.num_class", "5")
	seen := map[int32]bool{}
	for list, n := range map[string]int{files.ListTrain: 5, files.ListVal: 2} {
		set, err := OpenList(list, files.Root)
		if err != nil || len(set.Records) != n {
			t.Fatalf("%s: %v, %v", list, set, err)
		}
		for _, rec := range set.Records {
			s, err := NewReader(opt).Read(rec)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range s.Mask.Labels(nil) {
				seen[v] = true
			}
			rel, _ := filepath.Rel(a, rec.Image)
			twin, err := DecodePicture(filepath.Join(b, rel), plenty, RefuseOrientation)
			if err != nil || !slices.Equal(twin.Pix, s.Picture.Pix) {
				t.Errorf("%s differs between two runs (%v)", rel, err)
			}
		}
	}
	if len(seen) != 5 || seen[-1] {
		t.Errorf("classes drawn: %v, want 0 to 4", seen)
	}
	p, _ := SynthPicture(o, 0)
	q, _ := SynthPicture(SynthOptions{Width: 64, Height: 48, Seed: 4}, 0)
	if slices.Equal(p.Pix, q.Pix) {
		t.Error("another seed draws the same picture")
	}
	if _, err := Synthesize(context.Background(), a, SynthOptions{Train: 1, Width: 5, Height: 500}); err == nil {
		t.Error("5 pixels wide is accepted")
	}
}
