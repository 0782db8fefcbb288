package train

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/train/data"
)

func TestMedianWeights(t *testing.T) {
	for _, c := range []struct{ frequencies, want []float64 }{
		{[]float64{0.5, 0.25, 0.125}, []float64{0.5, 1, 2}},
		{[]float64{0.5, 0, 0.25}, []float64{0.75, 1, 1.5}},
		{[]float64{0, 0}, []float64{1, 1}},
	} {
		if got := medianWeights(c.frequencies); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.frequencies, got, c.want)
		}
	}
}

// TestLossesOfAConfiguration holds the loss that a list trains on against the
// losses of its entries.
func TestLossesOfAConfiguration(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	set, err := data.Open(cfg, data.Train)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := data.NewTrainLoader(set, data.OptionsFrom(cfg))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := loader.Batch(0)
	if err != nil {
		t.Fatal(err)
	}
	model, err := InitialModel(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dev := nativeDevice(t)
	step := func(losses string) (loss, accuracy float64) {
		t.Helper()
		c := *cfg
		if err := c.Set("TRAIN.losses", losses); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(losses, "balanced") {
			if _, err := NewTrainer(&c, model, dev); err == nil || !strings.Contains(err.Error(), "balanced") {
				t.Errorf("weights that are not counted: %v", err)
			}
		}
		balanced, err := Balance(context.Background(), &c, set)
		if err != nil {
			t.Fatal(err)
		}
		trainer, err := NewTrainer(balanced, model, dev)
		if err != nil {
			t.Fatal(err)
		}
		r, err := trainer.Step(batch.Images, []int{batch.N, 3, batch.H, batch.W}, batch.Labels)
		if err != nil {
			t.Fatal(err)
		}
		return r.Loss, r.Accuracy
	}
	reference, accuracy := step("[]")
	want, text := 0.0, []string{}
	for _, c := range []struct {
		weight float64
		loss   string
	}{
		{1, "name: cross_entropy"}, {0.5, "name: cross_entropy, class_weights: balanced, label_smoothing: 0.1"},
		{0.25, "name: ohem, threshold: 0.5, min_kept: 10"}, {2, "name: dice"}, {0.75, "name: focal, alpha: 0.5"}, {1.5, "name: lovasz"},
	} {
		one, _ := step("[{" + c.loss + "}]")
		if c.loss == "name: cross_entropy" && one != reference {
			t.Errorf("cross-entropy is %v, the reference's loss %v", one, reference)
		}
		want += c.weight * one
		text = append(text, "{"+c.loss+", weight: "+fmt.Sprint(c.weight)+"}")
	}
	got, same := step("[" + strings.Join(text, ", ") + "]")
	if math.Abs(got-want) > 1e-6*want || same != accuracy {
		t.Errorf("loss %v, want %v; accuracy %v, want %v", got, want, same, accuracy)
	}
}
