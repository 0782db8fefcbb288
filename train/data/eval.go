package data

import (
	"context"
	"fmt"
	"sync"
)

// Scaled is one picture at one of the sizes evaluation averages over.
type Scaled struct {
	H, W  int       // multiples of padding_constant
	Image []float32 // (1,3,H,W), normalised
}

// EvalItem is one picture of an evaluation or a prediction.
type EvalItem struct {
	Index   int // into the set
	Record  Record
	Picture *Picture // at its own size; must not be changed
	Inputs  []Scaled // one per size of imgSizes
	Labels  []int32  // (Height,Width) of the picture, -1 ignored; nil without a mask

	pool *sync.Pool
}

// Release gives the item's buffers back for a later one; see Batch.Release.
func (e *EvalItem) Release() {
	if e != nil && e.pool != nil {
		e.Picture = nil
		e.pool.Put(e)
	}
}

// EvalLoader makes the inputs of evaluation and prediction: every picture,
// unmirrored, in the set's order, stretched to each of imgSizes with both
// sides rounded up to padding_constant, as the reference has it; its label at
// full resolution.
type EvalLoader struct {
	set    *Set
	opt    Options
	reader *Reader
	scale  [3][256]float32
	pool   sync.Pool
	works  sync.Pool
}

// stretcher is the scratch of one goroutine.
type stretcher struct {
	resize resizer
	pixels []uint8
}

// NewEvalLoader makes a loader; records may lack masks and sizes.
func NewEvalLoader(set *Set, o Options) (*EvalLoader, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(set.Records) == 0 {
		return nil, fmt.Errorf("data: %s: no records", set.Name)
	}
	l := &EvalLoader{set: set, opt: o, reader: NewReader(o), scale: normalisation(o)}
	l.works.New = func() any { return new(stretcher) }
	return l, nil
}

// Item makes one item.
func (l *EvalLoader) Item(index int) (*EvalItem, error) {
	rec := l.set.Records[index]
	s, err := l.reader.Read(rec)
	if err != nil {
		return nil, err
	}
	e, _ := l.pool.Get().(*EvalItem)
	if e == nil {
		e = &EvalItem{pool: &l.pool}
	}
	w := l.works.Get().(*stretcher)
	defer l.works.Put(w)
	p := s.Picture
	e.Index, e.Record, e.Picture = index, rec, p
	e.Inputs = grow(e.Inputs, len(l.opt.ImgSizes))
	for i, short := range l.opt.ImgSizes {
		in := &e.Inputs[i]
		in.W, in.H = scaled(p.Width, p.Height, short, l.opt.ImgMaxSize)
		in.W, in.H = roundUp(in.W, l.opt.PaddingConstant), roundUp(in.H, l.opt.PaddingConstant)
		if err := l.opt.fits(short, in.W, in.H); err != nil {
			return nil, fmt.Errorf("data: %s: %w", rec.Image, err)
		}
		in.Image = grow(in.Image, 3*in.H*in.W)
		w.pixels = w.resize.rgb(w.pixels, p.Pix, p.Width, p.Height, in.W, in.H)
		normalise(in.Image, in.H, in.W, w.pixels, in.W, in.H, &l.scale)
	}
	if s.Mask == nil {
		e.Labels = nil
	} else {
		e.Labels = s.Mask.Labels(e.Labels)
	}
	return e, nil
}

// Stream makes items from..Len()-1 ahead and yields them in order: all, or the
// part of them that the options say.
func (l *EvalLoader) Stream(ctx context.Context, from int) *Stream[*EvalItem] {
	at := from + l.opt.Part
	return newStream(ctx, l.opt.workers(), l.opt.Prefetch, func() (func(context.Context) (*EvalItem, error), bool) {
		if at >= len(l.set.Records) {
			return nil, false
		}
		i := at
		at += max(l.opt.Parts, 1)
		return func(ctx context.Context) (*EvalItem, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return l.Item(i)
		}, true
	})
}
