package train

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/history"
	"github.com/graft-onnx/graft/train/metric"
)

// labelRemedy says what to do about labels that are all ignored.
const labelRemedy = "where their masks do hold classes, check DATASET.label_shift, DATASET.ignore_index and DATASET.ignore_labels (`graft doctor` shows what masks hold)"

// labelled reports whether a batch has a labelled pixel.
func labelled(b *data.Batch) bool {
	return slices.ContainsFunc(b.Labels, func(l int32) bool { return l >= 0 })
}

// CheckLabelled returns an error where the evaluation of a set found no labelled
// pixel: there is nothing to measure then.
func CheckLabelled(set *data.Set, s *metric.Summary) error {
	if s.Pixels > 0 {
		return nil
	}
	return fmt.Errorf("%s: no pixel of its %d pictures is labelled, so nothing can be measured; %s", set.Name, len(set.Records), labelRemedy)
}

// labelWatch looks for batches without a labelled pixel, whose loss is 0: it
// tells of the first, and ends a training that learned nothing in an epoch.
type labelWatch struct {
	epoch int  // iterations
	seen  bool // a label in this epoch, or before the run went on in it
	told  bool
}

// after takes the batches of an iteration in, and its record, which with several
// processes is that of all. It returns a line to show, "" for none.
func (w *labelWatch) after(batches []*data.Batch, rec history.Record) (line string, err error) {
	for _, b := range batches {
		if labelled(b) {
			w.seen = true
		} else if !w.told {
			w.told = true
			line = fmt.Sprintf("iteration %d: no pixel of the pictures %q is labelled, so nothing is learned from them, and others like them are not told of; %s", rec.Iteration, b.Names, labelRemedy)
		}
	}
	w.seen = w.seen || rec.Loss != 0 // of another process
	if done := rec.Iteration + 1; done%w.epoch == 0 {
		if !w.seen {
			return "", fmt.Errorf("iteration %d: no picture of this epoch had a labelled pixel, so nothing was learned (pictures %q); %s", rec.Iteration, names(batches), labelRemedy)
		}
		w.seen = false
	}
	return line, nil
}
