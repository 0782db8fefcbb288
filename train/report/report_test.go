package report

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/history"
	"github.com/graft-onnx/graft/train/metric"
)

var two = models.Classes{{Name: "sky <b>", Label: 1, Colour: color.RGBA{10, 20, 30, 255}}, {Name: "road", Label: 2, Colour: color.RGBA{200, 100, 50, 255}}}

func example(t *testing.T) *Report {
	t.Helper()
	h := &history.History{}
	for i := range 1500 {
		r := history.Record{Iteration: i, Loss: 3 * math.Exp(-float64(i)/300), Accuracy: 1 - math.Exp(-float64(i)/200), LREncoder: 0.02, LRDecoder: 0.04}
		if i == 700 {
			r.Loss = math.NaN()
		}
		h.Records = append(h.Records, r)
	}
	h.Evaluations = []history.Evaluation{{Iteration: 750, Accuracy: 0.8, MeanIoU: 0.4, MeanIoUPresent: 0.5}, {Iteration: 1500, Accuracy: 0.9, MeanIoU: 0.6, MeanIoUPresent: math.NaN()}}
	p := data.NewPicture(3, 2)
	c := metric.NewConfusion(2)
	if err := c.Add([]int32{0, 0, 0, 0}, []int32{0, 0, -1, 0}); err != nil {
		t.Fatal(err)
	}
	s := c.Summary()
	set := &data.Report{Records: 2, Sizes: map[string]int{"3x2": 1, "4x4": 1}, MinSize: [2]int{3, 2}, MaxSize: [2]int{4, 4}, Ignored: 0.25,
		Classes: []data.ClassCount{{Class: 0, Share: 0.75, Files: 2}, {Class: 1, Share: 0.25, Files: 1}}, Mean: [3]float64{0.5, 0.25, 0.125}}
	return &Report{Title: "run <one>", Confusion: c, Data: []DataSet{{"training", 9, set}, {"validation", 2, set}}, Command: []string{"graft", "train", "--cfg", "my file.yaml", "it's"},
		Result: []Fact{{"model", "deploy.onnx"}}, Environment: NewEnvironment(nil, "v1", "native").Facts(), Config: "DIR: \"<x>\"\n", Classes: two, History: h, Summary: &s,
		Samples: []Sample{{"a&b.png", p, []int32{0, 1, 1, -1, 0, 0}, []int32{0, 1, 0, 1, 0, 0}}, {Name: "no truth", Picture: p, Prediction: []int32{0, 0, 0, 1, 1, 1}}}}
}

