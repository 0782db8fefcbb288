package data

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graft-onnx/graft/train/config"
)

// folder writes n pictures with masks of the given sizes, in turn.
func folder(t testing.TB, n int, sizes ...[2]int) *Set {
	t.Helper()
	dir := t.TempDir()
	set := &Set{Name: dir}
	for i := range n {
		w, h := sizes[i%len(sizes)][0], sizes[i%len(sizes)][1]
		p := &Picture{w, h, noise(3*w*h, uint32(i))}
		m := image.NewGray(image.Rect(0, 0, w, h))
		for k, v := range noise(w*h, uint32(1000+i)) {
			m.Pix[k] = v % 4
		}
		name := fmt.Sprintf("%03d.png", i)
		set.Records = append(set.Records, Record{Name: name, Width: w, Height: h,
			Image: write(t, dir, "i/"+name, pngBytes(t, p)), Mask: write(t, dir, "m/"+name, pngBytes(t, m))})
	}
	return set
}

func options(change ...string) Options {
	c, err := config.Parse(nil, "", append([]string{"DATASET.num_class", "3", "DATASET.imgSizes", "(24, 32, 40)", "DATASET.imgMaxSize", "60"}, change...)...)
	if err != nil {
		panic(err)
	}
	return OptionsFrom(c)
}

