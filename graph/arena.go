package graph

import "slices"

// alignment of every buffer in the arena, in bytes: a cache line.
const alignment = 64

// region is a stretch of the arena that is in use from step first to step
// last, both included.
type region struct {
	size        int
	first, last int
	offset      int // set by layout
}

// layout gives every region an offset so that regions in use at the same time
// do not overlap, and returns the size of the arena. It places large regions
// first, each into the tightest gap that is free for its whole life.
func layout(regions []*region) int {
	order := slices.Clone(regions)
	slices.SortStableFunc(order, func(a, b *region) int {
		if a.size != b.size {
			return b.size - a.size
		}
		return a.first - b.first
	})
	total := 0
	var placed, live []*region // placed is sorted by offset
	for _, r := range order {
		if r.size == 0 {
			continue
		}
		live = live[:0]
		for _, p := range placed {
			if p.first <= r.last && r.first <= p.last {
				live = append(live, p)
			}
		}
		r.offset = gap(live, align(r.size))
		at, _ := slices.BinarySearchFunc(placed, r.offset, func(p *region, offset int) int { return p.offset - offset })
		placed = slices.Insert(placed, at, r)
		total = max(total, r.offset+align(r.size))
	}
	return total
}

// gap returns the offset of the smallest gap of at least size bytes between
// live regions sorted by offset, or the end of the last one.
func gap(live []*region, size int) int {
	best, bestSize := -1, 0
	end := 0
	for _, p := range live {
		if free := p.offset - end; free >= size && (best < 0 || free < bestSize) {
			best, bestSize = end, free
		}
		end = max(end, p.offset+align(p.size))
	}
	if best >= 0 {
		return best
	}
	return end
}

func align(n int) int { return (n + alignment - 1) / alignment * alignment }
