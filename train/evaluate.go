package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
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

// Predictors hold one model on several devices and share the pictures of a set
// between them. Results, their order and errors are those of the first alone.
type Predictors []*Predictor

// NewPredictors uploads a model to every device; see NewPredictor.
func NewPredictors(m *onnx.Model, devices ...kernel.Device) (Predictors, error) {
	var all Predictors
	for _, dev := range devices {
		p, err := NewPredictor(m, dev)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Configure sets how all of them evaluate: with mirrored inputs, by windows.
func (all Predictors) Configure(v *config.Val) {
	for _, p := range all {
		p.Flip, p.Window = v.Flip, WindowOf(v)
	}
}

// Classes is the number of the model's classes.
func (all Predictors) Classes() int { return all[0].Classes }

// place is that of a picture in the row of those that are being worked on.
type place struct {
	before <-chan struct{} // closed once the picture before it is done
	done   chan struct{}
}

// Predict runs over a set and hands every result to each, in order and one at a
// time; the pictures are read ahead in other goroutines. A device that is done
// with a picture waits until those before it are, so there are never more
// results than devices. An error, which names its picture, ends all. Predict
// returns the context's error when that ends.
func (all Predictors) Predict(ctx context.Context, set *data.Set, opt data.Options, each func(*Prediction) error) error {
	loader, err := data.NewEvalLoader(set, opt)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stream := loader.Stream(ctx, 0)
	defer stream.Close()
	var reading sync.Mutex
	last := make(chan struct{})
	close(last)
	next := func() (*data.EvalItem, place, error) {
		reading.Lock()
		defer reading.Unlock()
		item, err := stream.Next()
		p := place{last, make(chan struct{})}
		last = p.done
		return item, p, err
	}
	var working sync.WaitGroup
	for _, p := range all {
		working.Go(func() {
			for {
				item, at, err := next()
				if errors.Is(err, io.EOF) {
					return
				}
				var r *Prediction
				if err == nil {
					err = guarded(func() (err error) {
						r, err = p.predict(item, opt)
						return err
					})
				}
				select {
				case <-at.before:
				case <-ctx.Done():
					return
				}
				if err == nil {
					err = guarded(func() error { return each(r) })
					item.Release()
				}
				if err != nil {
					stop(err)
					return
				}
				close(at.done)
			}
		})
	}
	working.Wait()
	return context.Cause(ctx)
}

// predict makes the result of one picture.
func (p *Predictor) predict(item *data.EvalItem, opt data.Options) (*Prediction, error) {
	r := &Prediction{Item: item}
	var err error
	if p.Window.needed(item) {
		r.Classes, err = p.windowed(item, opt.PaddingConstant)
	} else if r.Probabilities, err = p.Probabilities(item); err == nil {
		r.Classes = Classify(r.Probabilities, p.Classes)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", item.Record.Name, err)
	}
	return r, nil
}

// Evaluate compares predictions with labels at full resolution, one picture at
// a time as the reference does, and hands every prediction to each, if given.
func (all Predictors) Evaluate(ctx context.Context, set *data.Set, opt data.Options, each func(*Prediction) error) (*metric.Confusion, error) {
	confusion := metric.NewConfusion(all.Classes())
	err := all.Predict(ctx, set, opt, func(r *Prediction) error {
		if err := confusion.Add(r.Classes, r.Item.Labels); err != nil {
			return fmt.Errorf("%s: %w", r.Item.Record.Name, err)
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
