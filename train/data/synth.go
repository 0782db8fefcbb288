package data

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/graft-onnx/graft/models"
)

// SynthOptions says what Synthesize generates.
type SynthOptions struct {
	Train, Val    int // pictures
	Width, Height int // pixels
	Seed          uint64
}

// SynthFiles is where Synthesize put things. Paths in the lists are relative
// to Root, masks follow the reference's convention (class + 1).
type SynthFiles struct {
	Root      string
	ListTrain string
	ListVal   string
	Classes   string
}

// SynthClasses are the classes of generated pictures.
func SynthClasses() models.Classes {
	return models.Classes{
		{Name: "background", Label: 1, Colour: color.RGBA{70, 70, 80, 255}},
		{Name: "disc", Label: 2, Colour: color.RGBA{220, 60, 50, 255}},
		{Name: "square", Label: 3, Colour: color.RGBA{60, 130, 220, 255}},
		{Name: "triangle", Label: 4, Colour: color.RGBA{80, 180, 70, 255}},
		{Name: "stripes", Label: 5, Colour: color.RGBA{235, 190, 50, 255}},
	}
}

// Synthesize writes a small data set into root: anti-aliased shapes with
// noise on textured backgrounds, and their exact masks (the class at each
// pixel's centre). Picture i is a function of size, seed and i alone.
func Synthesize(ctx context.Context, root string, o SynthOptions) (*SynthFiles, error) {
	if o.Train < 1 || o.Val < 0 || o.Width < 16 || o.Height < 16 || o.Width > 4096 || o.Height > 4096 {
		return nil, fmt.Errorf("data: cannot generate %d + %d pictures of %d x %d pixels: at least one, 16 to 4096 pixels a side",
			o.Train, o.Val, o.Width, o.Height)
	}
	out := &SynthFiles{root, filepath.Join(root, "train.odgt"), filepath.Join(root, "val.odgt"), filepath.Join(root, "classes.csv")}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	lists := map[string][]Record{}
	for _, part := range []struct {
		split string
		first int
		count int
	}{{"train", 0, o.Train}, {"val", o.Train, o.Val}} {
		images, masks := filepath.Join(root, "images", part.split), filepath.Join(root, "masks", part.split)
		for _, dir := range []string{images, masks} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, fmt.Errorf("data: %w", err)
			}
		}
		for i := range part.count {
			name := fmt.Sprintf("%05d.png", i)
			rec := Record{Image: filepath.Join(images, name), Mask: filepath.Join(masks, name), Width: o.Width, Height: o.Height}
			lists[part.split] = append(lists[part.split], rec)
			g.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				picture, mask := SynthPicture(o, part.first+i)
				if err := writePNG(rec.Image, picture); err != nil {
					return err
				}
				return writePNG(rec.Mask, mask)
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := SynthClasses().WriteCSV(&b); err != nil {
		return nil, err
	}
	if err := os.WriteFile(out.Classes, b.Bytes(), 0o644); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	for split, path := range map[string]string{"train": out.ListTrain, "val": out.ListVal} {
		var b bytes.Buffer
		if err := WriteList(&b, lists[split], root); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
	}
	return out, nil
}

