package metric

import (
	"encoding/json"
	"math"
)

// Number is a float64 that JSON shows as null where it is not a number.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if v := float64(n); !math.IsNaN(v) && !math.IsInf(v, 0) {
		return json.Marshal(v)
	}
	return []byte("null"), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// classJSON and summaryJSON are the shapes scripts read.
type classJSON struct {
	Class          int    `json:"class"`
	Labelled       int64  `json:"labelled"`
	Predicted      int64  `json:"predicted"`
	Intersection   int64  `json:"intersection"`
	Union          int64  `json:"union"`
	IoU            Number `json:"iou"`
	Recall         Number `json:"recall"`
	Precision      Number `json:"precision"`
	LabelShare     Number `json:"label_share"`
	PredictedShare Number `json:"predicted_share"`
}

type summaryJSON struct {
	Pixels         int64       `json:"pixels"`
	Correct        int64       `json:"correct"`
	Accuracy       Number      `json:"accuracy"`
	MeanIoU        Number      `json:"mean_iou"`
	MeanIoUPresent Number      `json:"mean_iou_present"`
	Present        int         `json:"present_classes"`
	MeanRecall     Number      `json:"mean_recall"`
	FrequencyIoU   Number      `json:"frequency_weighted_iou"`
	PerClass       []classJSON `json:"per_class"`
}

// MarshalJSON implements json.Marshaler; absent figures are null.
func (s Summary) MarshalJSON() ([]byte, error) {
	out := summaryJSON{s.Pixels, s.Correct, Number(s.Accuracy), Number(s.MeanIoU), Number(s.MeanIoUPresent),
		s.Present, Number(s.MeanRecall), Number(s.FrequencyIoU), make([]classJSON, len(s.PerClass))}
	for i, k := range s.PerClass {
		out.PerClass[i] = classJSON{k.Class, k.Labelled, k.Predicted, k.Intersection, k.Union, Number(k.IoU),
			Number(k.Recall), Number(k.Precision), Number(k.LabelShare), Number(k.PredictedShare)}
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Summary) UnmarshalJSON(b []byte) error {
	var in summaryJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*s = Summary{in.Pixels, in.Correct, float64(in.Accuracy), make([]Class, len(in.PerClass)), float64(in.MeanIoU),
		float64(in.MeanIoUPresent), in.Present, float64(in.MeanRecall), float64(in.FrequencyIoU)}
	for i, k := range in.PerClass {
		s.PerClass[i] = Class{k.Class, k.Labelled, k.Predicted, k.Intersection, k.Union, float64(k.IoU),
			float64(k.Recall), float64(k.Precision), float64(k.LabelShare), float64(k.PredictedShare)}
	}
	return nil
}
