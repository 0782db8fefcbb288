package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/metric"
)

// WriteTable writes the figures of an evaluation as plain text.
func WriteTable(w io.Writer, s *metric.Summary, classes models.Classes) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "class\tIoU\trecall\tprecision\tlabels\tpredicted\t") // Flush tells the first error
	for _, r := range classRows(s, classes) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", strings.ReplaceAll(r.Name, "\t", " "), r.IoU, r.Recall, r.Precision, r.Share, r.Got)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err := fmt.Fprintf(w, "\nmean IoU %s (absent classes as 0), %s over the %d classes present; pixel accuracy %s of %d pixels\n",
		percent(s.MeanIoU), percent(s.MeanIoUPresent), s.Present, percent(s.Accuracy), s.Pixels)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
