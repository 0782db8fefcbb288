package data

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/train/config"
)

// coordinates is a picture whose red is x and green is y, and a mask whose
// class tells the same place: x in blocks of 8 and y in blocks of 8, 16 blocks
// a row.
func coordinates(w, h int) Sample {
	p, m := NewPicture(w, h), &Mask{w, h, make([]uint16, w*h)}
	for y := range h {
		for x := range w {
			put(p, x, y, uint8(x), uint8(y), 255)
			m.Pix[y*w+x] = uint16(1 + x/8 + 16*(y/8))
		}
	}
	return Sample{p, m}
}

func steps(t testing.TB, list string) []config.Step {
	t.Helper()
	c, err := config.Parse(nil, "", "DATASET.augment", list)
	if err != nil {
		t.Fatal(err)
	}
	return c.Dataset.Augment
}

// augmented runs steps on a sample that is to be resized to (h,w).
func augmented(t testing.TB, s Sample, w, h int, list string, record, pass int) *canvas {
	t.Helper()
	o := options("DATASET.num_class", "300")
	o.Augment = steps(t, list)
	a := augmenter{opt: &o}
	c := new(canvas)
	c.start(s, w, h)
	if err := a.run(c, false, record, pass); err != nil {
		t.Fatal(err)
	}
	if len(c.pix.now) != 3*c.w*c.h || len(c.mask.now) != c.w*c.h {
		t.Fatalf("%s: %d x %d with %d colours and %d labels", list, c.w, c.h, len(c.pix.now), len(c.mask.now))
	}
	return c
}

// A pixel's colour tells where it comes from, and so does its label: after
// every geometric step both tell the same place.
func TestPictureAndMaskMoveTogether(t *testing.T) {
	sample := coordinates(128, 96)
	for _, list := range []string{
		"[]",
		"[{name: scale, min: 0.4, max: 2.5}]",
		"[{name: crop, size: [40, 56]}]",
		"[{name: flip, p: 1}]",
		"[{name: rotate, degrees: 35}]",
		"[{name: rotate, degrees: 180}, {name: crop, size: 48}]",
		"[{name: scale}, {name: crop, size: [64, 64], category_max_ratio: 0.5}, {name: flip}, {name: rotate, degrees: 10}]",
	} {
		inside, all := 0, 0
		for record := range 20 {
			c := augmented(t, sample, 128, 96, list, record, 0)
			for i, label := range c.mask.now {
				all++
				if label == 0 {
					continue
				}
				inside++
				x, y := float64(c.pix.now[3*i]), float64(c.pix.now[3*i+1])
				bx, by := float64((label-1)%16), float64((label-1)/16)
				// The picture is interpolated, the mask the nearest pixel,
				// which is up to half a pixel away in either direction; one
				// more for the rounding of colours, and for resampling wider
				// than a pixel along the border where nothing is beyond.
				if dx, dy := outsideBlock(x, bx), outsideBlock(y, by); dx > 1.5 || dy > 1.5 {
					t.Fatalf("%s, record %d: pixel %d,%d shows %v,%v and is labelled block %v,%v", list, record, i%c.w, i/c.w, x, y, bx, by)
				}
			}
		}
		if inside < all/2 {
			t.Errorf("%s: only %d of %d pixels are labelled", list, inside, all)
		}
	}
}

// outsideBlock is how far a coordinate is from block number b of eight.
func outsideBlock(v, b float64) float64 { return math.Max(0, math.Max(8*b-v, v-(8*b+7))) }

// A whole turn's parts are known to the pixel, and what comes from outside is
// ignored and of the mean colour.
func TestRotateByKnownAngles(t *testing.T) {
	sample := coordinates(9, 9)
	for _, test := range []struct {
		angle float64
		from  func(x, y int) (int, int)
	}{
		{0, func(x, y int) (int, int) { return x, y }},
		{math.Pi / 2, func(x, y int) (int, int) { return 8 - y, x }},
		{math.Pi, func(x, y int) (int, int) { return 8 - x, 8 - y }},
	} {
		c := new(canvas)
		c.start(sample, 9, 9)
		c.rotate(test.angle, [3]uint8{})
		for y := range 9 {
			for x := range 9 {
				fx, fy := test.from(x, y)
				if got := c.pix.now[3*(9*y+x):]; int(got[0]) != fx || int(got[1]) != fy {
					t.Fatalf("angle %v: %d,%d comes from %d,%d, want %d,%d", test.angle, x, y, got[0], got[1], fx, fy)
				}
			}
		}
	}
	c := new(canvas)
	c.start(sample, 9, 9)
	c.rotate(math.Pi/4, [3]uint8{1, 2, 3})
	if c.mask.now[0] != 0 || !reflect.DeepEqual(c.pix.now[:3], []uint8{1, 2, 3}) {
		t.Errorf("a corner from outside has label %d and colour %v", c.mask.now[0], c.pix.now[:3])
	}
}

