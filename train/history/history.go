package history

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/graft-onnx/graft/train/metric"
)

// Record is one training iteration.
type Record struct {
	Iteration int     `json:"iteration"` // from 0, over the whole run
	Epoch     float64 `json:"epoch"`     // iterations done / iterations per epoch
	Loss      float64 `json:"loss"`
	// LossMain and LossDeepSup are what Loss adds up: the loss at the output,
	// and that of deep supervision before its weight, 0 without it.
	LossMain    float64 `json:"loss_main"`
	LossDeepSup float64 `json:"loss_deepsup"`
	Accuracy    float64 `json:"accuracy"` // of valid pixels, 0..1
	LREncoder   float64 `json:"lr_encoder"`
	LRDecoder   float64 `json:"lr_decoder"`
	// GradientNorm is that of all gradients before clipping, 0 without it.
	GradientNorm float64 `json:"gradient_norm"`
	DataSeconds  float64 `json:"data_seconds"` // waiting for the batch
	StepSeconds  float64 `json:"step_seconds"` // forward, backward, update
	Height       int     `json:"height"`       // of the batch, pixels
	Width        int     `json:"width"`
}

// Untimed returns the record without the times, which differ between runs that
// are equal otherwise.
func (r Record) Untimed() Record {
	r.DataSeconds, r.StepSeconds = 0, 0
	return r
}

// Evaluation is one pass over the validation set.
type Evaluation struct {
	Iteration      int     `json:"iteration"` // training iterations done before it
	Epoch          float64 `json:"epoch"`
	Accuracy       float64 `json:"accuracy"`
	MeanIoU        float64 `json:"mean_iou"`         // reference's: absent classes as 0
	MeanIoUPresent float64 `json:"mean_iou_present"` // classes that occur
	Seconds        float64 `json:"seconds"`
	// IoU is that of each class, NaN where it occurs in neither labels nor
	// predictions.
	IoU []float64 `json:"iou"`
}

// History is all figures of a run, in the order of iterations.
type History struct {
	Records     []Record     `json:"train"`
	Evaluations []Evaluation `json:"evaluation"`
}

// Truncate keeps what a run that has done iterations 0..iteration-1 knows.
func (h *History) Truncate(iteration int) {
	h.Records = slices.DeleteFunc(h.Records, func(r Record) bool { return r.Iteration >= iteration })
	h.Evaluations = slices.DeleteFunc(h.Evaluations, func(e Evaluation) bool { return e.Iteration > iteration })
}

// Best returns the evaluation with the largest mean IoU, the first of equals,
// and how many came after it; ok is false before the first evaluation.
func (h *History) Best() (best Evaluation, since int, ok bool) {
	for i, e := range h.Evaluations {
		if since++; i == 0 || e.MeanIoU > best.MeanIoU {
			best, since = e, 0
		}
	}
	return best, since, len(h.Evaluations) > 0
}

// column is one column of a CSV file: its name, and how it is written and
// read. Floats are written with the shortest text that reads back the same.
type column[T any] struct {
	name  string
	write func(*T) string
	read  func(*T, string) error
}

func float[T any](name string, field func(*T) *float64) column[T] {
	return column[T]{name, func(t *T) string { return strconv.FormatFloat(*field(t), 'g', -1, 64) },
		func(t *T, s string) (err error) { *field(t), err = strconv.ParseFloat(s, 64); return err }}
}

func whole[T any](name string, field func(*T) *int) column[T] {
	return column[T]{name, func(t *T) string { return strconv.Itoa(*field(t)) },
		func(t *T, s string) (err error) { *field(t), err = strconv.Atoi(s); return err }}
}

func anyRecord(int) []column[Record] { return recordColumns }

var recordColumns = []column[Record]{
	whole("iteration", func(r *Record) *int { return &r.Iteration }),
	float("epoch", func(r *Record) *float64 { return &r.Epoch }),
	float("loss", func(r *Record) *float64 { return &r.Loss }),
	float("loss_main", func(r *Record) *float64 { return &r.LossMain }),
	float("loss_deepsup", func(r *Record) *float64 { return &r.LossDeepSup }),
	float("accuracy", func(r *Record) *float64 { return &r.Accuracy }),
	float("lr_encoder", func(r *Record) *float64 { return &r.LREncoder }),
	float("lr_decoder", func(r *Record) *float64 { return &r.LRDecoder }),
	float("gradient_norm", func(r *Record) *float64 { return &r.GradientNorm }),
	float("data_seconds", func(r *Record) *float64 { return &r.DataSeconds }),
	float("step_seconds", func(r *Record) *float64 { return &r.StepSeconds }),
	whole("height", func(r *Record) *int { return &r.Height }),
	whole("width", func(r *Record) *int { return &r.Width }),
}

// evaluationColumns are those of sets with so many classes.
func evaluationColumns(classes int) []column[Evaluation] {
	columns := []column[Evaluation]{
		whole("iteration", func(e *Evaluation) *int { return &e.Iteration }),
		float("epoch", func(e *Evaluation) *float64 { return &e.Epoch }),
		float("accuracy", func(e *Evaluation) *float64 { return &e.Accuracy }),
		float("mean_iou", func(e *Evaluation) *float64 { return &e.MeanIoU }),
		float("mean_iou_present", func(e *Evaluation) *float64 { return &e.MeanIoUPresent }),
		float("seconds", func(e *Evaluation) *float64 { return &e.Seconds }),
	}
	for class := range classes {
		columns = append(columns, float(fmt.Sprintf("iou_%d", class), func(e *Evaluation) *float64 {
			for len(e.IoU) <= class {
				e.IoU = append(e.IoU, math.NaN())
			}
			return &e.IoU[class]
		}))
	}
	return columns
}

