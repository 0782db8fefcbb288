package data

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Batch is the input of one training iteration.
type Batch struct {
	Iteration int
	Pass      int // pass over the set, from 0
	N, H, W   int // pictures, pixels
	LabelH    int // H / segm_downsampling_rate
	LabelW    int
	Images    []float32 // (N,3,H,W), normalised, zero where padded
	Labels    []int32   // (N,LabelH,LabelW), -1 where ignored or padded
	Names     []string  // records' names
	Flip      []bool

	pool *sync.Pool
}

// Release gives the batch's buffers back for a later batch. Using the batch
// afterwards is a mistake; not releasing it is only slower.
func (b *Batch) Release() {
	if b != nil && b.pool != nil {
		b.pool.Put(b)
	}
}

// TrainLoader makes training batches.
type TrainLoader struct {
	set    *Set
	opt    Options
	order  *Order
	reader *Reader
	scale  [3][256]float32
	pool   sync.Pool
	works  sync.Pool // *work
}

// work is the scratch of one goroutine.
type work struct {
	augmenter
	canvases []*canvas
	lx, ly   []int32
}

// NewTrainLoader makes a loader for a set in which every record has a mask
// and a size.
func NewTrainLoader(set *Set, o Options) (*TrainLoader, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(set.Records) == 0 {
		return nil, fmt.Errorf("data: %s: no records to train on", set.Name)
	}
	for _, r := range set.Records {
		switch {
		case r.Mask == "":
			e := &ListError{File: set.Name}
			e.add(r.Line, "%s has no mask to train on", r.Name)
			return nil, e
		case r.Width < 1 || r.Height < 1:
			return nil, fmt.Errorf("data: %s: the size of %s is unknown; call Set.Measure", set.Name, r.Name)
		}
	}
	l := &TrainLoader{set: set, opt: o, order: NewOrder(set, o), reader: NewReader(o), scale: normalisation(o)}
	l.works.New = func() any { return &work{augmenter: augmenter{opt: &l.opt}} }
	return l, nil
}

// normalisation tabulates (v/255 - mean) / std in float32, as PyTorch does it.
func normalisation(o Options) (t [3][256]float32) {
	for c := range t {
		for v := range t[c] {
			t[c][v] = (float32(v)/255 - o.Mean[c]) / o.Std[c]
		}
	}
	return t
}

// Draw tells what batch number iteration is made of, without making it.
func (l *TrainLoader) Draw(iteration int) Draw { return l.order.Draw(iteration) }

// Batch makes the batch of an iteration, counted from 0 over the whole run.
// It is a function of set, options and iteration alone.
func (l *TrainLoader) Batch(iteration int) (*Batch, error) {
	return l.batch(context.Background(), l.order.Draw(iteration))
}

// Stream makes count batches ahead, starting with iteration from, and yields
// them in order: all, or the part of them that the options say.
func (l *TrainLoader) Stream(ctx context.Context, from, count int) *Stream[*Batch] {
	at := from + l.opt.Part
	return newStream(ctx, l.opt.workers(), l.opt.Prefetch, func() (func(context.Context) (*Batch, error), bool) {
		if at >= from+count {
			return nil, false
		}
		d := l.order.Draw(at)
		at += max(l.opt.Parts, 1)
		return func(ctx context.Context) (*Batch, error) { return l.batch(ctx, d) }, true
	})
}

// scaled returns the size of a picture whose short side is to be short, its
// long side at most most; truncated, as the reference truncates.
func scaled(width, height, short, most int) (w, h int) {
	scale := min(float64(short)/float64(min(width, height)), float64(most)/float64(max(width, height)))
	return max(1, int(float64(width)*scale)), max(1, int(float64(height)*scale))
}

// roundUp returns the least multiple of m that is at least v.
func roundUp(v, m int) int { return (v + m - 1) / m * m }

