package train

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/metric"
)

// Prediction is the result for one picture. Its item is valid until the
// callback that gets it returns.
type Prediction struct {
	Item          *data.EvalItem
	Probabilities []float32 // (Classes,H,W); nil where windows were taken
	Classes       []int32   // (H,W)
}

// Predict runs over a set in order and hands every result to each; the
// pictures are read ahead in other goroutines. It returns the context's error
// when that ends.
func (p *Predictor) Predict(ctx context.Context, set *data.Set, opt data.Options, each func(*Prediction) error) error {
	return predict(ctx, []*Predictor{p}, set, opt, each)
}

// predict is Predictor.Predict by several predictors at the same time, in any
// order if they are more than one.
func predict(ctx context.Context, predictors []*Predictor, set *data.Set, opt data.Options, each func(*Prediction) error) error {
	loader, err := data.NewEvalLoader(set, opt)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stream := loader.Stream(ctx, 0)
	defer stream.Close()
	var reading, handing sync.Mutex
	next := func() (*data.EvalItem, error) {
		reading.Lock()
		defer reading.Unlock()
		return stream.Next()
	}
	hand := func(one *Prediction) error {
		handing.Lock()
		defer handing.Unlock()
		return each(one)
	}
	var all sync.WaitGroup
	for _, p := range predictors {
		all.Go(func() {
			if err := guarded(func() error { return p.pictures(opt, next, hand) }); err != nil {
				stop(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// pictures predicts until there are no more.
func (p *Predictor) pictures(opt data.Options, next func() (*data.EvalItem, error), each func(*Prediction) error) error {
	for {
		item, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := &Prediction{Item: item}
		if p.Window.needed(item) {
			r.Classes, err = p.windowed(item, opt.PaddingConstant)
		} else if r.Probabilities, err = p.Probabilities(item); err == nil {
			r.Classes = Classify(r.Probabilities, p.Classes)
		}
		if err == nil {
			err = each(r)
		}
		item.Release()
		if err != nil {
			return err
		}
	}
}

// Evaluate compares predictions with labels at full resolution, one picture at
// a time as the reference does, and hands every prediction to each, if given.
func (p *Predictor) Evaluate(ctx context.Context, set *data.Set, opt data.Options, each func(*Prediction) error) (*metric.Confusion, error) {
	return evaluate(ctx, []*Predictor{p}, set, opt, each)
}

// evaluate is Predictor.Evaluate by several predictors at the same time.
func evaluate(ctx context.Context, predictors []*Predictor, set *data.Set, opt data.Options, each func(*Prediction) error) (*metric.Confusion, error) {
	confusion := metric.NewConfusion(predictors[0].Classes)
	err := predict(ctx, predictors, set, opt, func(r *Prediction) error {
		if err := confusion.Add(r.Classes, r.Item.Labels); err != nil {
			return err
		}
		if each != nil {
			return each(r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return confusion, nil
}
