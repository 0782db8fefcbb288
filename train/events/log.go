package events

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/graft-onnx/graft/internal/atomicfile"
	"github.com/graft-onnx/graft/train/history"
)

// Names of a Log's files: TensorBoard takes those with the first part in their
// name, and files of other programs lack the second.
const (
	filePrefix = "events.out.tfevents."
	fileSuffix = ".graft"
)

// Folders of tags.
const (
	trainTags      = "train/"
	validationTags = "validation/"
	sampleTags     = "samples/"
)

// When pending events are written unasked: past so many bytes, or so much time
// since the last ones, for those who watch.
const (
	flushBytes = 64 << 10
	flushEvery = 5 * time.Second
)

// Log appends to the newest event file of a folder.
type Log struct {
	file    *os.File
	classes []string // tags of their IoUs
	pending []byte
	flushed time.Time
}

// Open makes the folder hold the steps of a history, each once, and appends to
// it: what stands there of other steps is dropped, what is missing of these is
// written from the history. Pictures stay with their evaluations. classes are
// the names of the IoUs of an evaluation.
//
// All goes into one new file that replaces the earlier ones, and tells a
// TensorBoard that is running to forget what it has read of these.
func Open(dir string, h *history.History, classes []string) (*Log, error) {
	l := &Log{flushed: time.Now()}
	for k, name := range classes {
		if slices.Contains(classes[:k], name) {
			name = fmt.Sprintf("%s %d", name, k)
		}
		l.classes = append(l.classes, validationTags+"iou/"+name)
	}
	if err := l.open(dir, h); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return l, nil
}

func (l *Log) open(dir string, h *history.History) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, number, err := earlier(dir)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fmt.Sprintf("%s%010d%s", filePrefix, max(number+1, time.Now().Unix()), fileSuffix))
	if err := l.rewrite(path, old, h); err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	l.file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	return err
}

// earlier lists the files that are there, and the largest number among them:
// readers take files in the order of their names.
func earlier(dir string) (names []string, number int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), filePrefix)
		if middle, ok = strings.CutSuffix(middle, fileSuffix); !ok || !strings.HasPrefix(e.Name(), filePrefix) {
			continue
		}
		if n, err := strconv.ParseInt(middle, 10, 64); err == nil {
			names, number = append(names, filepath.Join(dir, e.Name())), max(number, n)
		}
	}
	return names, number, nil
}

// rewrite writes what a history wants of earlier files to a new one.
func (l *Log) rewrite(path string, old []string, h *history.History) error {
	var kept []stored
	if len(h.Records)+len(h.Evaluations) > 0 {
		for _, name := range old {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			part, err := load(f)
			if err != nil {
				return err
			}
			kept = append(kept, part...)
		}
	}
	list := l.reconcile(kept, h)
	return atomicfile.Write(path, func(w io.Writer) error {
		out := bufio.NewWriter(w)
		out.Write(appendRecord(nil, encodeVersion(time.Now()))) // Flush tells the first error
		if len(list) > 0 {
			out.Write(appendRecord(nil, encodeStart(time.Now())))
		}
		for _, e := range list {
			content, err := e.read()
			if err != nil {
				return err
			}
			out.Write(appendRecord(nil, content))
		}
		return out.Flush()
	})
}

// stored is an event of a file, or one that is written anew.
type stored struct {
	step    int
	folder  string   // of its tags
	content []byte   // where file is nil
	file    *os.File // open
	at      int64    // of the frame in the file
}

// load lists the events of a file up to its end or the first damaged one.
func load(f *os.File) ([]stored, error) {
	in := bufio.NewReader(f)
	var list []stored
	at := int64(0)
	for {
		content, err := readRecord(in)
		if errors.Is(err, io.EOF) || errors.Is(err, errRecord) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if step, tag, ok := place(content); ok && tag != "" {
			folder, _, _ := strings.Cut(tag, "/")
			list = append(list, stored{step: step, folder: folder + "/", file: f, at: at})
		}
		at += int64(len(content)) + frameBytes
	}
}

func (s stored) read() ([]byte, error) {
	if s.file == nil {
		return s.content, nil
	}
	return readRecord(io.NewSectionReader(s.file, s.at, math.MaxInt64-s.at))
}

