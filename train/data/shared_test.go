package data

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
)

// TestSharedSets inspects real data sets whole.
func TestSharedSets(t *testing.T) {
	for _, tc := range []struct {
		name    string
		classes int
		train   int
		val     int
		short   bool // small enough for every run
	}{{"camvid-tiny", 11, 8, 4, true}, {"camvid", 11, 367, 101, false}, {"oxford-pet-26", 3, 20, 6, true},
		{"magnetic-tile", 6, 315, 77, false}, {"ade20k-sample", 150, 1, 3, true}} {
		t.Run(tc.name, func(t *testing.T) {
			if testing.Short() && !tc.short {
				t.Skip("skipped: a whole data set in -short")
			}
			root := testutil.SharedDir(t, "data", tc.name)
			o := options()
			o.Labels.Classes = tc.classes
			if c, err := models.LoadDataClasses(filepath.Join(root, "classes.csv"), tc.classes, 1); err != nil {
				t.Error(err)
			} else if c[0].Name == "ignore" {
				t.Error("the first class is the ignored one")
			}
			for split, n := range map[string]int{"train.odgt": tc.train, "val.odgt": tc.val} {
				set, err := OpenList(filepath.Join(root, split), root)
				if err != nil {
					t.Fatal(err)
				}
				r, err := Inspect(context.Background(), set, o, nil)
				if err != nil {
					t.Fatal(err)
				}
				if !r.OK() || r.Records != n {
					t.Errorf("%s: %d records, problems %v", split, r.Records, r.Problems)
				}
				if tc.name == "camvid" && split == "train.odgt" {
					// The set's README, from lossless originals.
					for c, want := range []float64{0.4119, 0.4251, 0.4327} {
						if math.Abs(r.Mean[c]-want) > 0.002 {
							t.Errorf("mean of channel %d is %.4f, want %.4f", c, r.Mean[c], want)
						}
					}
					// Its shares are of all pixels, void included: 3.95 %.
					for c, want := range []float64{16.85, 23.26, 0.98, 31.66, 4.49, 9.72, 1.17, 1.13, 5.87, 0.64, 0.29} {
						if got := 100 * r.Classes[c].Share * (1 - r.Ignored); math.Abs(got-want) > 0.006 {
							t.Errorf("share of class %d is %.3f %%, want %.2f %%", c, got, want)
						}
					}
				}
			}
		})
	}
}

// TestADE20KLists reads the lists the reference's configurations name.
func TestADE20KLists(t *testing.T) {
	for name, n := range map[string]int{"training.odgt": 20210, "validation.odgt": 2000} {
		set, err := OpenList(testutil.SharedDir(t, "data", "ade20k-sample", "meta", name), "data")
		if err != nil || len(set.Records) != n {
			t.Fatalf("%s: %v", name, err)
		}
		if l := mustLoader(t, set, options()); len(l.Draw(30000).Records) != 2 {
			t.Errorf("%s: %+v", name, l.Draw(30000))
		}
	}
}

// TestPaletteMasks reads palette masks whose values are 0, 1, 2 and 255.
func TestPaletteMasks(t *testing.T) {
	root := testutil.SharedDir(t, "data", "oxford-pet-26", "annot_raw")
	names, err := walk(root)
	if err != nil || len(names) != 26 {
		t.Fatal(len(names), err)
	}
	seen := map[int32]bool{}
	for _, name := range names {
		m, err := DecodeMask(filepath.Join(root, name), plenty, Labels{Classes: 3, Shift: 0, Index: -1, Ignore: []int{255}})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range m.Labels(nil) {
			seen[v] = true
		}
	}
	if len(seen) != 4 || !seen[-1] || !seen[0] || !seen[1] || !seen[2] {
		t.Errorf("labels %v, want -1 to 2", seen)
	}
}

func TestSharedBatches(t *testing.T) {
	root := testutil.SharedDir(t, "data", "oxford-pet-26")
	set, err := OpenList(filepath.Join(root, "train.odgt"), root)
	if err != nil {
		t.Fatal(err)
	}
	s := mustLoader(t, set, options("DATASET.imgSizes", "(96, 128)", "DATASET.imgMaxSize", "200")).Stream(context.Background(), 0, 20)
	defer s.Close()
	for range 20 {
		b, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.H%8 != 0 || b.W%8 != 0 || max(b.H, b.W) > 200 || len(b.Labels) != 2*b.LabelH*b.LabelW {
			t.Errorf("batch %d is %d x %d", b.Iteration, b.H, b.W)
		}
		b.Release()
	}
}

func BenchmarkBatch(b *testing.B) {
	root := testutil.SharedDir(b, "data", "camvid")
	set, err := OpenList(filepath.Join(root, "train.odgt"), root)
	if err != nil {
		b.Fatal(err)
	}
	o := options("DATASET.num_class", "11", "DATASET.imgSizes", "(240,)", "DATASET.imgMaxSize", "320", "TRAIN.batch_size_per_gpu", "8")
	for name, cache := range map[string]int64{"decoding": 0, "cached": 1 << 30} {
		b.Run(name, func(b *testing.B) {
			o.CacheBytes = cache
			l := mustLoader(b, set, o)
			if cache > 0 {
				for k := range 60 {
					if _, err := l.Batch(k); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			k := 0
			for b.Loop() {
				x, err := l.Batch(k % 46)
				if err != nil {
					b.Fatal(err)
				}
				x.Release()
				k++
			}
		})
	}
}