// classesOf is how many classes evaluations tell of.
func classesOf(list []Evaluation) int {
	most := 0
	for _, e := range list {
		most = max(most, len(e.IoU))
	}
	return most
}

func header[T any](columns []column[T]) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name
	}
	return out
}

func row[T any](columns []column[T], t *T) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.write(t)
	}
	return out
}

func writeCSV[T any](w io.Writer, columns []column[T], list []T) error {
	out := csv.NewWriter(w)
	out.Write(header(columns)) // Flush and Error tell the first error
	for _, t := range list {   // a copy: columns fill in what it lacks
		out.Write(row(columns, &t))
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// WriteRecords writes the training records as CSV with a header.
func (h *History) WriteRecords(w io.Writer) error { return writeCSV(w, recordColumns, h.Records) }

// WriteEvaluations writes the evaluations as CSV with a header.
func (h *History) WriteEvaluations(w io.Writer) error {
	return writeCSV(w, evaluationColumns(classesOf(h.Evaluations)), h.Evaluations)
}

// ReadRecords reads what WriteRecords wrote; name names it in errors.
func ReadRecords(r io.Reader, name string) ([]Record, error) {
	return readCSV(r, name, anyRecord, false)
}

// ReadEvaluations reads what WriteEvaluations wrote.
func ReadEvaluations(r io.Reader, name string) ([]Evaluation, error) {
	return readCSV(r, name, evaluationColumns, false)
}

// A FormatError is a history file that is not one of ours.
type FormatError struct {
	File string
	Line int
	Msg  string
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("history: %s:%d: %s", e.File, e.Line, e.Msg)
}

// readCSV reads a file. A torn last line, which a killed run leaves, is
// dropped when torn says so.
//
// columns are those that a file of some width can have. It may lack some, since
// earlier versions knew fewer; these fields stay zero.
func readCSV[T any](r io.Reader, name string, columns func(width int) []column[T], torn bool) ([]T, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	first, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	var found []column[T]
	if err == nil {
		found, err = pick(columns(len(first)), first)
	}
	if err != nil {
		return nil, &FormatError{name, 1, "not a history file of this version: " + err.Error()}
	}
	var list []T
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		line := len(list) + 2
		var t T
		if err == nil {
			for i, c := range found {
				if err = c.read(&t, fields[i]); err != nil {
					err = fmt.Errorf("%s: %w", c.name, err)
					break
				}
			}
		}
		if err != nil {
			if _, more := in.Read(); torn && errors.Is(more, io.EOF) {
				return list, nil
			}
			return nil, &FormatError{name, line, err.Error()}
		}
		list = append(list, t)
	}
}

// pick returns the columns that a header names.
func pick[T any](columns []column[T], header []string) ([]column[T], error) {
	if header[0] != columns[0].name {
		return nil, fmt.Errorf("the first column is %q, not %q", header[0], columns[0].name)
	}
	found := make([]column[T], len(header))
	for i, name := range header {
		at := slices.IndexFunc(columns, func(c column[T]) bool { return c.name == name })
		if at < 0 || slices.Contains(header[:i], name) {
			return nil, fmt.Errorf("column %q is unknown or there twice", name)
		}
		found[i] = columns[at]
	}
	return found, nil
}

// MarshalJSON implements json.Marshaler.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	return json.Marshal(struct {
		plain
		Loss     metric.Number `json:"loss"`
		Accuracy metric.Number `json:"accuracy"`
	}{plain(r), metric.Number(r.Loss), metric.Number(r.Accuracy)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Record) UnmarshalJSON(b []byte) error {
	type plain Record
	in := struct {
		*plain
		Loss     metric.Number `json:"loss"`
		Accuracy metric.Number `json:"accuracy"`
	}{plain: (*plain)(r)}
	err := json.Unmarshal(b, &in)
	r.Loss, r.Accuracy = float64(in.Loss), float64(in.Accuracy)
	return err
}

// MarshalJSON implements json.Marshaler.
func (e Evaluation) MarshalJSON() ([]byte, error) {
	type plain Evaluation
	out := struct {
		plain
		MeanIoUPresent metric.Number   `json:"mean_iou_present"`
		IoU            []metric.Number `json:"iou,omitempty"`
	}{plain: plain(e), MeanIoUPresent: metric.Number(e.MeanIoUPresent)}
	for _, v := range e.IoU {
		out.IoU = append(out.IoU, metric.Number(v))
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Evaluation) UnmarshalJSON(b []byte) error {
	type plain Evaluation
	in := struct {
		*plain
		MeanIoUPresent metric.Number   `json:"mean_iou_present"`
		IoU            []metric.Number `json:"iou"`
	}{plain: (*plain)(e)}
	err := json.Unmarshal(b, &in)
	e.MeanIoUPresent, e.IoU = float64(in.MeanIoUPresent), nil
	for _, v := range in.IoU {
		e.IoU = append(e.IoU, float64(v))
	}
	return err
}
