package train

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/metric"
)

// predictorsOn makes predictors of a model, on devices of one thread each.
func predictorsOn(t *testing.T, n int, m *onnx.Model) Predictors {
	t.Helper()
	p, err := NewPredictors(m, threadEach(t, n)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// evaluationFor returns a model and pictures to evaluate it on.
func evaluationFor(t *testing.T) (*config.Config, *onnx.Model, *data.Set, data.Options) {
	t.Helper()
	cfg := smallRun(t, t.TempDir())
	model, _ := firstBatch(t, cfg)
	set, err := data.Open(cfg, data.Train)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, model, set, data.OptionsFrom(cfg)
}

// Devices share the pictures of an evaluation; results and their order are those
// of one.
func TestEvaluationOnSeveralDevices(t *testing.T) {
	cfg, model, set, opt := evaluationFor(t)
	type result struct {
		index         int
		classes       []int32
		probabilities []float32
	}
	evaluate := func(p Predictors) ([]result, *metric.Confusion) {
		var all []result
		var inside atomic.Int32
		confusion, err := p.Evaluate(context.Background(), set, opt, func(r *Prediction) error {
			if inside.Add(1) != 1 {
				t.Error("two results at the same time")
			}
			defer inside.Add(-1)
			all = append(all, result{r.Item.Index, r.Classes, r.Probabilities})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all, confusion
	}
	want, counts := evaluate(predictorsOn(t, 1, model))
	if len(want) != len(set.Records) {
		t.Fatalf("%d results of %d pictures", len(want), len(set.Records))
	}
	for i, r := range want {
		if r.index != i {
			t.Errorf("picture %d comes as number %d", r.index, i)
		}
	}
	others := []Predictors{predictorsOn(t, 2, model), predictorsOn(t, 3, model), replicasOn(t, 2, cfg, model).Predictors()}
	for _, p := range others {
		if got, sums := evaluate(p); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(sums, counts) {
			t.Errorf("%d devices have other results than one", len(p))
		}
	}
}

// A failure at one picture is that of one device: the results before it come, and
// none after it; the error names the picture.
func TestEvaluationThatFails(t *testing.T) {
	_, model, set, opt := evaluationFor(t)
	const at = 3
	broken := *set
	broken.Records = slices.Clone(set.Records)
	broken.Records[at].Image = broken.Records[at].Image + ".none"
	full := errors.New("the disk is full")
	for n := 1; n <= 3; n++ {
		seen := 0
		_, err := predictorsOn(t, n, model).Evaluate(context.Background(), &broken, opt, func(*Prediction) error { seen++; return nil })
		if seen != at || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), broken.Records[at].Image) {
			t.Errorf("%d devices, a picture that is not there: %d results, %v", n, seen, err)
		}

		seen = 0
		_, err = predictorsOn(t, n, model).Evaluate(context.Background(), set, opt, func(*Prediction) error {
			if seen++; seen == at {
				return full
			}
			return nil
		})
		if seen != at || !errors.Is(err, full) {
			t.Errorf("%d devices, a full disk: %d results, %v", n, seen, err)
		}

		ctx, cancel := context.WithCancelCause(context.Background())
		stopped := errors.New("stopped")
		seen = 0
		_, err = predictorsOn(t, n, model).Evaluate(ctx, set, opt, func(*Prediction) error {
			if seen++; seen == at {
				cancel(stopped)
			}
			return nil
		})
		if !errors.Is(err, stopped) || seen > at+n {
			t.Errorf("%d devices, stopped: %d results, %v", n, seen, err)
		}

		seen = 0
		p := predictorsOn(t, n, model)
		for _, one := range p {
			one.Classes++ // than the model has: the buffers do not fit
		}
		if _, err = p.Evaluate(context.Background(), set, opt, func(*Prediction) error { seen++; return nil }); seen > 0 || err == nil || !strings.HasPrefix(err.Error(), set.Records[0].Name+": ") {
			t.Errorf("%d devices, a model that does not fit: %d results, %v", n, seen, err)
		}
	}
}