func writePNG(path string, img image.Image) error {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return fmt.Errorf("data: %s: %w", path, err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

// shape is one drawn thing. inside is asked in picture coordinates.
type shape struct {
	class      int
	x, y, size float64 // centre, half extent
	cos, sin   float64 // of its turn
	base, alt  [3]float64
	period     float64 // of the stripes
}

// inside reports whether a point lies in the shape, and its colour there.
func (s *shape) inside(px, py float64) (bool, *[3]float64) {
	dx, dy := px-s.x, py-s.y
	u, v := (dx*s.cos+dy*s.sin)/s.size, (dy*s.cos-dx*s.sin)/s.size // in half extents
	switch s.class {
	case 1:
		return u*u+v*v < 1, &s.base
	case 2:
		return math.Abs(u) < 0.85 && math.Abs(v) < 0.85, &s.base
	case 3: // equilateral, point up before turning
		return v < 0.6 && v > 1.732*math.Abs(u)-1, &s.base
	case 4:
		in := math.Abs(u) < 1.2 && math.Abs(v) < 0.7
		if math.Mod(u+8, s.period) < s.period/2 {
			return in, &s.base
		}
		return in, &s.alt
	}
	return false, nil
}

// SynthPicture draws picture i of a generated set and its mask.
func SynthPicture(o SynthOptions, i int) (*Picture, *image.Gray) {
	g := generator(o.Seed, streamSynth, uint64(i))
	between := func(low, high float64) float64 { return low + (high-low)*unit(g) }
	w, h := o.Width, o.Height
	short := float64(min(w, h))

	// A soft background: a gradient and three waves.
	tint := [3]float64{between(60, 150), between(60, 150), between(60, 150)}
	var wave [3][4]float64 // frequency in x and y, phase, height
	for k := range wave {
		wave[k] = [4]float64{between(-20, 20) / short, between(-20, 20) / short, between(0, 2*math.Pi), between(4, 14)}
	}
	slope := [2]float64{between(-40, 40) / float64(w), between(-40, 40) / float64(h)}

	shapes := make([]shape, 3+below(g, 4))
	for k := range shapes {
		turn := between(0, 2*math.Pi)
		s := &shapes[k]
		*s = shape{class: 1 + below(g, 4), x: between(0, float64(w)), y: between(0, float64(h)),
			size: between(0.12, 0.26) * short, cos: math.Cos(turn), sin: math.Sin(turn), period: between(0.25, 0.45)}
		s.base, s.alt = shapeColours(s.class, between)
	}

	p := NewPicture(w, h)
	mask := image.NewGray(image.Rect(0, 0, w, h))
	const fine = 3 // samples per pixel and side
	for y := range h {
		for x := range w {
			fx, fy := float64(x), float64(y)
			back := slope[0]*(fx-float64(w)/2) + slope[1]*(fy-float64(h)/2)
			for _, k := range wave {
				back += k[3] * math.Sin(k[0]*fx+k[1]*fy+k[2])
			}
			var sum [3]float64
			for sub := range fine * fine {
				px, py := fx+(float64(sub%fine)+0.5)/fine, fy+(float64(sub/fine)+0.5)/fine
				_, c := top(shapes, px, py)
				for ch := range sum {
					if c == nil {
						sum[ch] += tint[ch] + back
					} else {
						sum[ch] += c[ch] + back/3
					}
				}
			}
			class, _ := top(shapes, fx+0.5, fy+0.5)
			mask.Pix[y*mask.Stride+x] = uint8(class + 1)
			for ch := range sum {
				noise := 9 * (unit(g) + unit(g) + unit(g) - 1.5)
				p.Pix[3*(y*w+x)+ch] = uint8(min(max(sum[ch]/(fine*fine)+noise+0.5, 0), 255))
			}
		}
	}
	return p, mask
}

// top returns class and colour of the last drawn shape at a point, class 0
// and nil on the background.
func top(shapes []shape, x, y float64) (int, *[3]float64) {
	for k := len(shapes) - 1; k >= 0; k-- {
		if in, c := shapes[k].inside(x, y); in {
			return shapes[k].class, c
		}
	}
	return 0, nil
}

// shapeColours draws a class's colours: a hue of its own with some spread, so
// that a small network learns from colour first and form later.
func shapeColours(class int, between func(low, high float64) float64) (base, alt [3]float64) {
	centre := [5][3]float64{{}, {205, 75, 65}, {65, 120, 205}, {85, 175, 80}, {215, 180, 70}}[class]
	light := between(0.8, 1.15)
	for ch := range base {
		base[ch] = centre[ch]*light + between(-30, 30)
		alt[ch] = base[ch] * 0.55
	}
	return base, alt
}
