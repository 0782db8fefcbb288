package train

import (
	"context"
	"math"
	"testing"
)

// The history has the parts of the loss, and the IoU of every class.
func TestRunRecordsPartsAndClasses(t *testing.T) {
	c := smallRun(t, t.TempDir())
	c.Train.NumEpoch, c.Train.EpochIters, c.Train.Accumulate = 1, 2, 2
	result, err := Run(context.Background(), Options{Config: c, Device: nativeDevice(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range result.History.Records {
		if want := r.LossMain + c.Train.DeepSupScale*r.LossDeepSup; r.LossDeepSup <= 0 || math.Abs(r.Loss-want) > 1e-6*want {
			t.Errorf("loss %g of %g and %g times %g", r.Loss, r.LossMain, c.Train.DeepSupScale, r.LossDeepSup)
		}
	}
	if len(result.History.Evaluations) != 1 || len(result.History.Evaluations[0].IoU) != c.Dataset.NumClass {
		t.Fatalf("%+v", result.History.Evaluations)
	}
	for i, v := range result.History.Evaluations[0].IoU {
		if want := result.Evaluation.PerClass[i].IoU; v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
			t.Errorf("class %d: IoU %g, want %g", i, v, want)
		}
	}
}
