package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/data"
)

// mapBudget bounds the elements of the maps that Moments measures at the same
// time: 256 MiB of float32.
const mapBudget = 64 << 20

// Moments measures mean and variance of every channel of the named maps
// (N,C,h,w) in evaluation, over all places of all pictures of a set, each
// resized to the first of opt.ImgSizes; masks are not read. Sums are float64,
// picture by picture in the set's order, so equal runs give equal bits. Where
// the maps are too many to be held together, the network runs several times.
// each hears how many of the pictures this is worth so far.
func Moments(ctx context.Context, m *onnx.Model, dev kernel.Device, set *data.Set, opt data.Options, names []string, each func(done int)) (map[string]onnx.Moments, error) {
	return moments(ctx, m, dev, set, opt, names, mapBudget, each)
}

func moments(ctx context.Context, m *onnx.Model, dev kernel.Device, set *data.Set, opt data.Options, names []string, budget int, each func(done int)) (map[string]onnx.Moments, error) {
	set = &data.Set{Name: set.Name, Records: slices.Clone(set.Records)}
	for i := range set.Records {
		set.Records[i].Mask = ""
	}
	opt.ImgSizes = opt.ImgSizes[:1]
	loader, err := data.NewEvalLoader(set, opt)
	if err != nil {
		return nil, err
	}
	parts, err := portions(m, names, opt.ImgSizes[0], budget)
	if err != nil {
		return nil, err
	}
	result := make(map[string]onnx.Moments, len(names))
	for k, part := range parts {
		tallies, err := measure(ctx, m, dev, loader, part, func(done int) {
			each((k*len(set.Records) + done) / len(parts))
		})
		if err != nil {
			return nil, err
		}
		for i, name := range part {
			result[name] = tallies[i].moments()
		}
	}
	return result, nil
}

// portions cuts the names of maps into parts of at most budget elements, or of
// one map, for a picture of side by side pixels.
func portions(m *onnx.Model, names []string, side, budget int) ([][]string, error) {
	infos, err := onnx.Infer(m)
	if err != nil {
		return nil, err
	}
	if err := takesPictures(m, infos); err != nil {
		return nil, err
	}
	_, shapes, err := onnx.Specialize(m, map[string][]int{models.InputName: {1, 3, side, side}})
	if err != nil {
		return nil, err
	}
	var parts [][]string
	room := 0
	for _, name := range names {
		size := kernel.Len(shapes[name])
		if size > room || len(parts) == 0 {
			parts, room = append(parts, nil), budget
		}
		last := &parts[len(parts)-1]
		*last = append(*last, name)
		room -= size
	}
	return parts, nil
}

// measure runs all pictures through the part of a network that the named maps
// need.
func measure(ctx context.Context, m *onnx.Model, dev kernel.Device, loader *data.EvalLoader, names []string, each func(done int)) ([]tally, error) {
	part, err := onnx.Extract(m, []string{models.InputName}, names)
	if err != nil {
		return nil, err
	}
	net, err := graph.NewNetwork(part, dev)
	if err != nil {
		return nil, err
	}
	stream := loader.Stream(ctx, 0)
	defer stream.Close()
	tallies := make([]tally, len(names))
	for {
		item, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return tallies, nil
		}
		if err != nil {
			return nil, err
		}
		in := item.Inputs[0]
		plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{models.InputName: {1, 3, in.H, in.W}}})
		if err != nil {
			return nil, err
		}
		if err := plan.SetInput(models.InputName, in.Image); err != nil {
			return nil, err
		}
		if err := plan.RunAll(); err != nil {
			return nil, err
		}
		for i, name := range names {
			values, shape, err := plan.Output(name)
			if err != nil {
				return nil, err
			}
			if !tallies[i].add(values, shape[1]) {
				return nil, fmt.Errorf("%s: %s: the map %q is no number or infinite; a weight before it is damaged", modelName(m), item.Record.Name, name)
			}
		}
		done := item.Index + 1
		item.Release()
		each(done)
	}
}

// tally is the number of values of a map's channels so far, their mean and the
// sum of their squared distances from it.
type tally struct {
	count         float64
	mean, squares []float64 // by channel
}

// add takes the values (C,h,w) of one picture into account: two passes over a
// channel, then the pairwise update of Chan, Golub and LeVeque (1979). It
// reports whether all are finite.
func (t *tally) add(values []float32, channels int) bool {
	if t.mean == nil {
		t.mean, t.squares = make([]float64, channels), make([]float64, channels)
	}
	places := len(values) / channels
	n := float64(places)
	for c := range channels {
		plane := values[c*places : (c+1)*places]
		sum, squares := 0.0, 0.0
		for _, v := range plane {
			sum += float64(v)
		}
		mean := sum / n
		for _, v := range plane {
			d := float64(v) - mean
			squares += d * d
		}
		if squares-squares != 0 {
			return false
		}
		off := mean - t.mean[c]
		t.mean[c] += off * n / (t.count + n)
		t.squares[c] += squares + off*off*t.count*n/(t.count+n)
	}
	t.count += n
	return true
}

// moments are those of all values: the variance is that of the population, as
// batch normalisation takes it.
func (t *tally) moments() onnx.Moments {
	m := onnx.Moments{Mean: t.mean, Var: make([]float64, len(t.squares))}
	for c, s := range t.squares {
		m.Var[c] = s / t.count
	}
	return m
}
