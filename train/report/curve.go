package report

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Series is one line of a chart.
type Series struct {
	Name string
	X, Y []float64
	// Faint draws the line thin and pale, for raw values under a smoothed
	// line; a faint line has no entry in the legend.
	Faint bool
	// Points marks each value, for series of few.
	Points bool
}

// Chart is what Curve draws.
type Chart struct {
	Title, XLabel, YLabel string
	Series                []Series
	FromZero              bool // the vertical axis starts at 0
	Rising                bool // values grow, so the legend goes below them
}

// maxPoints bounds the points drawn per line; longer series are averaged in
// equal stretches.
const maxPoints = 600

// lineColors can be told from white and from black paper.
var lineColors = []color.NRGBA{{58, 123, 206, 255}, {212, 92, 40, 255}, {34, 145, 88, 255}, {154, 92, 184, 255}}

// Curve draws a chart as an SVG element. Values that are not finite are left
// out; a chart without any returns "".
func Curve(c Chart) (string, error) {
	c.Series = joined(c.Series)
	p, err := c.plot()
	if err != nil || p == nil {
		return "", err
	}
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("report: curve: %w", err)
	}
	svg := b.Bytes()
	if i := bytes.Index(svg, []byte("<svg")); i > 0 { // without XML prolog, to lie inside HTML
		svg = svg[i:]
	}
	svg = bytes.Replace(svg, []byte("<svg"), []byte(`<svg role="img" fill="currentColor"`), 1)
	if i := bytes.IndexByte(svg, '>'); i > 0 {
		svg = slices.Insert(svg, i+1, []byte("<title>"+html.EscapeString(c.describe())+"</title>")...)
	}
	// Text and axes in the reader's colour, on the reader's paper.
	svg = bytes.ReplaceAll(svg, []byte("#000000"), []byte("currentColor"))
	// Other faces for readers without this one.
	svg = bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,sans-serif;"))
	return string(fitText(svg)), nil
}

// joined makes one line of lines that lie on each other, with both names: the
// upper would hide the lower.
func joined(all []Series) []Series {
	var out []Series
	for _, s := range all {
		i := slices.IndexFunc(out, func(o Series) bool {
			return !s.Faint && !o.Faint && slices.Equal(s.X, o.X) && slices.EqualFunc(s.Y, o.Y, near)
		})
		if i < 0 {
			out = append(out, s)
		} else {
			out[i].Name += " and " + s.Name
		}
	}
	return out
}

// near values are drawn at the same place.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) }

// describe tells what a chart shows to those who cannot see it.
func (c Chart) describe() string {
	text := c.Title
	for _, s := range c.Series {
		if p := points(s); len(p) > 0 && !s.Faint {
			text += fmt.Sprintf("; %s from %.4g to %.4g", s.Name, p[0].Y, p[len(p)-1].Y)
		}
	}
	return text
}

var textElement = regexp.MustCompile(`(?s)<text (.*?font-size:([\d.]+)px.*?)>(.*?)</text>`)

// fitText writes into every text element how long it is in the face that the
// chart was laid out with, so that a reader's other face does not run over its
// neighbours.
func fitText(svg []byte) []byte {
	return textElement.ReplaceAllFunc(svg, func(element []byte) []byte {
		m := textElement.FindSubmatch(element)
		size, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return element
		}
		face := font.DefaultCache.Lookup(font.Font{Typeface: "Liberation", Variant: "Sans"}, font.Length(size))
		width := face.Width(html.UnescapeString(string(m[3]))).Points()
		return fmt.Appendf(nil, `<text textLength="%.2f" lengthAdjust="spacingAndGlyphs" %s>%s</text>`, width, m[1], m[3])
	})
}

const (
	chartWidth  = 12 * vg.Centimeter // small enough for letters that can be read on a telephone
	chartHeight = 7 * vg.Centimeter
)

