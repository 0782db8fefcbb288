package data

import (
	"container/list"
	"sync"
)

// Reader decodes records, checks that picture, mask and list agree on the
// size, and keeps what fits into its cache. It is safe for concurrent use.
type Reader struct {
	opt   Options
	table []int32
	cache cache
}

// NewReader makes a Reader.
func NewReader(o Options) *Reader {
	return &Reader{opt: o, table: o.Labels.table(), cache: cache{limit: o.CacheBytes}}
}

// Read returns a record's picture and, where it has one, its mask. The caller
// must not change them: they may come from the cache.
func (r *Reader) Read(rec Record) (Sample, error) {
	if s, ok := r.cache.get(rec.Image, rec.Mask); ok {
		return s, nil
	}
	s, err := r.decode(rec)
	if err != nil {
		return Sample{}, err
	}
	r.cache.put(rec.Image, rec.Mask, s)
	return s, nil
}

func (r *Reader) decode(rec Record) (Sample, error) {
	p, err := DecodePicture(rec.Image, r.opt.MaxPixels, r.opt.Orientation)
	if err != nil {
		return Sample{}, err
	}
	if rec.Width > 0 && (rec.Width != p.Width || rec.Height != p.Height) {
		return Sample{}, &SizeError{rec.Image, p.Width, p.Height, "the list", rec.Width, rec.Height,
			"correct the list, or leave width and height out of it"}
	}
	if rec.Mask == "" {
		return Sample{p, nil}, nil
	}
	m, err := rec.classes(&r.opt, r.table)
	if err != nil {
		return Sample{}, err
	}
	if m.Width != p.Width || m.Height != p.Height {
		return Sample{}, &SizeError{rec.Image, p.Width, p.Height, rec.Mask, m.Width, m.Height,
			"a mask has its picture's size, pixel for pixel"}
	}
	return Sample{p, m}, nil
}

// cache keeps decoded samples up to a number of bytes, dropping the least
// recently used.
type cache struct {
	limit int64

	mu     sync.Mutex
	used   int64
	recent list.List // of *entry, most recent first
	byKey  map[[2]string]*list.Element
}

type entry struct {
	key    [2]string
	sample Sample
	bytes  int64
}

func (c *cache) get(image, mask string) (Sample, bool) {
	if c.limit <= 0 {
		return Sample{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[[2]string{image, mask}]
	if !ok {
		return Sample{}, false
	}
	c.recent.MoveToFront(el)
	return el.Value.(*entry).sample, true
}

func (c *cache) put(image, mask string, s Sample) {
	size := int64(len(s.Picture.Pix))
	if s.Mask != nil {
		size += 2 * int64(len(s.Mask.Pix))
	}
	if size > c.limit {
		return
	}
	key := [2]string{image, mask}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok { // two goroutines decoded the same record
		return
	}
	if c.byKey == nil {
		c.byKey = map[[2]string]*list.Element{}
	}
	for c.used+size > c.limit {
		last := c.recent.Back()
		old := c.recent.Remove(last).(*entry)
		delete(c.byKey, old.key)
		c.used -= old.bytes
	}
	c.byKey[key] = c.recent.PushFront(&entry{key, s, size})
	c.used += size
}