func TestReportIsSelfContained(t *testing.T) {
	var b bytes.Buffer
	if err := example(t).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, part := range []string{
		"<title>run &lt;one&gt;</title>", "graft train --cfg &#39;my file.yaml&#39; &#39;it&#39;\\&#39;&#39;s&#39;", "deploy.onnx",
		"DIR: &#34;&lt;x&gt;&#34;", "sky &lt;b&gt;", "background:#c86432", "a&amp;b.png: 80.00 % of the pixels right",
		">n/a<", "Training loss; all, mean of 30 from 2.998 to ", "<th scope=\"row\">sizes</th><td class=\"text\">2, from 3 × 2 to 4 × 4</td>",
		"9; what follows is of 2 of them, evenly spread", ">0.500, 0.250, 0.125<", "<td>75.00 %</td>", "width:75.0%", "Learning rate", "mean IoU of the 1 classes present",
	} {
		if !strings.Contains(html, part) {
			t.Errorf("%q is missing", part)
		}
	}
	if n := strings.Count(html, "<svg"); n != 5 {
		t.Errorf("%d drawings, want 4 curves and a matrix", n)
	}
	if strings.Contains(html, "ZgotmplZ") {
		t.Error("the template refused a value")
	}
	// Nothing is fetched from anywhere; XML namespaces are names, not links.
	for _, m := range regexp.MustCompile(`(?i)(src|href|url)\s*[=(]\s*["']?([^"'\s>)]*)`).FindAllStringSubmatch(html, -1) {
		if !strings.HasPrefix(m[2], "data:image/png;base64,") && !strings.HasPrefix(m[2], "#") && m[2] != "data:," {
			t.Errorf("a link leads out: %s", m[0])
		}
	}
	images := regexp.MustCompile(`data:image/png;base64,([^"]+)`).FindAllStringSubmatch(html, -1)
	if len(images) != 2 {
		t.Fatalf("%d pictures, want 2", len(images))
	}
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(images[0][1], "&#43;", "+"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil || img.Bounds().Dx() != 3*3+2*4 || img.Bounds().Dy() != 2 {
		t.Errorf("picture %v, %v", img.Bounds(), err)
	}
}

// outline lists the elements that structure a page, in their order.
func outline(t *testing.T, page string) string {
	t.Helper()
	var lines []string
	for _, m := range regexp.MustCompile(`(?s)<(h[1-3]|th|caption|figcaption|dt)\b[^>]*>(.*?)</(?:h[1-3]|th|caption|figcaption|dt)>|<(svg|img|pre)\b`).FindAllStringSubmatch(page, -1) {
		text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(m[2], "")
		lines = append(lines, strings.TrimSpace(m[1]+m[3]+" "+text))
	}
	return strings.Join(lines, "\n")
}

func TestReportOutline(t *testing.T) {
	r := example(t)
	r.Environment = []Fact{{"graft", "v1"}}
	r.Confusion = &metric.Confusion{Classes: 2, Counts: []int64{3, 1, 0, 2}}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "outline.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := outline(t, b.String()) + "\n"; got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What is drawn and listed can be told without seeing it, and on paper of any
// colour.
func TestReportIsAccessible(t *testing.T) {
	var b bytes.Buffer
	if err := example(t).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, m := range regexp.MustCompile(`<svg[^>]*>(<title>[^<]+)?`).FindAllStringSubmatch(html, -1) {
		if m[1] == "" || !strings.Contains(m[0], `role="img"`) {
			t.Errorf("a drawing without a title: %s", m[0])
		}
	}
	for _, m := range regexp.MustCompile(`<img[^>]*>`).FindAllString(html, -1) {
		if !regexp.MustCompile(`alt="[^"]+"`).MatchString(m) || !regexp.MustCompile(`width="\d+" height="\d+"`).MatchString(m) {
			t.Errorf("a picture without words or size: %.200s", m)
		}
	}
	for _, m := range regexp.MustCompile(`<th\b[^>]*>`).FindAllString(html, -1) {
		if !strings.Contains(m, "scope=") && !strings.Contains(m, "aria-hidden") {
			t.Errorf("a head of nothing: %s", m)
		}
	}
	if !strings.Contains(html, "prefers-color-scheme: dark") || regexp.MustCompile(`(?i)(fill|stroke)(:|=")#000|(fill|stroke):#fff`).MatchString(html) {
		t.Error("black or white is drawn, which one kind of paper hides")
	}
}

// A matrix of very many classes is left to its most frequent cells.
func TestReportOfManyClasses(t *testing.T) {
	r := &Report{Title: "x", Confusion: metric.NewConfusion(150)}
	r.Confusion.Counts[3*150+7] = 12
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<svg") || !strings.Contains(b.String(), "Most frequent confusions") || !strings.Contains(b.String(), "<td>12</td><td>100.00 %</td>") {
		t.Error(b.String())
	}
}

func TestLargeSamplesAreScaledDown(t *testing.T) {
	p := data.NewPicture(1000, 500)
	v, err := sample(Sample{Name: "a", Picture: p, Prediction: make([]int32, 1000*500)}, two)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(v.Image), "data:image/png;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := png.DecodeConfig(bytes.NewReader(raw)); err != nil || c.Width != 400+4+400 || c.Height != 200 {
		t.Errorf("%d x %d, %v", c.Width, c.Height, err)
	}
	var shape *ShapeError
	if _, err := sample(Sample{Name: "a", Picture: p, Prediction: make([]int32, 3)}, two); !errors.As(err, &shape) {
		t.Errorf("three labels: %v", err)
	}
	if _, err := sample(Sample{Name: "a", Picture: p, Truth: make([]int32, 3), Prediction: make([]int32, 1000*500)}, two); !errors.As(err, &shape) {
		t.Errorf("three true labels: %v", err)
	}
}

func TestEmptyReport(t *testing.T) {
	var b bytes.Buffer
	if err := (&Report{Title: "x", History: &history.History{}}).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<h2>") {
		t.Errorf("an empty report has sections: %s", b.String())
	}
}

func TestCurveIsXML(t *testing.T) {
	for name, c := range map[string]Chart{
		"one value":  {Title: "a < b", Series: []Series{{Name: "x", X: []float64{1}, Y: []float64{2}}}},
		"flat":       {Series: []Series{{Name: "x", X: []float64{1, 2}, Y: []float64{0, 0}}}, FromZero: true},
		"not finite": {Series: []Series{{Name: "x", X: []float64{1, 2, 3}, Y: []float64{math.NaN(), math.Inf(1), 1}}}},
		"huge":       {Series: []Series{{Name: "x", X: []float64{1, 2}, Y: []float64{-1e99, 1e99}}}},
	} {
		svg, err := Curve(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err = d.Token(); err != nil {
				break
			}
		}
		if !errors.Is(err, io.EOF) || !strings.HasPrefix(svg, "<svg") || strings.Contains(svg, "NaN") {
			t.Errorf("%s: %v\n%s", name, err, svg)
		}
	}
	if svg, err := Curve(Chart{Series: []Series{{X: []float64{1}, Y: []float64{math.NaN()}}}}); svg != "" || err != nil {
		t.Errorf("nothing to draw gave %q, %v", svg, err)
	}
}