// plot lays the chart out; nil when there is nothing to draw.
func (c Chart) plot() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.XLabel, c.YLabel
	p.BackgroundColor = nil
	sans(p)
	p.Add(plotter.NewGrid())
	drawn := 0
	for _, s := range c.Series {
		xys := points(s)
		if len(xys) == 0 {
			continue
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return nil, fmt.Errorf("report: curve %s: %w", s.Name, err)
		}
		line.Color = lineColors[drawn%len(lineColors)]
		line.Width = vg.Points(1.6)
		if s.Faint { // the colour of the line that follows, paler
			pale := lineColors[drawn%len(lineColors)]
			pale.A = 100
			line.Color = pale
			line.Width = vg.Points(0.7)
			p.Add(line)
			continue
		}
		p.Add(line)
		if s.Points || len(xys) == 1 {
			dots, err := plotter.NewScatter(xys)
			if err != nil {
				return nil, fmt.Errorf("report: curve %s: %w", s.Name, err)
			}
			dots.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
			p.Add(dots)
		}
		p.Legend.Add(s.Name, line)
		drawn++
	}
	if drawn == 0 {
		return nil, nil
	}
	p.Legend.Top = !c.Rising
	p.Legend.YOffs = vg.Points(-6)
	if c.Rising {
		p.Legend.YOffs = vg.Points(6)
	}
	p.Legend.XOffs = -vg.Points(6)
	if c.FromZero {
		p.Y.Min = math.Min(0, p.Y.Min)
	}
	widen(&p.X)
	widen(&p.Y)
	room := 0.05 * (p.Y.Max - p.Y.Min) // for the lines at the borders
	p.Y.Max += room
	if !c.FromZero {
		p.Y.Min -= room
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(ticks), plot.TickerFunc(ticks)
	return p, nil
}

// ticks places labels at multiples of 1, 2 or 5 times a power of ten, four to
// nine of them.
func ticks(low, high float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, k := range []float64{5, 2} {
		if (high-low)/(k*step) >= 4 {
			step *= k
			break
		}
	}
	var out []plot.Tick
	for k := math.Ceil(low/step - 1e-9); k*step <= high+1e-9*step && len(out) < 20; k++ {
		v := k * step
		if k == 0 {
			v = 0
		}
		out = append(out, plot.Tick{Value: v, Label: label(v, step)})
	}
	return out
}

// label writes a multiple of step with the digits that tell it from the next.
func label(v, step float64) string {
	if decimals := -int(math.Floor(math.Log10(step) + 1e-9)); decimals <= 4 && math.Abs(v) < 1e7 {
		return strconv.FormatFloat(v, 'f', max(0, decimals), 64)
	}
	digits := 1
	if v != 0 {
		digits = int(math.Log10(math.Abs(v)/step)+1e-9) + 2
	}
	return strconv.FormatFloat(v, 'g', min(max(digits, 1), 12), 64)
}

// sans sets every text in the sans-serif face.
func sans(p *plot.Plot) {
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		f.Variant = "Sans"
	}
}

// widen gives an axis a range where all values are equal.
func widen(a *plot.Axis) {
	if a.Max-a.Min > 0 && !math.IsInf(a.Max-a.Min, 0) {
		return
	}
	pad := math.Max(math.Abs(a.Min)*0.1, 1e-3)
	a.Min, a.Max = a.Min-pad, a.Max+pad
}

// points drops what is not finite and thins long series.
func points(s Series) plotter.XYs {
	var all plotter.XYs
	for i := range min(len(s.X), len(s.Y)) {
		if finite(s.X[i]) && finite(s.Y[i]) {
			all = append(all, plotter.XY{X: s.X[i], Y: s.Y[i]})
		}
	}
	if len(all) <= maxPoints {
		return all
	}
	thin := make(plotter.XYs, maxPoints)
	for k := range thin {
		from, to := k*len(all)/maxPoints, (k+1)*len(all)/maxPoints
		for _, p := range all[from:to] {
			thin[k].X += p.X / float64(to-from)
			thin[k].Y += p.Y / float64(to-from)
		}
	}
	return thin
}

// finite also bounds the magnitude, since axes compute differences.
func finite(v float64) bool { return math.Abs(v) < 1e100 }

// Smooth is a running mean over the last window values.
func Smooth(y []float64, window int) []float64 {
	out := make([]float64, len(y))
	for i := range y {
		from := max(0, i-window+1)
		sum, n := 0.0, 0
		for _, v := range y[from : i+1] {
			if finite(v) {
				sum += v
				n++
			}
		}
		out[i] = sum / float64(n) // NaN without values, which points drops
	}
	return out
}
