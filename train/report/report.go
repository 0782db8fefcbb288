package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"io"
	"math"
	"strings"
	"time"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/history"
	"github.com/graft-onnx/graft/train/metric"
)

// Fact is one line of a table: a name and a value.
type Fact struct{ Name, Value string }

// Report is the content of the HTML file. Everything but Title may be left
// out. Nothing is added to what the caller passes: paths appear only where
// they stand in Command, Config or the facts.
type Report struct {
	Title       string
	Created     time.Time // zero: not shown
	Command     []string  // as typed
	Result      []Fact    // what came out: the model file, its size, verification
	Model       []Fact
	Environment []Fact
	Config      string // YAML
	Classes     models.Classes
	History     *history.History
	Summary     *metric.Summary
	Samples     []Sample
}

//go:embed report.tmpl
var source string

var page = template.Must(template.New("report").Parse(source))

type classRow struct {
	Name                               string
	Color                              template.CSS
	IoU, Recall, Precision, Share, Got string
	Bar                                template.CSS
}

type sampleView struct {
	Name, Accuracy string
	Image          template.URL
}

type view struct {
	*Report
	Date      string
	Line      string // the command
	Head      []Fact
	Curves    []template.HTML
	Rows      []classRow
	Pictures  []sampleView
	Truncated int // samples left out
}

const maxSamples = 24

// WriteHTML writes the report.
func (r *Report) WriteHTML(w io.Writer) error {
	v := view{Report: r, Line: CommandLine(r.Command), Head: headline(r)}
	if !r.Created.IsZero() {
		v.Date = r.Created.Format("2006-01-02 15:04")
	}
	var err error
	if v.Curves, err = curves(r.History); err != nil {
		return err
	}
	if r.Summary != nil {
		v.Rows = classRows(r.Summary, r.Classes)
	}
	shown := r.Samples[:min(len(r.Samples), maxSamples)]
	v.Truncated = len(r.Samples) - len(shown)
	for _, s := range shown {
		one, err := sample(s, r.Classes)
		if err != nil {
			return err
		}
		v.Pictures = append(v.Pictures, one)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Save writes the report to path; the file appears complete or not at all.
func (r *Report) Save(path string) error {
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		return err
	}
	return save(path, b.Bytes())
}

func headline(r *Report) []Fact {
	var out []Fact
	if s := r.Summary; s != nil {
		out = append(out,
			Fact{"mean IoU", percent(s.MeanIoU)},
			Fact{fmt.Sprintf("mean IoU of the %d classes present", s.Present), percent(s.MeanIoUPresent)},
			Fact{"pixel accuracy", percent(s.Accuracy)})
	}
	if h := r.History; h != nil && len(h.Records) > 0 {
		last := h.Records[len(h.Records)-1]
		out = append(out, Fact{"iterations", fmt.Sprint(last.Iteration + 1)}, Fact{"last loss", fmt.Sprintf("%.4g", last.Loss)})
	}
	return out
}

func curves(h *history.History) ([]template.HTML, error) {
	if h == nil {
		return nil, nil
	}
	n := len(h.Records)
	x, loss, acc, enc, dec := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i, r := range h.Records {
		x[i], loss[i], acc[i], enc[i], dec[i] = float64(r.Iteration+1), r.Loss, 100*r.Accuracy, r.LREncoder, r.LRDecoder
	}
	var ex, iou, present, evalAcc []float64
	for _, e := range h.Evaluations {
		ex, iou = append(ex, float64(e.Iteration)), append(iou, 100*e.MeanIoU)
		present, evalAcc = append(present, 100*e.MeanIoUPresent), append(evalAcc, 100*e.Accuracy)
	}
	window := max(1, n/50)
	mean := fmt.Sprintf("mean of %d", window)
	charts := []Chart{
		{Title: "Training loss", XLabel: "iteration", YLabel: "loss", FromZero: true, Series: []Series{
			{X: x, Y: loss, Faint: true}, {Name: mean, X: x, Y: Smooth(loss, window)}}},
		{Title: "Pixel accuracy", XLabel: "iteration", YLabel: "%", Rising: true, Series: []Series{
			{X: x, Y: acc, Faint: true}, {Name: "training, " + mean, X: x, Y: Smooth(acc, window)},
			{Name: "validation", X: ex, Y: evalAcc, Points: true}}},
		{Title: "Validation mean IoU", XLabel: "iteration", YLabel: "%", FromZero: true, Rising: true, Series: []Series{
			{Name: "all classes", X: ex, Y: iou, Points: true}, {Name: "classes present", X: ex, Y: present, Points: true}}},
		{Title: "Learning rate", XLabel: "iteration", YLabel: "rate", FromZero: true, Series: []Series{
			{Name: "encoder", X: x, Y: enc}, {Name: "decoder", X: x, Y: dec}}},
	}
	var out []template.HTML
	for _, c := range charts {
		svg, err := Curve(c)
		if err != nil {
			return nil, err
		}
		if svg != "" {
			out = append(out, template.HTML(svg)) // made here, from numbers and fixed words
		}
	}
	return out, nil
}

// percent writes a share of 1, n/a for what is not a number.
func percent(v float64) string {
	if math.IsNaN(v) {
		return "n/a"
	}
	return fmt.Sprintf("%.2f %%", 100*v)
}

func classRows(s *metric.Summary, classes models.Classes) []classRow {
	rows := make([]classRow, len(s.PerClass))
	for i, k := range s.PerClass {
		c := classes.Colour(k.Class)
		width := k.IoU
		if math.IsNaN(width) {
			width = 0
		}
		rows[i] = classRow{
			Name:  classes.Name(k.Class),
			Color: template.CSS(fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B)),
			IoU:   percent(k.IoU), Recall: percent(k.Recall), Precision: percent(k.Precision),
			Share: percent(k.LabelShare), Got: percent(k.PredictedShare),
			Bar: template.CSS(fmt.Sprintf("%.1f%%", 100*width)),
		}
	}
	return rows
}

func sample(s Sample, classes models.Classes) (sampleView, error) {
	img, err := s.Image(classes, sampleSide)
	if err != nil {
		return sampleView{}, err
	}
	uri, err := dataURI(img)
	if err != nil {
		return sampleView{}, err
	}
	v := sampleView{Name: s.Name, Image: uri}
	if s.Truth != nil {
		acc, valid, err := metric.PixelAccuracy(s.Prediction, s.Truth)
		if err != nil {
			return v, err
		}
		if valid > 0 {
			v.Accuracy = percent(acc)
		}
	}
	return v, nil
}

func dataURI(img image.Image) (template.URL, error) {
	b, err := PNG(img)
	if err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b)), nil
}

// CommandLine joins arguments so that a shell splits them the same way.
func CommandLine(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if a != "" && strings.IndexFunc(a, special) < 0 {
			out[i] = a
			continue
		}
		out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(out, " ")
}

func special(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_-./:=,+@%", r)
}
