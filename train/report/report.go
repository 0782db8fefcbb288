package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/color"
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
	Confusion   *metric.Confusion
	Samples     []Sample
	Data        []DataSet
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
	Alt            string
	Image          template.URL
	Width, Height  int
}

type view struct {
	*Report
	Date      string
	Line      string // the command
	Head      []Fact
	Curves    []template.HTML
	Rows      []classRow
	Cells     template.HTML // the confusion matrix
	Matrix    template.CSS  // its largest width
	Mistakes  []mistake
	Pictures  []sampleView
	Truncated int // samples left out
	Sets      *setsView
}

// What a report shows of more.
const (
	maxSamples  = 24
	maxCells    = 40 // classes of a confusion matrix that can be read
	maxMistakes = 12
)

// WriteHTML writes the report.
func (r *Report) WriteHTML(w io.Writer) error {
	v := view{Report: r, Line: CommandLine(r.Command), Head: headline(r), Sets: describeSets(r.Data, r.Classes), Matrix: "100%"}
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
	if c := r.Confusion; c != nil {
		if c.Classes <= maxCells {
			v.Cells = template.HTML(Confusion(c, r.Classes)) // escapes the names
			v.Matrix = template.CSS(fmt.Sprintf("%dpx", matrixWidth(c.Classes)))
		}
		v.Mistakes = mistakes(c, r.Classes, maxMistakes)
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

// percent writes a share of 1, n/a for what is not a number.
func percent(v float64) string {
	if math.IsNaN(v) {
		return "n/a"
	}
	return fmt.Sprintf("%.2f %%", 100*v)
}

// cssPercent is a share of 1 as a length, 0 for what is not a number.
func cssPercent(v float64) template.CSS {
	if math.IsNaN(v) {
		v = 0
	}
	return template.CSS(fmt.Sprintf("%.1f%%", 100*v))
}

func cssColor(c color.RGBA) template.CSS {
	return template.CSS(fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B))
}

func classRows(s *metric.Summary, classes models.Classes) []classRow {
	rows := make([]classRow, len(s.PerClass))
	for i, k := range s.PerClass {
		c := classes.Colour(k.Class)
		rows[i] = classRow{
			Name:  classes.Name(k.Class),
			Color: cssColor(c),
			IoU:   percent(k.IoU), Recall: percent(k.Recall), Precision: percent(k.Precision),
			Share: percent(k.LabelShare), Got: percent(k.PredictedShare),
			Bar: cssPercent(k.IoU),
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
	v := sampleView{Name: s.Name, Image: uri, Width: img.Rect.Dx(), Height: img.Rect.Dy(), Alt: "picture, truth and prediction of " + s.Name}
	if s.Truth == nil {
		v.Alt = "picture and prediction of " + s.Name
	}
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