// Lines on top of each other are one, with both names.
func TestEqualLinesAreJoined(t *testing.T) {
	x := []float64{1, 2, 3}
	svg, err := Curve(Chart{Title: "rates", Series: []Series{{Name: "a", X: x, Y: []float64{3, 2, 1}}, {Name: "b", X: x, Y: []float64{3, 2, 0}}, {Name: "c", X: x, Y: []float64{3, 2, 1}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"rates; a and c from 3 to 1; b from 3 to 0", ">a and c</text>", ">b</text>"} {
		if !strings.Contains(svg, part) {
			t.Errorf("%q is missing in\n%s", part, svg)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		low, high float64
		want      string
	}{
		{0, 1500, "0 200 400 600 800 1000 1200 1400"}, {0, 3, "0.0 0.5 1.0 1.5 2.0 2.5 3.0"}, {-1, 1, "-1.0 -0.5 0.0 0.5 1.0"},
		{0.003, 0.0041, "0.0030 0.0032 0.0034 0.0036 0.0038 0.0040"}, {1e6, 1.0004e6, "1000000 1000100 1000200 1000300 1000400"}, {0, 2e4, "0 5000 10000 15000 20000"}, {1e-7, 5e-7, "1e-07 2e-07 3e-07 4e-07 5e-07"},
		{1e9, 1.000004e9, "1e+09 1.000001e+09 1.000002e+09 1.000003e+09 1.000004e+09"},
	} {
		var got []string
		for _, k := range ticks(tc.low, tc.high) {
			got = append(got, k.Label)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%g to %g: %v, want %s", tc.low, tc.high, got, tc.want)
		}
	}
}

func TestLongSeriesAreThinned(t *testing.T) {
	s := Series{X: make([]float64, 10000), Y: make([]float64, 10000)}
	for i := range s.X {
		s.X[i], s.Y[i] = float64(i), 2*float64(i)
	}
	p := points(s)
	if len(p) != maxPoints {
		t.Fatalf("%d points", len(p))
	}
	for _, q := range p {
		if math.Abs(q.Y-2*q.X) > 1e-6 {
			t.Fatalf("point %v is off the line", q)
		}
	}
}

func TestPictures(t *testing.T) {
	p := data.NewPicture(2, 1)
	copy(p.Pix, []uint8{100, 100, 100, 100, 100, 100})
	m, err := ColorMap([]int32{1, -1}, 2, 1, two)
	if err != nil || m.RGBAAt(0, 0) != (color.RGBA{200, 100, 50, 255}) || m.RGBAAt(1, 0) != (color.RGBA{A: 255}) {
		t.Errorf("colour map %v, %v", m.Pix, err)
	}
	o, err := Overlay(p, []int32{1, -1}, two, 0.5)
	if err != nil || o.RGBAAt(0, 0) != (color.RGBA{150, 100, 75, 255}) || o.RGBAAt(1, 0) != (color.RGBA{100, 100, 100, 255}) {
		t.Errorf("overlay %v, %v", o.Pix, err)
	}
	s := SideBySide(1, p, m)
	if s.Bounds() != image.Rect(0, 0, 5, 1) || s.RGBAAt(2, 0) != (color.RGBA{255, 255, 255, 255}) || s.RGBAAt(3, 0) != m.RGBAAt(0, 0) {
		t.Errorf("side by side %v", s.Pix)
	}
	var shape *ShapeError
	if _, err := ColorMap([]int32{1}, 2, 1, two); !errors.As(err, &shape) {
		t.Errorf("colour map of one label: %v", err)
	}
	if _, err := Overlay(p, nil, two, 1); !errors.As(err, &shape) {
		t.Errorf("overlay without labels: %v", err)
	}
	path := filepath.Join(t.TempDir(), "a.png")
	if err := SavePNG(path, o); err != nil {
		t.Fatal(err)
	}
	back, err := data.DecodePicture(path, 100, data.RefuseOrientation)
	if err != nil || back.At(0, 0) != o.At(0, 0) {
		t.Errorf("saved picture: %v", err)
	}
}

func TestLabelPNGReadsBack(t *testing.T) {
	for _, tc := range []struct {
		shift, classes int
		labels         []int32
	}{{1, 3, []int32{-1, 0, 2, 1}}, {0, 3, []int32{-1, 0, 2, 1}}, {1, 700, []int32{-1, 0, 699, 255}}} {
		b, err := LabelPNG(tc.labels, 2, 2, tc.shift)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.png")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := data.DecodeMask(path, 100, data.Labels{Classes: tc.classes, Shift: tc.shift, Index: -1, Ignore: []int{255}[:1-tc.shift]})
		if err != nil {
			t.Error(err)
			continue
		}
		for i, v := range m.Labels(nil) {
			if v != tc.labels[i] {
				t.Errorf("%+v came back as %v", tc, m.Labels(nil))
				break
			}
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTable(&b, example(t).Summary, two); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"sky <b>  100.00 %", "road       n/a", "mean IoU 50.00 % (absent classes as 0), 100.00 % over the 1 classes present; pixel accuracy 100.00 % of 3 pixels"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("%q is missing from\n%s", part, b.String())
		}
	}
}
