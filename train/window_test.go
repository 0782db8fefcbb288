package train

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/data"
)

func TestOrigins(t *testing.T) {
	for _, test := range []struct {
		side, size, m int
		overlap       float64
		want          []int
	}{
		{64, 64, 8, 0.5, []int{0}},
		{64, 32, 8, 0, []int{0, 32}},
		{72, 32, 8, 0, []int{0, 32, 40}},
		{96, 32, 8, 0.5, []int{0, 16, 32, 48, 64}},
		{40, 32, 8, 0.99, []int{0, 8}},
	} {
		if got := origins(test.side, test.size, test.m, test.overlap); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v", test, got)
		}
	}
	if got := tent(5); !slices.Equal(got, []float32{1. / 3, 2. / 3, 1, 2. / 3, 1. / 3}) {
		t.Errorf("tent %v", got)
	}
}

// predictorFor is an untrained network that tells pixels apart, and pictures of
// a generated set.
func predictorFor(t *testing.T) (*Predictor, *data.Set, data.Options) {
	t.Helper()
	files, err := data.Synthesize(t.Context(), t.TempDir(), data.SynthOptions{Train: 1, Val: 2, Width: 90, Height: 70, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	set, err := data.OpenList(files.ListVal, files.Root)
	if err != nil {
		t.Fatal(err)
	}
	m, err := models.New(models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1", Classes: 5, Seed: 4, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	// Weights as drawn say about the same of every pixel.
	for _, w := range m.GetGraph().GetInitializer() {
		if dims := onnx.Dims(w); len(dims) == 4 && dims[0] == 5 {
			values, err := onnx.Floats(w)
			if err != nil {
				t.Fatal(err)
			}
			for i := range values {
				values[i] *= 3e4
			}
			if err := onnx.SetFloats(w, values); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, err := NewPredictor(m, native.New(2))
	if err != nil {
		t.Fatal(err)
	}
	opt := data.Options{ImgSizes: []int{64, 96}, ImgMaxSize: 200, PaddingConstant: 8, SegmDownsamplingRate: 8, BatchSize: 1,
		Std: [3]float32{0.2, 0.2, 0.2}, Mean: [3]float32{0.4, 0.4, 0.4}, Labels: data.Labels{Classes: 5, Shift: 1, Index: -1}, MaxPixels: 1 << 20}
	return p, set, opt
}

func item(t *testing.T, set *data.Set, opt data.Options) *data.EvalItem {
	t.Helper()
	l, err := data.NewEvalLoader(set, opt)
	if err != nil {
		t.Fatal(err)
	}
	one, err := l.Item(0)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// rowsOf gathers what the windows of all inputs say of a picture, (C,H,W).
func rowsOf(t *testing.T, p *Predictor, it *data.EvalItem, m int) []float32 {
	t.Helper()
	h, w := it.Picture.Height, it.Picture.Width
	out := make([]float32, p.Classes*h*w)
	for _, in := range it.Inputs {
		s := p.newStrip(in, m)
		sum := make([]float32, p.Classes*w)
		for y := range h {
			clear(sum)
			if err := s.addRow(sum, y, h, w); err != nil {
				t.Fatal(err)
			}
			for c := range p.Classes {
				for x, v := range sum[c*w : (c+1)*w] {
					out[(c*h+y)*w+x] += v / float32(len(it.Inputs))
				}
			}
			if len(s.rows) > s.h+1 {
				t.Fatalf("%d rows are held with a window of %d", len(s.rows), s.h)
			}
		}
	}
	return out
}

// Windows as large as the picture say what the whole picture says, but for
// enlarging in two steps; at the picture's own size they say exactly it.
func TestWindowOfTheWholePicture(t *testing.T) {
	p, set, opt := predictorFor(t)
	opt.ImgSizes = []int{72} // 90x70 becomes 92x72, stretched to 96x72
	p.Window = Window{Height: 1000, Width: 1000}
	it := item(t, set, opt)
	if p.Window.needed(it) {
		t.Error("a window larger than the picture is needed")
	}
	want, err := p.Probabilities(it)
	if err != nil {
		t.Fatal(err)
	}
	far := 0.0
	for i, v := range rowsOf(t, p, it, 8) {
		far = max(far, math.Abs(float64(v-want[i])))
	}
	t.Logf("probabilities from %v to %v, in two steps off by %v", slices.Min(want), slices.Max(want), far)
	if slices.Max(want)-slices.Min(want) < 0.5 {
		t.Error("the network says the same of every pixel")
	}
	if far > 0.005 {
		t.Errorf("probabilities differ by %v", far)
	}
	it.Picture = data.NewPicture(96, 72) // the input's size
	if want, err = p.Probabilities(it); err != nil {
		t.Fatal(err)
	}
	for i, v := range rowsOf(t, p, it, 8) {
		if math.Abs(float64(v-want[i])) > 1e-6 {
			t.Fatalf("element %d: %v, whole %v", i, v, want[i])
		}
	}
}

// The sum over classes is 1 wherever windows meet, and each window's middle is
// that of the window alone.
func TestWindowsAreAveraged(t *testing.T) {
	p, set, opt := predictorFor(t)
	p.Window = Window{Height: 32, Width: 40, Overlap: 0.4}
	it := item(t, set, opt)
	if !p.Window.needed(it) {
		t.Fatal("no window is needed")
	}
	h, w := it.Picture.Height, it.Picture.Width
	got := rowsOf(t, p, it, 8)
	for i := range h * w {
		total := 0.0
		for c := range p.Classes {
			total += float64(got[c*h*w+i])
		}
		if math.Abs(total-1) > 1e-5 {
			t.Fatalf("pixel %d: probabilities sum to %v", i, total)
		}
	}
	// By hand, at the input's own size: two windows side by side.
	in := data.Scaled{H: 32, W: 56, Image: it.Inputs[0].Image[:3*32*56]}
	s := p.newStrip(in, 8)
	if !slices.Equal(s.xs, []int{0, 16}) || !slices.Equal(s.ys, []int{0}) {
		t.Fatalf("windows at %v, %v", s.xs, s.ys)
	}
	var parts [2][]float32
	for k, x0 := range s.xs {
		part := make([]float32, 3*32*40)
		for row := range 3 * 32 {
			copy(part[row*40:(row+1)*40], in.Image[row*56+x0:])
		}
		parts[k] = make([]float32, p.Classes*32*40)
		if err := p.add(parts[k], true, part, 32, 40, 32, 40); err != nil {
			t.Fatal(err)
		}
	}
	sum := make([]float32, p.Classes*56)
	for y := range 32 {
		clear(sum)
		if err := s.addRow(sum, y, 32, 56); err != nil {
			t.Fatal(err)
		}
		for c := range p.Classes {
			for x := range 56 {
				var total, weight float64
				for k, x0 := range s.xs {
					if j := x - x0; j >= 0 && j < 40 {
						v := float64(min(j+1, 40-j))
						total += v * float64(parts[k][(c*32+y)*40+j])
						weight += v
					}
				}
				if d := math.Abs(total/weight - float64(sum[c*56+x])); d > 1e-6 {
					t.Fatalf("class %d at %d,%d: off by %v", c, x, y, d)
				}
			}
		}
	}
}

// A mirrored picture gives the mirrored result with Flip, and only with it.
func TestFlipIsSymmetric(t *testing.T) {
	p, set, opt := predictorFor(t)
	for _, window := range []Window{{}, {Height: 40, Width: 40, Overlap: 0.25}} {
		for _, flip := range []bool{false, true} {
			p.Flip, p.Window = flip, window
			it := item(t, set, opt)
			probabilities := func() []float32 {
				if window.Height > 0 {
					return rowsOf(t, p, it, 8)
				}
				out, err := p.Probabilities(it)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			plain := probabilities()
			for i, in := range it.Inputs {
				mirrored := make([]float32, len(in.Image))
				mirror(mirrored, in.Image, in.W)
				it.Inputs[i].Image = mirrored
			}
			back := make([]float32, len(plain))
			mirror(back, probabilities(), it.Picture.Width)
			far := 0.0
			for i, v := range plain {
				far = max(far, math.Abs(float64(v-back[i])))
			}
			// Windows of 40 in 128 columns lie mirrored themselves, in 88 not.
			symmetric := flip && window.Height == 0
			if symmetric && far > 1e-5 || !flip && far < 1e-4 {
				t.Errorf("flip %v, window %v: off by %v", flip, window, far)
			}
		}
	}
}

// Predict takes windows where the picture is larger, with the classes of what
// they say.
func TestPredictByWindows(t *testing.T) {
	p, set, opt := predictorFor(t)
	p.Window = Window{Height: 48, Width: 48, Overlap: 0.25}
	seen := 0
	err := Predictors{p}.Predict(context.Background(), set, opt, func(r *Prediction) error {
		seen++
		want := Classify(rowsOf(t, p, r.Item, opt.PaddingConstant), p.Classes)
		differ := 0
		for i, c := range r.Classes {
			if c != want[i] {
				differ++
			}
		}
		if len(r.Classes) != 90*70 || differ > 5 { // sums in another order may tie
			t.Errorf("%d classes, %d differ", len(r.Classes), differ)
		}
		return nil
	})
	if err != nil || seen != 2 {
		t.Errorf("%d pictures, %v", seen, err)
	}
}
