package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/graft-onnx/graft/internal/atomicfile"
)

// The files of a Log inside the run folder.
const (
	RecordsFile     = "history.csv"
	EvaluationsFile = "evaluation.csv"
	JSONFile        = "history.json"
)

// Log keeps a History and its files.
type Log struct {
	dir         string
	history     History
	records     *os.File
	evaluations *os.File
	columns     []column[Evaluation]
	pending     bytes.Buffer // records not yet written
}

// Open opens the log of a run folder for a run of so many classes that goes on
// with iteration, 0 for a new one. Later records are dropped from the files. Where the files
// are not those of the run whose checkpoint holds the records known, another
// folder's for example, these take their place.
func Open(dir string, iteration int, known []Record, classes int) (*Log, error) {
	l := &Log{dir: dir}
	if iteration > 0 {
		h, err := Load(dir)
		if err != nil {
			return nil, err
		}
		h.Truncate(iteration)
		if !slices.EqualFunc(h.Records, known, sameStep) {
			h = &History{Records: slices.Clone(known)}
		}
		l.history = *h
	}
	var err error
	if l.records, err = restart(filepath.Join(dir, RecordsFile), l.history.WriteRecords); err != nil {
		return nil, err
	}
	l.columns = evaluationColumns(max(classes, classesOf(l.history.Evaluations)))
	if l.evaluations, err = restart(filepath.Join(dir, EvaluationsFile), func(w io.Writer) error {
		return writeCSV(w, l.columns, l.history.Evaluations)
	}); err != nil {
		l.records.Close()
		return nil, err
	}
	return l, nil
}

// sameStep compares all but the times, which a checkpoint does not keep.
func sameStep(a, b Record) bool { return a.Untimed() == b.Untimed() }

// Load reads the history of a run folder, which may still be written to: a
// torn last line is left out. Missing files are empty.
func Load(dir string) (*History, error) {
	h := &History{}
	var err error
	if h.Records, err = load(filepath.Join(dir, RecordsFile), anyRecord); err != nil {
		return nil, err
	}
	if h.Evaluations, err = load(filepath.Join(dir, EvaluationsFile), evaluationColumns); err != nil {
		return nil, err
	}
	return h, nil
}

func load[T any](path string, columns func(width int) []column[T]) ([]T, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	// Without its line feed even a readable last line may be cut short.
	return readCSV(bytes.NewReader(b[:bytes.LastIndexByte(b, '\n')+1]), path, columns, true)
}

// restart replaces a file by what write writes and opens it for appending.
func restart(path string, write func(io.Writer) error) (*os.File, error) {
	if err := replace(path, write); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return f, nil
}

// replace writes a file that appears complete or not at all.
func replace(path string, write func(io.Writer) error) error {
	if err := atomicfile.Write(path, write); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// History returns what is known so far; the caller must not change it.
func (l *Log) History() *History { return &l.history }

// flushBytes is the size past which pending records are written unasked.
const flushBytes = 16 << 10

// Append adds a record. It reaches the file with the next Flush.
func (l *Log) Append(r Record) error {
	l.history.Records = append(l.history.Records, r)
	line(&l.pending, recordColumns, &r)
	if l.pending.Len() >= flushBytes {
		return l.Flush()
	}
	return nil
}

// AppendEvaluation adds an evaluation and writes everything.
func (l *Log) AppendEvaluation(e Evaluation) error {
	l.history.Evaluations = append(l.history.Evaluations, e)
	var b bytes.Buffer
	line(&b, l.columns, &e)
	if _, err := l.evaluations.Write(b.Bytes()); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return l.Flush()
}

// line writes one row; no column needs quotes.
func line[T any](b *bytes.Buffer, columns []column[T], t *T) {
	for i, c := range columns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(c.write(t))
	}
	b.WriteByte('\n')
}

// Flush writes pending records, in one call to the operating system.
func (l *Log) Flush() error {
	if l.pending.Len() == 0 {
		return nil
	}
	_, err := l.records.Write(l.pending.Bytes())
	l.pending.Reset()
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// Sync flushes, makes the CSV files durable and replaces the JSON file. Call
// it with every checkpoint, before the checkpoint is written.
func (l *Log) Sync() error {
	if err := l.Flush(); err != nil {
		return err
	}
	for _, f := range []*os.File{l.records, l.evaluations} {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("history: %w", err)
		}
	}
	return replace(filepath.Join(l.dir, JSONFile), l.history.WriteJSON)
}

// Close syncs and closes the files.
func (l *Log) Close() error {
	return errors.Join(l.Sync(), l.records.Close(), l.evaluations.Close())
}

// WriteJSON writes the history as one JSON object.
func (h *History) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	full := History{h.Records, h.Evaluations}
	if full.Records == nil {
		full.Records = []Record{}
	}
	if full.Evaluations == nil {
		full.Evaluations = []Evaluation{}
	}
	if err := out.Encode(full); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(r io.Reader) (*History, error) {
	h := &History{}
	if err := json.NewDecoder(r).Decode(h); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return h, nil
}
