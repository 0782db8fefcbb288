package metric

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// WriteCSV writes the counts of pixels, a row a label, a column a prediction,
// under the classes' names.
func (c *Confusion) WriteCSV(w io.Writer, names []string) error {
	if len(names) != c.Classes {
		return fmt.Errorf("metric: %d names for %d classes", len(names), c.Classes)
	}
	out := csv.NewWriter(w)
	out.Write(append([]string{"label \\ prediction"}, names...)) // Error tells the first error
	for l, name := range names {
		row := []string{name}
		for _, n := range c.Counts[l*c.Classes : (l+1)*c.Classes] {
			row = append(row, strconv.FormatInt(n, 10))
		}
		out.Write(row)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("metric: %w", err)
	}
	return nil
}

// WriteCSV writes a row for every class; what is not a number stays empty.
func (s *Summary) WriteCSV(w io.Writer, names []string) error {
	if len(names) != len(s.PerClass) {
		return fmt.Errorf("metric: %d names for %d classes", len(names), len(s.PerClass))
	}
	number := func(v float64) string {
		if v != v {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	out := csv.NewWriter(w)
	out.Write([]string{"class", "name", "iou", "recall", "precision", "label_share", "predicted_share", "labelled", "predicted", "intersection", "union"})
	for i, k := range s.PerClass {
		out.Write([]string{strconv.Itoa(k.Class), names[i], number(k.IoU), number(k.Recall), number(k.Precision), number(k.LabelShare), number(k.PredictedShare),
			strconv.FormatInt(k.Labelled, 10), strconv.FormatInt(k.Predicted, 10), strconv.FormatInt(k.Intersection, 10), strconv.FormatInt(k.Union, 10)})
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("metric: %w", err)
	}
	return nil
}