func TestCropAvoidsOneCategory(t *testing.T) {
	// The right quarter is of class 2, the rest of class 1.
	s := Sample{NewPicture(100, 40), &Mask{100, 40, make([]uint16, 4000)}}
	for i := range s.Mask.Pix {
		s.Mask.Pix[i] = 1
		if i%100 >= 75 {
			s.Mask.Pix[i] = 2
		}
	}
	uniform := func(list string) (count int) {
		for record := range 200 {
			c := augmented(t, s, 100, 40, list, record, 0)
			if c.w != 20 || c.h != 20 {
				t.Fatalf("cropped to %d x %d", c.w, c.h)
			}
			a := augmenter{opt: &Options{Labels: Labels{Classes: 2}}}
			if a.largestShare(c, 0, 0, 20, 20) > 0.75 {
				count++
			}
		}
		return count
	}
	// A crop has less than three quarters of one class at 9 of 81 places:
	// 200 * 72/81 = 178 are worse without the cap, five deviations being 22;
	// ten tries in a row fail with 0.31, 62 and 33.
	if n := uniform("[{name: crop, size: 20}]"); n < 156 || n > 200 {
		t.Errorf("%d of 200 crops are of one category without a cap", n)
	}
	if n := uniform("[{name: crop, size: 20, category_max_ratio: 0.75}]"); n < 29 || n > 95 {
		t.Errorf("%d of 200 crops are of one category with a cap", n)
	}
	// An entirely ignored picture ends all the same.
	clear(s.Mask.Pix)
	augmented(t, s, 100, 40, "[{name: crop, size: 20, category_max_ratio: 0.75}]", 0, 0)
}

func TestJitterKnownColours(t *testing.T) {
	for _, test := range []struct {
		jitter jitter
		in     []uint8
		want   []uint8
	}{
		{jitter{1, 1, 1, 0}, []uint8{1, 2, 3, 200, 100, 0}, []uint8{1, 2, 3, 200, 100, 0}},
		{jitter{1.5, 1, 1, 0}, []uint8{10, 20, 200}, []uint8{15, 30, 255}},
		// Mean grey of the two pixels: (0 + 200)/2.
		{jitter{1, 0.5, 1, 0}, []uint8{0, 0, 0, 200, 200, 200}, []uint8{50, 50, 50, 150, 150, 150}},
		// 0.299*255 = 76.2
		{jitter{1, 1, 0, 0}, []uint8{255, 0, 0}, []uint8{76, 76, 76}},
		{jitter{1, 1, 1, 1. / 3}, []uint8{200, 50, 50, 90, 90, 90}, []uint8{50, 200, 50, 90, 90, 90}},
		{jitter{1, 1, 1, -1. / 3}, []uint8{200, 50, 50}, []uint8{50, 50, 200}},
		{jitter{1, 1, 1, 0.5}, []uint8{0, 100, 200}, []uint8{200, 100, 0}},
	} {
		got := make([]uint8, len(test.in))
		test.jitter.apply(got, test.in)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%+v of %v: %v, want %v", test.jitter, test.in, got, test.want)
		}
	}
}

// Blurring a point gives the Gaussian, and keeps an even picture as it is.
func TestBlurIsGaussian(t *testing.T) {
	var k blurrer
	const n, sigma = 31, 2.0
	src, dst := make([]uint8, 3*n*n), make([]uint8, 3*n*n)
	src[3*(n*15+15)] = 255
	k.apply(dst, src, n, n, sigma)
	total := 0.0
	for d := -6; d <= 6; d++ {
		total += math.Exp(-float64(d*d) / (2 * sigma * sigma))
	}
	for y := range n {
		for x := range n {
			want := 0.0
			if dx, dy := x-15, y-15; max(dx, -dx, dy, -dy) <= 6 {
				want = 255 * math.Exp(-float64(dx*dx+dy*dy)/(2*sigma*sigma)) / (total * total)
			}
			if got := float64(dst[3*(n*y+x)]); math.Abs(got-want) > 0.501 {
				t.Fatalf("%d,%d: %v, want %v", x, y, got, want)
			}
		}
	}
	for i := range src {
		src[i] = 130
	}
	k.apply(dst, src, n, n, 3.3)
	if !reflect.DeepEqual(dst, src) {
		t.Error("an even picture is changed")
	}
}

func TestNoiseIsNormal(t *testing.T) {
	src := make([]uint8, 3*20000+1)
	for i := range src {
		src[i] = 128
	}
	dst := make([]uint8, len(src))
	addNoise(dst, src, 20, generator(1, streamAugment, 2))
	var sum, square, beyond float64
	for _, v := range dst {
		d := float64(v) - 128
		sum, square = sum+d, square+d*d
		if math.Abs(d) > 40 {
			beyond++
		}
	}
	n := float64(len(src))
	// Five standard errors: 20/sqrt(n) of the mean, 20/sqrt(2n) of the
	// deviation; 4.55 % lie beyond two deviations (4.29 % beyond 40.5).
	if mean, std := sum/n, math.Sqrt(square/n); math.Abs(mean) > 0.41 || math.Abs(std-20) > 0.3 || math.Abs(beyond/n-0.0429) > 0.0045 {
		t.Errorf("mean %v, deviation %v, %v beyond two deviations", mean, std, beyond/n)
	}
}

