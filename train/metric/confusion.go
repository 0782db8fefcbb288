package metric

import (
	"fmt"
	"math"
)

// epsilon keeps the reference's divisions defined.
const epsilon = 1e-10

// Confusion counts pixels by label and prediction.
type Confusion struct {
	Classes int
	Counts  []int64 // (label, prediction)
}

// NewConfusion returns an empty matrix.
func NewConfusion(classes int) *Confusion {
	return &Confusion{classes, make([]int64, classes*classes)}
}

// A ClassError is a label or prediction outside the classes.
type ClassError struct {
	What    string // "label" or "prediction"
	Value   int32
	Index   int // position in the slice
	Classes int
}

// Error implements error.
func (e *ClassError) Error() string {
	return fmt.Sprintf("metric: %s %d at position %d is outside the %d classes", e.What, e.Value, e.Index, e.Classes)
}

// A LengthError is slices of unequal length.
type LengthError struct{ Predictions, Labels int }

// Error implements error.
func (e *LengthError) Error() string {
	return fmt.Sprintf("metric: %d predictions for %d labels", e.Predictions, e.Labels)
}

// Add counts one picture: a class number per pixel, labels -1 where ignored.
// On an error nothing has been counted.
func (c *Confusion) Add(predictions, labels []int32) error {
	if len(predictions) != len(labels) {
		return &LengthError{len(predictions), len(labels)}
	}
	n := int32(c.Classes)
	for i, l := range labels {
		if l < -1 || l >= n {
			return &ClassError{"label", l, i, c.Classes}
		}
		if p := predictions[i]; l >= 0 && (p < 0 || p >= n) {
			return &ClassError{"prediction", p, i, c.Classes}
		}
	}
	for i, l := range labels {
		if l >= 0 {
			c.Counts[int(l)*c.Classes+int(predictions[i])]++
		}
	}
	return nil
}

// Merge adds another matrix of the same classes.
func (c *Confusion) Merge(other *Confusion) error {
	if c.Classes != other.Classes {
		return fmt.Errorf("metric: matrices of %d and %d classes", c.Classes, other.Classes)
	}
	for i, v := range other.Counts {
		c.Counts[i] += v
	}
	return nil
}

// Class is what is known about one class.
type Class struct {
	Class        int
	Labelled     int64 // pixels with this label
	Predicted    int64 // valid pixels with this prediction
	Intersection int64
	Union        int64
	// IoU is intersection over union; NaN when the class occurs in neither
	// labels nor predictions.
	IoU float64
	// Recall (class accuracy) is NaN without labels, Precision without
	// predictions.
	Recall, Precision float64
	LabelShare        float64 // of valid pixels, 0..1
	PredictedShare    float64
}

// Summary is everything that follows from a confusion matrix.
type Summary struct {
	Pixels   int64   // valid ones
	Correct  int64   // of them
	Accuracy float64 // Correct / (Pixels + 1e-10), as the reference has it
	PerClass []Class
	// MeanIoU is the reference's figure: the mean of
	// intersection/(union+1e-10) over all classes, absent ones as 0.
	MeanIoU float64
	// MeanIoUPresent is the mean over classes that occur in the labels; NaN
	// when none does.
	MeanIoUPresent float64
	Present        int     // classes that occur in the labels
	MeanRecall     float64 // over present classes; NaN when none
	FrequencyIoU   float64 // IoU weighted by share of labels; NaN without labels
}

// Summary evaluates the matrix.
func (c *Confusion) Summary() Summary {
	n := c.Classes
	s := Summary{PerClass: make([]Class, n)}
	for l := range n {
		s.PerClass[l].Class = l
		for p := range n {
			v := c.Counts[l*n+p]
			s.Pixels += v
			s.PerClass[l].Labelled += v
			s.PerClass[p].Predicted += v
		}
		s.PerClass[l].Intersection = c.Counts[l*n+l]
		s.Correct += c.Counts[l*n+l]
	}
	s.Accuracy = float64(s.Correct) / (float64(s.Pixels) + epsilon)
	var present, recall, weighted float64
	for i := range s.PerClass {
		k := &s.PerClass[i]
		k.Union = k.Labelled + k.Predicted - k.Intersection
		iou := float64(k.Intersection) / (float64(k.Union) + epsilon)
		s.MeanIoU += iou / float64(n)
		k.IoU = nan(iou, k.Union == 0)
		k.Recall = ratio(k.Intersection, k.Labelled)
		k.Precision = ratio(k.Intersection, k.Predicted)
		k.LabelShare = ratio(k.Labelled, s.Pixels)
		k.PredictedShare = ratio(k.Predicted, s.Pixels)
		if k.Labelled > 0 {
			s.Present++
			present += iou
			recall += k.Recall
			weighted += k.LabelShare * iou
		}
	}
	s.MeanIoUPresent = nan(present/float64(s.Present), s.Present == 0)
	s.MeanRecall = nan(recall/float64(s.Present), s.Present == 0)
	s.FrequencyIoU = nan(weighted, s.Present == 0)
	return s
}

// IoU lists that of every class, NaN where it occurs in neither labels nor
// predictions.
func (s *Summary) IoU() []float64 {
	out := make([]float64, len(s.PerClass))
	for i, k := range s.PerClass {
		out[i] = k.IoU
	}
	return out
}

func nan(v float64, absent bool) float64 {
	if absent {
		return math.NaN()
	}
	return v
}

func ratio(a, b int64) float64 {
	return nan(float64(a)/float64(b), b == 0)
}

// PixelAccuracy returns the share of valid pixels (labels that are not
// negative) whose prediction is right, and their number, as the reference
// defines it: correct / (valid + 1e-10).
func PixelAccuracy(predictions, labels []int32) (accuracy float64, valid int, err error) {
	if len(predictions) != len(labels) {
		return 0, 0, &LengthError{len(predictions), len(labels)}
	}
	correct := 0
	for i, l := range labels {
		if l >= 0 {
			valid++
			if l == predictions[i] {
				correct++
			}
		}
	}
	return float64(correct) / (float64(valid) + epsilon), valid, nil
}

// Shares returns the share of each class among the predictions that lie
// within 0..classes-1, in 0..1; all zero when there are none.
func Shares(predictions []int32, classes int) []float64 {
	counts := make([]int64, classes)
	total := int64(0)
	for _, p := range predictions {
		if p >= 0 && int(p) < classes {
			counts[p]++
			total++
		}
	}
	out := make([]float64, classes)
	for i, v := range counts {
		if total > 0 {
			out[i] = float64(v) / float64(total)
		}
	}
	return out
}
