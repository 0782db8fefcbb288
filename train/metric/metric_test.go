package metric

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Four classes; class 2 is only predicted, class 3 absent.
var (
	labels      = []int32{0, 0, 0, 0, 1, 1, -1, -1, 1, 0}
	predictions = []int32{0, 0, 1, 2, 1, 0, 3, 9, 1, 0}
)

func TestSummary(t *testing.T) {
	c := NewConfusion(4)
	if err := c.Add(predictions, labels); err != nil {
		t.Fatal(err)
	}
	s := c.Summary()
	if s.Pixels != 8 || s.Correct != 5 || math.Abs(s.Accuracy-5.0/8) > 1e-10 {
		t.Errorf("pixels %d, correct %d, accuracy %v", s.Pixels, s.Correct, s.Accuracy)
	}
	// class 0: 3 of labels 5 + predictions 4 - 3; class 1: 2 of 3+3-2.
	want := []float64{3.0 / 6, 2.0 / 4, 0, math.NaN()}
	for i, w := range want {
		if got := s.PerClass[i].IoU; !close(got, w) {
			t.Errorf("IoU of class %d: %v, want %v", i, got, w)
		}
	}
	if !close(s.MeanIoU, 1.0/4) || !close(s.MeanIoUPresent, 1.0/2) || s.Present != 2 {
		t.Errorf("mean IoU %v (want 0.25), over %d present classes %v (want 0.5)", s.MeanIoU, s.Present, s.MeanIoUPresent)
	}
	if !close(s.MeanRecall, (3.0/5+2.0/3)/2) || !close(s.FrequencyIoU, 0.5) {
		t.Errorf("mean recall %v, frequency weighted IoU %v", s.MeanRecall, s.FrequencyIoU)
	}
	if k := s.PerClass[2]; !math.IsNaN(k.Recall) || k.Precision != 0 || k.Predicted != 1 {
		t.Errorf("class 2: %+v", k)
	}
	if k := s.PerClass[3]; !math.IsNaN(k.Recall) || !math.IsNaN(k.Precision) || k.LabelShare != 0 {
		t.Errorf("class 3: %+v", k)
	}
}

func close(a, b float64) bool {
	return a == b || math.Abs(a-b) < 1e-9 || (math.IsNaN(a) && math.IsNaN(b))
}

// TestAgainstReferenceFormulas computes the reference's figures its own way:
// histograms of predictions and labels shifted by one, 0 where unlabelled.
func TestAgainstReferenceFormulas(t *testing.T) {
	const classes = 7
	r := rand.New(rand.NewPCG(1, 2))
	total := NewConfusion(classes)
	inter, union := make([]float64, classes), make([]float64, classes)
	sum, valid := 0.0, 0.0
	for range 5 {
		p, l := make([]int32, 500), make([]int32, 500)
		part := NewConfusion(classes)
		var areaP, areaL, areaI [classes]float64
		right, counted := 0.0, 0.0
		for i := range p {
			p[i], l[i] = r.Int32N(classes-1), r.Int32N(classes)-1 // class 6 never
			if l[i] < 0 {
				continue
			}
			counted++
			areaP[p[i]]++
			areaL[l[i]]++
			if p[i] == l[i] {
				right++
				areaI[l[i]]++
			}
		}
		for k := range classes {
			inter[k] += areaI[k]
			union[k] += areaP[k] + areaL[k] - areaI[k]
		}
		acc, n, err := PixelAccuracy(p, l)
		if err != nil || n != int(counted) || acc != right/(counted+1e-10) {
			t.Errorf("PixelAccuracy %v of %d, want %v of %v (%v)", acc, n, right/(counted+1e-10), counted, err)
		}
		sum += acc * counted
		valid += counted
		if err := errors.Join(part.Add(p, l), total.Merge(part)); err != nil {
			t.Fatal(err)
		}
	}
	s := total.Summary()
	mean := 0.0
	for k := range classes {
		mean += inter[k] / (union[k] + 1e-10) / classes
	}
	if math.Abs(s.MeanIoU-mean) > 1e-12 || math.Abs(s.Accuracy-sum/valid) > 1e-12 {
		t.Errorf("mean IoU %v, accuracy %v; want %v, %v", s.MeanIoU, s.Accuracy, mean, sum/valid)
	}
}

func TestErrorsLeaveNothingCounted(t *testing.T) {
	c := NewConfusion(2)
	var class *ClassError
	if err := c.Add([]int32{0, 0}, []int32{0, 2}); !errors.As(err, &class) || class.What != "label" || class.Index != 1 {
		t.Errorf("label 2 of 2 classes: %v", err)
	}
	if err := c.Add([]int32{0, 2}, []int32{0, 1}); !errors.As(err, &class) || class.What != "prediction" || class.Value != 2 {
		t.Errorf("prediction 2 of 2 classes: %v", err)
	}
	var length *LengthError
	if err := c.Add([]int32{0}, []int32{0, 1}); !errors.As(err, &length) {
		t.Errorf("lengths: %v", err)
	}
	if _, _, err := PixelAccuracy([]int32{0}, nil); !errors.As(err, &length) {
		t.Errorf("lengths: %v", err)
	}
	if err := c.Merge(NewConfusion(3)); err == nil {
		t.Error("merged matrices of different classes")
	}
	if s := c.Summary(); s.Pixels != 0 || s.Accuracy != 0 || !math.IsNaN(s.MeanIoUPresent) {
		t.Errorf("something was counted: %+v", s)
	}
}

func TestJSON(t *testing.T) {
	c := NewConfusion(4)
	if err := c.Add(predictions, labels); err != nil {
		t.Fatal(err)
	}
	s := c.Summary()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Summary
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(back.PerClass[3].IoU) {
		t.Errorf("absent class came back as %v", back.PerClass[3].IoU)
	}
	again, _ := json.Marshal(back)
	if string(again) != string(b) {
		t.Errorf("wrote %s, then %s", b, again)
	}
}

func TestShares(t *testing.T) {
	if got := Shares([]int32{0, 0, 1, -1, 5}, 3); !reflect.DeepEqual(got, []float64{2.0 / 3, 1.0 / 3, 0}) {
		t.Errorf("shares %v", got)
	}
	if got := Shares(nil, 2); !reflect.DeepEqual(got, []float64{0, 0}) {
		t.Errorf("shares of nothing %v", got)
	}
}