func mustLoader(t testing.TB, set *Set, o Options) *TrainLoader {
	t.Helper()
	l, err := NewTrainLoader(set, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOrderCoversEveryPass(t *testing.T) {
	set := &Set{}
	for i := range 10 {
		set.Records = append(set.Records, Record{Width: 10, Height: 5 + 10*(i%2)}) // odd ones are tall
	}
	order := NewOrder(set, options("TRAIN.batch_size_per_gpu", "3"))
	counts := make([]int, 10)
	shorts, flips := map[int]int{}, 0
	const iterations = 300
	var first []int
	same := 0
	for k := range iterations {
		d := order.Draw(k)
		if len(d.Records) != 3 || len(d.Flip) != 3 {
			t.Fatalf("%+v", d)
		}
		for j, i := range d.Records {
			counts[i]++
			if i%2 != d.Records[0]%2 {
				t.Errorf("iteration %d mixes orientations: %v", k, d.Records)
			}
			if d.Flip[j] {
				flips++
			}
		}
		shorts[d.ShortSide]++
		if k == 0 {
			first = d.Records
		} else if reflect.DeepEqual(first, d.Records) {
			same++
		}
	}
	// 900 draws in passes of 10: each record 90 times, but for the two
	// unfinished queues and the unfinished pass.
	for i, n := range counts {
		if n < 88 || n > 92 {
			t.Errorf("record %d was drawn %d times", i, n)
		}
	}
	if same > 30 {
		t.Errorf("the first batch came %d times again", same)
	}
	// Binomial with p 1/3 of 300 and 1/2 of 900: five standard deviations.
	for _, s := range []int{24, 32, 40} {
		if n := shorts[s]; math.Abs(float64(n)-100) > 41 {
			t.Errorf("short side %d came %d times of %d", s, n, iterations)
		}
	}
	if math.Abs(float64(flips)-450) > 75 {
		t.Errorf("%d of 900 mirrored", flips)
	}
}

func TestDrawIsAFunctionOfTheIteration(t *testing.T) {
	set := &Set{}
	for i := range 7 {
		set.Records = append(set.Records, Record{Width: 10, Height: 5 + 10*(i%2)})
	}
	straight := NewOrder(set, options())
	var want []Draw
	for k := range 50 {
		want = append(want, straight.Draw(k))
	}
	for _, k := range []int{0, 49, 3, 3, 2, 48, 17} {
		if got := NewOrder(set, options()).Draw(k); !reflect.DeepEqual(got, want[k]) {
			t.Errorf("fresh order, iteration %d: %+v, want %+v", k, got, want[k])
		}
		if got := straight.Draw(k); !reflect.DeepEqual(got, want[k]) {
			t.Errorf("used order, iteration %d: %+v, want %+v", k, got, want[k])
		}
	}
	if reflect.DeepEqual(NewOrder(set, options("TRAIN.seed", "1")).Draw(0), want[0]) && reflect.DeepEqual(NewOrder(set, options("TRAIN.seed", "1")).Draw(1), want[1]) {
		t.Error("another seed gives the same batches")
	}
	for k, d := range want {
		e := NewOrder(set, options("DATASET.random_flip", "False")).Draw(k)
		if slices.Contains(e.Flip, true) || !reflect.DeepEqual(e.Records, d.Records) || e.ShortSide != d.ShortSide {
			t.Errorf("iteration %d without flips: %+v", k, e)
		}
	}
}

// TestDrawsStayTheSame pins the random numbers: a change would break the
// resumption of runs made before it.
func TestDrawsStayTheSame(t *testing.T) {
	set := &Set{Records: make([]Record, 6)}
	for i := range set.Records {
		set.Records[i] = Record{Width: 4, Height: 3}
	}
	order := NewOrder(set, options())
	got := fmt.Sprint(order.Draw(0), order.Draw(1), order.Draw(7), order.Draw(100000))
	want := "{0 0 [3 4] [0 0] [false false] 24} {1 0 [0 5] [0 0] [false false] 32} {7 2 [0 1] [2 2] [true false] 24} {100000 33333 [1 3] [33333 33333] [false false] 40}"
	if got != want {
		t.Errorf("draws are %s, want %s", got, want)
	}
}

// TestBatchGeometry follows the reference by hand: a wide set of 40x30 and
// 50x30, short side 24, long side at most 35, padding 8, labels at 1/4.
func TestBatchGeometry(t *testing.T) {
	set := folder(t, 2, [2]int{40, 30}, [2]int{50, 30})
	o := options("DATASET.imgSizes", "(24,)", "DATASET.imgMaxSize", "35", "DATASET.segm_downsampling_rate", "4")
	l := mustLoader(t, set, o)
	b, err := l.Batch(0)
	if err != nil {
		t.Fatal(err)
	}
	// 40x30: min(24/30, 35/40) = 0.8 -> 32x24; 50x30: min(0.8, 0.7) -> 35x21.
	if b.N != 2 || b.W != 40 || b.H != 24 || b.LabelW != 10 || b.LabelH != 6 {
		t.Fatalf("batch %d x %d x %d, labels %d x %d", b.N, b.H, b.W, b.LabelH, b.LabelW)
	}
	if len(b.Images) != 2*3*24*40 || len(b.Labels) != 2*6*10 {
		t.Fatalf("%d image values, %d labels", len(b.Images), len(b.Labels))
	}
	sizes := map[string][2]int{"000.png": {32, 24}, "001.png": {35, 21}}
	for n, name := range b.Names {
		w, h := sizes[name][0], sizes[name][1]
		rec := set.Records[map[string]int{"000.png": 0, "001.png": 1}[name]]
		s, err := NewReader(o).Read(rec)
		if err != nil {
			t.Fatal(err)
		}
		pix := s.Picture.Pix
		if b.Flip[n] {
			pix = make([]uint8, len(pix))
			flipRGB(pix, s.Picture.Pix, s.Picture.Width, s.Picture.Height)
		}
		var r resizer
		small := r.rgb(nil, pix, s.Picture.Width, s.Picture.Height, w, h)
		for c := range 3 {
			for y := range b.H {
				for x := range b.W {
					want := float32(0)
					if x < w && y < h {
						v := float32(small[3*(y*w+x)+c]) / 255
						want = (v - []float32{0.485, 0.456, 0.406}[c]) / []float32{0.229, 0.224, 0.225}[c]
					}
					if got := b.Images[((n*3+c)*b.H+y)*b.W+x]; got != want {
						t.Fatalf("%s channel %d (%d, %d): %v, want %v", name, c, x, y, got, want)
					}
				}
			}
		}
		for y := range b.LabelH {
			for x := range b.LabelW {
				want := int32(-1)
				if px, py := 4*x+2, 4*y+2; px < w && py < h {
					sx, sy := (2*px+1)*s.Mask.Width/(2*w), (2*py+1)*s.Mask.Height/(2*h)
					if b.Flip[n] {
						sx = s.Mask.Width - 1 - sx
					}
					want = int32(s.Mask.Pix[sy*s.Mask.Width+sx]) - 1
				}
				if got := b.Labels[(n*b.LabelH+y)*b.LabelW+x]; got != want {
					t.Fatalf("%s label (%d, %d): %d, want %d", name, x, y, got, want)
				}
			}
		}
	}
}

type copied struct {
	k, h, w int
	images  []float32
	labels  []int32
	names   []string
}

func snapshot(b *Batch) copied {
	return copied{b.Iteration, b.H, b.W, slices.Clone(b.Images), slices.Clone(b.Labels), slices.Clone(b.Names)}
}

func TestStreamResumesExactly(t *testing.T) {
	set := folder(t, 9, [2]int{40, 30}, [2]int{30, 44}, [2]int{33, 33})
	const iterations = 24
	var want []copied
	plain := mustLoader(t, set, options())
	for k := range iterations {
		b, err := plain.Batch(k)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, snapshot(b)) // never released
	}
	for _, tc := range []struct {
		from   int
		change []string
	}{
		{0, []string{"TRAIN.workers", "1", "TRAIN.prefetch", "0"}},
		{0, []string{"TRAIN.workers", "4", "TRAIN.prefetch", "3"}},
		{13, []string{"TRAIN.workers", "3", "DATASET.cache_mb", "1"}},
		{23, nil},
	} {
		s := mustLoader(t, set, options(tc.change...)).Stream(context.Background(), tc.from, iterations-tc.from)
		for k := tc.from; k < iterations; k++ {
			b, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if got := snapshot(b); !reflect.DeepEqual(got, want[k]) {
				t.Errorf("%+v: batch %d differs: iteration %d, %d x %d, %v", tc, k, got.k, got.h, got.w, got.names)
			}
			b.Release()
		}
		if _, err := s.Next(); err != io.EOF {
			t.Errorf("after the last: %v", err)
		}
		s.Close()
	}
}

// Loaders of a part of the data yield what is theirs, and together everything.
func TestParts(t *testing.T) {
	set := folder(t, 7, [2]int{20, 16})
	const parts, from, count = 3, 6, 7
	var batches, items [parts][]int
	for part := range parts {
		o := options()
		o.Part, o.Parts = part, parts
		s := mustLoader(t, set, o).Stream(context.Background(), from, count)
		for b, err := s.Next(); err != io.EOF; b, err = s.Next() {
			if err != nil {
				t.Fatal(err)
			}
			batches[part] = append(batches[part], b.Iteration)
		}
		s.Close()
		l, err := NewEvalLoader(set, o)
		if err != nil {
			t.Fatal(err)
		}
		e := l.Stream(context.Background(), 0)
		for one, err := e.Next(); err != io.EOF; one, err = e.Next() {
			if err != nil {
				t.Fatal(err)
			}
			items[part] = append(items[part], one.Index)
		}
		e.Close()
	}
	if want := [parts][]int{{6, 9, 12}, {7, 10}, {8, 11}}; !reflect.DeepEqual(batches, want) {
		t.Errorf("batches %v, want %v", batches, want)
	}
	if want := [parts][]int{{0, 3, 6}, {1, 4}, {2, 5}}; !reflect.DeepEqual(items, want) {
		t.Errorf("items %v, want %v", items, want)
	}
}

func TestErrorsComeInOrder(t *testing.T) {
	set := folder(t, 8, [2]int{20, 16})
	l := mustLoader(t, set, options("TRAIN.batch_size_per_gpu", "1", "TRAIN.workers", "4"))
	const bad = 5
	rec := set.Records[l.Draw(bad).Records[0]]
	write(t, filepath.Dir(rec.Image), filepath.Base(rec.Image), []byte("broken"))
	s := l.Stream(context.Background(), 0, 8)
	defer s.Close()
	for k := range bad {
		if b, err := s.Next(); err != nil || b.Iteration != k {
			t.Fatalf("iteration %d: %v", k, err)
		}
	}
	for range 2 { // the error stays
		_, err := s.Next()
		var e *DecodeError
		if !errors.As(err, &e) || e.File != rec.Image || !strings.Contains(err.Error(), "iteration 5") {
			t.Errorf("got %v", err)
		}
	}
}

func TestCancel(t *testing.T) {
	set := folder(t, 3, [2]int{20, 16})
	ctx, cancel := context.WithCancel(context.Background())
	s := mustLoader(t, set, options()).Stream(ctx, 0, 1<<30)
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %v", err)
	}
	ended := make(chan bool)
	go func() { s.Close(); s.Close(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("Close hangs")
	}
}

func TestPanicIsAnError(t *testing.T) {
	n := 0
	s := newStream(context.Background(), 2, 1, func() (func(context.Context) (int, error), bool) {
		n++
		return func(context.Context) (int, error) { panic("oops") }, n < 3
	})
	defer s.Close()
	if _, err := s.Next(); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("got %v", err)
	}
}