func (l *TrainLoader) batch(ctx context.Context, d Draw) (*Batch, error) {
	w := l.works.Get().(*work)
	defer l.works.Put(w)
	n, rate := len(d.Records), l.opt.SegmDownsamplingRate
	names := make([]string, n)
	H, W := 0, 0
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := l.draw(w, d, i)
		if err != nil {
			return nil, err
		}
		names[i] = l.set.Records[d.Records[i]].Name
		W, H = max(W, c.w, c.frameW), max(H, c.h, c.frameH)
	}
	b, _ := l.pool.Get().(*Batch)
	if b == nil {
		b = &Batch{pool: &l.pool}
	}
	b.Iteration, b.Pass, b.N, b.Names, b.Flip = d.Iteration, d.Pass, n, names, d.Flip
	b.W, b.H = roundUp(W, l.opt.PaddingConstant), roundUp(H, l.opt.PaddingConstant)
	b.LabelW, b.LabelH = b.W/rate, b.H/rate
	b.Images = grow(b.Images, n*3*b.H*b.W)
	clear(b.Images)
	b.Labels = grow(b.Labels, n*b.LabelH*b.LabelW)
	for i := range b.Labels {
		b.Labels[i] = -1
	}
	for i, c := range w.canvases[:n] {
		normalise(b.Images[i*3*b.H*b.W:(i+1)*3*b.H*b.W], b.H, b.W, c.pix.now, c.w, c.h, &l.scale)
		w.labels(b.Labels[i*b.LabelH*b.LabelW:(i+1)*b.LabelH*b.LabelW], b.LabelW, c.mask.now, c.w, c.h, rate)
	}
	return b, nil
}

// draw makes picture number i of a draw on the work's canvas number i.
func (l *TrainLoader) draw(k *work, d Draw, i int) (*canvas, error) {
	for len(k.canvases) <= i {
		k.canvases = append(k.canvases, new(canvas))
	}
	c, at := k.canvases[i], d.Records[i]
	rec := l.set.Records[at]
	s, err := l.reader.Read(rec)
	if err == nil {
		w, h := scaled(rec.Width, rec.Height, d.ShortSide, l.opt.ImgMaxSize)
		if err = l.opt.fits(d.ShortSide, w, h); err == nil {
			c.start(s, w, h)
			err = k.run(c, d.Flip[i], at, d.Passes[i])
		}
		if err != nil {
			err = fmt.Errorf("data: %s: %w", rec.Image, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("iteration %d: %w", d.Iteration, err)
	}
	return c, nil
}

// Sample makes picture number i of a draw, with its mask at the picture's
// resolution, as it goes into the batch: augmented, not yet normalised, padded
// or reduced.
func (l *TrainLoader) Sample(d Draw, i int) (Sample, error) {
	w := l.works.Get().(*work)
	defer l.works.Put(w)
	c, err := l.draw(w, d, i)
	if err != nil {
		return Sample{}, err
	}
	return Sample{&Picture{c.w, c.h, slices.Clone(c.pix.now)}, &Mask{c.w, c.h, slices.Clone(c.mask.now)}}, nil
}

// normalise writes packed RGB of (h,w) into the upper left corner of dst
// (3,H,W).
func normalise(dst []float32, H, W int, pix []uint8, w, h int, scale *[3][256]float32) {
	for y := range h {
		row := pix[3*y*w : 3*(y+1)*w]
		red := dst[y*W : y*W+w]
		green := dst[(H+y)*W : (H+y)*W+w]
		blue := dst[(2*H+y)*W : (2*H+y)*W+w]
		for x := range red {
			px := row[3*x : 3*x+3 : 3*x+3]
			red[x], green[x], blue[x] = scale[0][px[0]], scale[1][px[1]], scale[2][px[2]]
		}
	}
}

// labels extends a mask of (h,w) with ignored pixels to multiples of rate, and
// takes every rate-th pixel, starting at rate/2, as nearest neighbour does.
// dst is (LabelH,stride), already -1 everywhere.
func (k *work) labels(dst []int32, stride int, mask []uint16, w, h, rate int) {
	k.lx = nearestIndex(k.lx, roundUp(w, rate), roundUp(w, rate)/rate)
	k.ly = nearestIndex(k.ly, roundUp(h, rate), roundUp(h, rate)/rate)
	for y, ly := range k.ly {
		if int(ly) >= h {
			break
		}
		row, out := mask[int(ly)*w:][:w], dst[y*stride:(y+1)*stride]
		for x, lx := range k.lx {
			if int(lx) >= w {
				break
			}
			out[x] = int32(row[lx]) - 1
		}
	}
}
