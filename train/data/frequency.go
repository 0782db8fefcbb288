package data

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Frequencies reads every mask of a set and returns how frequent each class is:
// its pixels over the labelled pixels of the pictures that it occurs in; 0 where
// it never does.
func Frequencies(ctx context.Context, set *Set, o Options) ([]float64, error) {
	pixels, within := make([]int64, o.Labels.Classes), make([]int64, o.Labels.Classes)
	var mu sync.Mutex
	table := o.Labels.table()
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, rec := range set.Records {
		if group.Err() != nil {
			break
		}
		g.Go(func() error {
			if rec.Mask == "" {
				return fmt.Errorf("data: %s: %s has no mask to count classes in", set.Name, rec.Name)
			}
			m, err := rec.classes(&o, table)
			if err != nil {
				return err
			}
			count, labelled := make([]int64, o.Labels.Classes+1), int64(0)
			for _, v := range m.Pix {
				count[v]++
			}
			count = count[1:] // 0 is ignored
			for _, n := range count {
				labelled += n
			}
			mu.Lock()
			defer mu.Unlock()
			for c, n := range count {
				if n > 0 {
					pixels[c] += n
					within[c] += labelled
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]float64, len(pixels))
	for c, n := range pixels {
		if n > 0 {
			out[c] = float64(n) / float64(within[c])
		}
	}
	return out, nil
}