// reconcile returns the events of a history's steps in their order.
func (l *Log) reconcile(kept []stored, h *history.History) []stored {
	type place struct {
		folder string
		step   int
	}
	order := map[string]int{trainTags: 0, validationTags: 1, sampleTags: 2}
	wanted := map[place]*stored{}
	now := time.Now()
	for _, r := range h.Records {
		e := stored{step: r.Iteration + 1, folder: trainTags, content: encodeEvent(now, r.Iteration+1, recordValues(r))}
		wanted[place{e.folder, e.step}] = &e
	}
	for _, v := range h.Evaluations {
		e := stored{step: v.Iteration, folder: validationTags, content: encodeEvent(now, v.Iteration, l.evaluationValues(v))}
		wanted[place{e.folder, e.step}] = &e
		wanted[place{sampleTags, e.step}] = nil // where there are any
	}
	for _, e := range kept {
		at := place{e.folder, e.step}
		if have, ok := wanted[at]; ok && (have == nil || have.file == nil) {
			wanted[at] = &e
		}
	}
	var list []stored
	for _, e := range wanted {
		if e != nil {
			list = append(list, *e)
		}
	}
	slices.SortFunc(list, func(a, b stored) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(order[a.folder], order[b.folder]))
	})
	return list
}

func recordValues(r history.Record) []value {
	values := []value{
		{tag: trainTags + "loss", number: r.Loss},
		{tag: trainTags + "loss_main", number: r.LossMain},
		{tag: trainTags + "accuracy", number: r.Accuracy},
		{tag: trainTags + "lr_encoder", number: r.LREncoder},
		{tag: trainTags + "lr_decoder", number: r.LRDecoder},
		{tag: trainTags + "data_seconds", number: r.DataSeconds},
		{tag: trainTags + "step_seconds", number: r.StepSeconds},
		{tag: trainTags + "epoch", number: r.Epoch},
	}
	if r.LossDeepSup != 0 {
		values = append(values, value{tag: trainTags + "loss_deepsup", number: r.LossDeepSup})
	}
	if r.GradientNorm != 0 {
		values = append(values, value{tag: trainTags + "gradient_norm", number: r.GradientNorm})
	}
	return values
}

func (l *Log) evaluationValues(e history.Evaluation) []value {
	values := []value{
		{tag: validationTags + "mean_iou", number: e.MeanIoU},
		{tag: validationTags + "accuracy", number: e.Accuracy},
		{tag: validationTags + "seconds", number: e.Seconds},
	}
	if !math.IsNaN(e.MeanIoUPresent) {
		values = append(values, value{tag: validationTags + "mean_iou_present", number: e.MeanIoUPresent})
	}
	for k, iou := range e.IoU {
		if k < len(l.classes) && !math.IsNaN(iou) {
			values = append(values, value{tag: l.classes[k], number: iou})
		}
	}
	return values
}

// Record adds an iteration.
func (l *Log) Record(r history.Record) error {
	return l.add(r.Iteration+1, recordValues(r))
}

// Evaluation adds an evaluation and its pictures and writes everything.
func (l *Log) Evaluation(e history.Evaluation, images []Image) error {
	err := l.add(e.Iteration, l.evaluationValues(e))
	if err == nil && len(images) > 0 {
		values := make([]value, len(images))
		for i := range images {
			values[i] = value{tag: sampleTags + images[i].Tag, image: &images[i]}
		}
		err = l.add(e.Iteration, values)
	}
	return errors.Join(err, l.Flush())
}

func (l *Log) add(step int, values []value) error {
	l.pending = appendRecord(l.pending, encodeEvent(time.Now(), step, values))
	if len(l.pending) < flushBytes && time.Since(l.flushed) < flushEvery {
		return nil
	}
	return l.Flush()
}

// Flush writes pending events, in one call to the operating system.
func (l *Log) Flush() error {
	l.flushed = time.Now()
	if len(l.pending) == 0 {
		return nil
	}
	_, err := l.file.Write(l.pending)
	l.pending = l.pending[:0]
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return nil
}

// Close writes pending events and closes the file.
func (l *Log) Close() error {
	err := l.Flush()
	if e := l.file.Close(); e != nil && err == nil {
		err = fmt.Errorf("events: %w", e)
	}
	return err
}
