package graph

import (
	"math/rand/v2"
	"testing"
)

func TestLayoutKeepsLiveRegionsApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		regions := make([]*region, 1+rng.IntN(60))
		peak := map[int]int{}
		for i := range regions {
			first := rng.IntN(40)
			r := &region{size: rng.IntN(5000), first: first, last: first + rng.IntN(10)}
			regions[i] = r
			for s := r.first; s <= r.last; s++ {
				peak[s] += align(r.size)
			}
		}
		total := layout(regions)
		for i, a := range regions {
			if a.offset%alignment != 0 || a.offset < 0 || a.offset+a.size > total {
				t.Fatalf("round %d: region %d at %d with %d bytes leaves the arena of %d", round, i, a.offset, a.size, total)
			}
			for _, b := range regions[:i] {
				together := a.first <= b.last && b.first <= a.last
				if together && a.size > 0 && b.size > 0 && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
					t.Fatalf("round %d: %+v and %+v overlap", round, *a, *b)
				}
			}
		}
		need := 0
		for _, p := range peak {
			need = max(need, p)
		}
		if total < need || total > 2*need {
			t.Errorf("round %d: arena of %d bytes for a peak of %d", round, total, need)
		}
	}
}
