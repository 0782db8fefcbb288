package data

import (
	"math/bits"
	"math/rand/v2"
	"sync"
)

// Draw says what training batch number Iteration is made of.
type Draw struct {
	Iteration int
	Pass      int    // pass over the set that the batch's last record came from, from 0
	Records   []int  // indices into the set
	Passes    []int  // per record: the pass that it was drawn in
	Flip      []bool // per record: mirrored left to right
	ShortSide int    // pixels
}

// Order yields the draws of a run. Records are shuffled anew in every pass
// and queue apart by orientation (taller than wide, or not), as in the
// reference: a batch leaves as soon as either queue is full, and what is left
// in a queue waits for the next pass.
type Order struct {
	opt  Options
	tall []bool

	mu    sync.Mutex
	next  int // iteration the state below stands before
	pass  int
	at    int // position within perm
	perm  []int
	queue [2][]drawn
}

// drawn is a record that waits for its batch, and the pass it is of.
type drawn struct{ record, pass int }

// NewOrder makes the order of a set whose sizes are known.
func NewOrder(set *Set, o Options) *Order {
	r := &Order{opt: o, tall: make([]bool, len(set.Records))}
	for i, rec := range set.Records {
		r.tall[i] = rec.Height > rec.Width
	}
	return r
}

// Draw returns the draw of an iteration, counted from 0 over the whole run.
// It is a function of the set, the options and the iteration alone. Going
// forward is cheap; going back replays from the start.
func (r *Order) Draw(iteration int) Draw {
	r.mu.Lock()
	defer r.mu.Unlock()
	if iteration < r.next || r.perm == nil {
		r.next, r.at, r.queue = 0, 0, [2][]drawn{}
		r.shuffle(0)
	}
	for r.next < iteration {
		r.step()
	}
	d := Draw{Iteration: iteration}
	batch := r.step()
	for _, one := range batch {
		d.Records, d.Passes = append(d.Records, one.record), append(d.Passes, one.pass)
	}
	d.Pass = d.Passes[len(d.Passes)-1]
	d.Flip = make([]bool, len(d.Records))
	g := generator(r.opt.Seed, streamDraw, uint64(iteration))
	d.ShortSide = r.opt.ImgSizes[below(g, len(r.opt.ImgSizes))]
	for i := range d.Flip {
		coin := below(g, 2) == 1
		d.Flip[i] = r.opt.RandomFlip && coin
	}
	return d
}

// step returns the next batch.
func (r *Order) step() []drawn {
	for {
		i := r.perm[r.at]
		kind := 1
		if r.tall[i] {
			kind = 0
		}
		q := append(r.queue[kind], drawn{i, r.pass})
		r.queue[kind] = q
		if r.at++; r.at == len(r.perm) {
			r.at = 0
			r.shuffle(r.pass + 1)
		}
		if len(q) == r.opt.BatchSize {
			r.queue[kind] = nil
			r.next++
			return q
		}
	}
}

// shuffle sets the permutation of a pass (Fisher and Yates).
func (r *Order) shuffle(pass int) {
	r.pass = pass
	r.perm = grow(r.perm, len(r.tall))
	for i := range r.perm {
		r.perm[i] = i
	}
	g := generator(r.opt.Seed, streamShuffle, uint64(pass))
	for i := len(r.perm) - 1; i > 0; i-- {
		j := below(g, i+1)
		r.perm[i], r.perm[j] = r.perm[j], r.perm[i]
	}
}

// Streams keep the random numbers of different uses apart.
const (
	streamShuffle = 1
	streamDraw    = 2
	streamSynth   = 3
	streamAugment = 4
)

// generator returns the random numbers of one use: PCG-DXSM, whose output Go
// promises not to change, started from a hash of seed, stream and index.
func generator(seed, stream, index uint64) *rand.PCG {
	return rand.NewPCG(mix(seed^mix(stream)), mix(index+mix(stream)))
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below returns a number in 0..n-1 by multiplication; its bias is below
// n / 2^64. Written here, since the draws must be the same in every version
// of Go, which rand.Rand's own methods do not promise.
func below(g *rand.PCG, n int) int {
	high, _ := bits.Mul64(g.Uint64(), uint64(n))
	return int(high)
}

// unit returns a number in [0,1).
func unit(g *rand.PCG) float64 { return float64(g.Uint64()>>11) / (1 << 53) }
