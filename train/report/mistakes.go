package report

import (
	"cmp"
	"slices"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/metric"
)

// mistake is pixels of one class that were taken for another.
type mistake struct {
	Label, Prediction string
	Pixels            int64
	Share             string // of the label's pixels
}

// mistakes are the most frequent ones, at most so many.
func mistakes(c *metric.Confusion, classes models.Classes, most int) []mistake {
	var cells []int
	for at, n := range c.Counts {
		if n > 0 && at/c.Classes != at%c.Classes {
			cells = append(cells, at)
		}
	}
	slices.SortStableFunc(cells, func(a, b int) int { return cmp.Compare(c.Counts[b], c.Counts[a]) })
	labelled := c.Summary().PerClass
	var list []mistake
	for _, at := range cells[:min(len(cells), most)] {
		label, n := at/c.Classes, c.Counts[at]
		list = append(list, mistake{classes.Name(label), classes.Name(at % c.Classes), n, percent(float64(n) / float64(labelled[label].Labelled))})
	}
	return list
}
