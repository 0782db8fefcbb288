package train

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/history"
)

// Batch is what one training run works on.
type Batch struct {
	Image  []float32
	Shape  []int // of Image: (N,3,H,W)
	Labels []int32
}

// Step trains on one batch: image (N,3,H,W), labels (N,H/r,W/r) with -1 for
// ignored pixels, r being DATASET.segm_downsampling_rate. The weights are
// unchanged when the batch does not fit or the loss is not a number.
func (t *Trainer) Step(image []float32, shape []int, labels []int32) (history.Record, error) {
	return t.StepOn(Batch{image, shape, labels})
}

// StepOn is Step on the mean of the gradients of several batches, with one
// update. The record's loss is the mean of theirs.
func (t *Trainer) StepOn(batches ...Batch) (history.Record, error) {
	c := &t.cfg.Train
	inside := len(batches) == 1 && c.ClipNorm == 0 // the run itself updates
	lrEncoder, lrDecoder := t.Rates()
	if err := t.Optimizer.SetRates(t.Iteration, lrEncoder, lrDecoder); err != nil {
		return history.Record{}, err
	}
	total, correct, labelled := 0.0, 0, 0
	var parts [2]float64 // at the output, of deep supervision
	for i, b := range batches {
		loss, err := t.run(b, inside, uint64((t.Iteration*len(batches)+i)*t.replicas+t.replica))
		if err != nil {
			return history.Record{}, err
		}
		total += loss.Total
		for k, v := range loss.Outputs {
			parts[k] += v / float64(len(batches))
		}
		correct += loss.Correct
		labelled += loss.Labelled
		if i+1 < len(batches) {
			if err := t.remember(i == 0); err != nil {
				return history.Record{}, err
			}
		}
	}
	last := batches[len(batches)-1]
	r := history.Record{
		Iteration: t.Iteration, Epoch: float64(t.Iteration+1) / float64(c.EpochIters),
		Loss: total / float64(len(batches)), LossMain: parts[0], LossDeepSup: parts[1],
		Accuracy: graph.LossValue{Correct: correct, Labelled: labelled}.Accuracy(),
		Height:   last.Shape[2], Width: last.Shape[3], LREncoder: lrEncoder, LRDecoder: lrDecoder,
	}
	if !inside {
		var err error
		if r.GradientNorm, err = t.update(len(batches), lrEncoder, lrDecoder); err != nil {
			return history.Record{}, err
		}
	}
	if t.average != nil {
		begin := time.Now()
		if err := t.average.step(); err != nil {
			return history.Record{}, err
		}
		t.Net.Profiler().Record("average", begin, 0)
	}
	t.Iteration++
	return r, nil
}

// run computes loss and gradients of one batch, and updates the parameters if
// update says so. number is that of the batch in the whole training, for random
// operators.
func (t *Trainer) run(b Batch, update bool, number uint64) (graph.LossValue, error) {
	spec := graph.Spec{
		Inputs: map[string][]int{models.InputName: b.Shape}, Mode: graph.Train,
		FixBN: t.cfg.Train.FixBN, Loss: t.loss, Update: update, Precision: t.precision, Recompute: t.recompute,
	}
	begin := time.Now()
	plan, err := t.Net.Plan(spec)
	if err != nil {
		return graph.LossValue{}, err
	}
	t.Net.Profiler().Record("(building the plan)", begin, 0)
	begin = time.Now()
	if err := plan.SetInput(models.InputName, b.Image); err != nil {
		return graph.LossValue{}, err
	}
	rate := t.cfg.Dataset.SegmDownsamplingRate
	if err := setLabels(plan, t.loss, b.Labels, b.Shape[0], b.Shape[2]/rate, b.Shape[3]/rate); err != nil {
		return graph.LossValue{}, err
	}
	plan.SetStep(number)
	t.Net.Profiler().Record("(upload)", begin, 0)
	stopped := plan.RunAll()
	if stopped != nil && !errors.Is(stopped, graph.ErrLoss) {
		return graph.LossValue{}, fmt.Errorf("iteration %d: %w", t.Iteration, stopped)
	}
	loss, err := plan.Loss()
	if err == nil && (stopped != nil || !loss.Finite()) {
		err = &LossError{Iteration: t.Iteration, Value: loss.Total}
	}
	return loss, err
}

// remember keeps the gradients of the last run for the update.
func (t *Trainer) remember(first bool) error {
	if err := t.openGradients(); err != nil {
		return err
	}
	return t.gradients.remember(first)
}

func (t *Trainer) openGradients() (err error) {
	if t.gradients == nil {
		t.gradients, err = newGradients(t.Net)
	}
	return err
}

// update applies the mean of the gradients of several runs, clipped as
// TRAIN.clip_norm says, and returns its norm before that, 0 without clipping.
func (t *Trainer) update(runs int, lrEncoder, lrDecoder float64) (norm float64, err error) {
	if err := t.openGradients(); err != nil {
		return 0, err
	}
	if runs > 1 {
		if err := t.gradients.recall(); err != nil {
			return 0, err
		}
	}
	factor := 1 / float64(runs)
	if most := t.cfg.Train.ClipNorm; most > 0 {
		if norm, err = t.gradients.norm(); err != nil {
			return 0, err
		}
		norm *= factor
		if math.IsNaN(norm) || math.IsInf(norm, 0) {
			return 0, fmt.Errorf("iteration %d: the norm of the gradient is %v; lower TRAIN.lr_encoder and TRAIN.lr_decoder, or check the data with `graft doctor`", t.Iteration, norm)
		}
		factor *= clipFactor(norm, most)
	}
	if err := t.gradients.multiply(factor); err != nil {
		return 0, err
	}
	return norm, t.Optimizer.Step(t.Iteration, lrEncoder, lrDecoder)
}