const allSteps = "[{name: scale, min: 0.7, max: 1.6}, {name: crop, size: [24, 32], category_max_ratio: 0.75}, {name: flip}, " +
	"{name: rotate, degrees: 10, p: 0.5}, {name: color, brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 0.1}, {name: blur, sigma: [0.1, 1], p: 0.5}, {name: noise, std: [0, 0.05]}]"

// Batches are the same however many goroutines make them and wherever a run
// begins, and a picture is the same in a batch of another size.
func TestAugmentationFollowsTheSeed(t *testing.T) {
	set := folder(t, 9, [2]int{40, 30}, [2]int{30, 44}, [2]int{33, 33})
	with := func(change ...string) Options {
		return options(append([]string{"DATASET.augment", allSteps}, change...)...)
	}
	const iterations = 30
	var want []copied
	plain := mustLoader(t, set, with())
	for k := range iterations {
		b, err := plain.Batch(k)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, snapshot(b))
		if b.H != 24 || b.W != 32 {
			t.Fatalf("batch %d is %d x %d: a crop decides the size", k, b.H, b.W)
		}
	}
	for from, change := range map[int][]string{
		0:  {"TRAIN.workers", "4", "TRAIN.prefetch", "3"},
		17: {"TRAIN.workers", "3", "DATASET.cache_mb", "1"},
	} {
		s := mustLoader(t, set, with(change...)).Stream(context.Background(), from, iterations-from)
		for k := from; k < iterations; k++ {
			b, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if got := snapshot(b); !reflect.DeepEqual(got, want[k]) {
				t.Errorf("%v: batch %d differs", change, k)
			}
			b.Release()
		}
		s.Close()
	}
	other, err := mustLoader(t, set, with("TRAIN.seed", "1")).Batch(0)
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(snapshot(other), want[0]) {
		t.Error("another seed gives the same batch")
	}
	// The record's number and its pass alone decide.
	seen := map[string]string{}
	for _, size := range []string{"2", "3"} {
		l := mustLoader(t, set, with("TRAIN.batch_size_per_gpu", size, "DATASET.imgSizes", "(30,)"))
		for k := range 6 {
			d := l.Draw(k)
			for i := range d.Records {
				s, err := l.Sample(d, i)
				if err != nil {
					t.Fatal(err)
				}
				key, value := fmt.Sprint(d.Records[i], d.Passes[i]), fmt.Sprint(s.Picture.Pix, s.Mask.Pix)
				if before, ok := seen[key]; ok && before != value {
					t.Errorf("record and pass %s differ with batches of %s", key, size)
				}
				seen[key] = value
			}
		}
	}
	// Passes differ.
	l := mustLoader(t, set, with("DATASET.imgSizes", "(30,)"))
	passes := map[string]bool{}
	for k := range 200 {
		d := l.Draw(k)
		for i, at := range d.Records {
			if at == 0 {
				s, err := l.Sample(d, i)
				if err != nil {
					t.Fatal(err)
				}
				passes[fmt.Sprint(s.Picture.Pix)] = true
			}
		}
	}
	if len(passes) < 40 {
		t.Errorf("one picture came in %d variants in 44 passes", len(passes))
	}
}

// Reading a sample does not change what the cache holds of it.
func TestAugmentationLeavesTheCache(t *testing.T) {
	set := folder(t, 1, [2]int{24, 24})
	o := options("DATASET.augment", strings.ReplaceAll(allSteps, "0.5}", "1}"), "DATASET.imgSizes", "(24,)", "TRAIN.batch_size_per_gpu", "1")
	l := mustLoader(t, set, o)
	before, err := NewReader(o).Read(set.Records[0])
	if err != nil {
		t.Fatal(err)
	}
	for k := range 5 {
		if _, err := l.Batch(k); err != nil {
			t.Fatal(err)
		}
	}
	after, err := l.reader.Read(set.Records[0])
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before, after) {
		t.Error("the cached picture or mask is changed")
	}
}

func TestScaleBeyondMaxPixels(t *testing.T) {
	set := folder(t, 2, [2]int{40, 30})
	l := mustLoader(t, set, options("DATASET.augment", "[{name: scale, min: 16, max: 16}]", "DATASET.max_pixels", "2000"))
	if _, err := l.Batch(0); err == nil || !strings.Contains(err.Error(), "DATASET.max_pixels") || !strings.Contains(err.Error(), ".png") {
		t.Errorf("got %v", err)
	}
}