func TestMismatches(t *testing.T) {
	set := folder(t, 1, [2]int{20, 16})
	rec := set.Records[0]
	var size *SizeError
	wrong := rec
	wrong.Width = 21
	if _, err := NewReader(options()).Read(wrong); !errors.As(err, &size) || size.Other != "the list" || size.Width != 20 {
		t.Errorf("list: %v", err)
	}
	write(t, filepath.Dir(rec.Mask), filepath.Base(rec.Mask), pngBytes(t, image.NewGray(image.Rect(0, 0, 16, 20))))
	if _, err := NewReader(options()).Read(rec); !errors.As(err, &size) || size.Other != rec.Mask || size.OtherWidth != 16 || size.Image != rec.Image {
		t.Errorf("mask: %v", err)
	}
	if _, err := NewTrainLoader(&Set{Records: []Record{{Name: "x", Width: 1, Height: 1}}}, options()); err == nil {
		t.Error("a record without mask is accepted")
	}
	if _, err := NewTrainLoader(&Set{Records: []Record{{Name: "x", Mask: "m"}}}, options()); err == nil {
		t.Error("a record without size is accepted")
	}
	if _, err := NewTrainLoader(&Set{}, options()); err == nil {
		t.Error("an empty set is accepted")
	}
	o := options()
	o.Std[1] = 0
	if _, err := NewTrainLoader(set, o); err == nil {
		t.Error("a deviation of 0 is accepted")
	}
}

