package train

import (
	"context"
	"errors"
	"io"

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
	loader, err := data.NewEvalLoader(set, opt)
	if err != nil {
		return err
	}
	stream := loader.Stream(ctx, 0)
	defer stream.Close()
	for {
		item, err := stream.Next()
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
	confusion := metric.NewConfusion(p.Classes)
	err := p.Predict(ctx, set, opt, func(r *Prediction) error {
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