func TestCacheIsBounded(t *testing.T) {
	set := folder(t, 6, [2]int{20, 10})
	const each = 20 * 10 * 5
	o := options()
	o.CacheBytes = 3*each + each/2
	r := NewReader(o)
	for range 2 {
		for _, rec := range set.Records {
			if _, err := r.Read(rec); err != nil {
				t.Fatal(err)
			}
			if r.cache.used > o.CacheBytes || r.cache.recent.Len() > 3 || len(r.cache.byKey) != r.cache.recent.Len() {
				t.Fatalf("%d bytes, %d entries, %d keys", r.cache.used, r.cache.recent.Len(), len(r.cache.byKey))
			}
		}
	}
	last := set.Records[5]
	a, _ := r.Read(last)
	b, _ := r.Read(last)
	if a.Picture != b.Picture {
		t.Error("the last record was decoded twice")
	}
	if r.cache.used != 3*each {
		t.Errorf("%d bytes in use, want %d", r.cache.used, 3*each)
	}
}

// Sizes that would enlarge a picture beyond what may be decoded are refused.
func TestEnlargedBeyondBounds(t *testing.T) {
	set, o := folder(t, 2, [2]int{20, 10}), options("DATASET.imgSizes", "(4096,)", "DATASET.imgMaxSize", "65536", "DATASET.max_pixels", "33554431")
	eval, err := NewEvalLoader(set, o)
	if err != nil {
		t.Fatal(err)
	}
	_, trained := mustLoader(t, set, o).Batch(0)
	_, evaluated := eval.Item(1)
	for _, err := range []error{trained, evaluated} {
		if err == nil || !strings.Contains(err.Error(), ".png: a short side of 4096 makes it 8192 x 4096 pixels, more than the 33554431 of DATASET.max_pixels; lower DATASET.imgSizes") {
			t.Errorf("got %v", err)
		}
	}
}

func TestEvalItems(t *testing.T) {
	set := folder(t, 3, [2]int{40, 30}, [2]int{30, 50})
	set.Records[2].Mask = ""
	o := options("DATASET.imgSizes", "(20, 45)")
	l, err := NewEvalLoader(set, o)
	if err != nil {
		t.Fatal(err)
	}
	s := l.Stream(context.Background(), 0)
	defer s.Close()
	for i := range 3 {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		// 40x30: 20/30 -> 26x20 -> 32x24; 60 long at most: 45/30 -> 60x45 -> 64x48.
		// 30x50: 20/30 -> 20x33 -> 24x40; min(45/30, 60/50) -> 36x60 -> 40x64.
		want := [][2]int{{32, 24}, {64, 48}}
		if i == 1 {
			want = [][2]int{{24, 40}, {40, 64}}
		}
		if e.Index != i || e.Record.Name != set.Records[i].Name || len(e.Inputs) != 2 {
			t.Fatalf("item %d: %+v", i, e.Record)
		}
		for k, in := range e.Inputs {
			if in.W != want[k][0] || in.H != want[k][1] || len(in.Image) != 3*in.W*in.H {
				t.Errorf("item %d, size %d: %d x %d with %d values, want %v", i, k, in.W, in.H, len(in.Image), want[k])
			}
			var r resizer
			small := r.rgb(nil, e.Picture.Pix, e.Picture.Width, e.Picture.Height, in.W, in.H)
			if v := (float32(small[3]) / 255) - o.Mean[0]; in.Image[1] != v/o.Std[0] {
				t.Errorf("item %d, size %d: second red value %v, want %v", i, k, in.Image[1], v/o.Std[0])
			}
		}
		if i == 2 {
			if e.Labels != nil {
				t.Error("labels without a mask")
			}
		} else {
			m, err := DecodeMask(set.Records[i].Mask, plenty, o.Labels)
			if err != nil || !slices.Equal(e.Labels, m.Labels(nil)) {
				t.Errorf("item %d: labels differ (%v)", i, err)
			}
		}
		e.Release()
	}
	if _, err := s.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}
